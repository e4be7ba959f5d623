//! A decoded message as a tree of fields, made from its `Debug` form: one way to look into every message there is.

use std::fmt::{self, Write as _};

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    /// A number, text, id, …, as `Debug` writes it; `null` for `None`.
    Leaf(String),
    /// An array.
    List(Vec<Self>),
    /// A struct's fields.
    Fields(Vec<(String, Self)>),
}

impl Tree {
    /// Takes a value apart.
    pub(crate) fn of(value: &impl fmt::Debug) -> Self {
        let text = format!("{value:#?}");
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        Self::parse(first.trim(), &mut lines)
    }

    fn parse<'t>(head: &str, rest: &mut impl Iterator<Item = &'t str>) -> Self {
        let head = head.trim_end_matches(',');
        if head.ends_with(" {") {
            let mut fields = Vec::new();
            while let Some(line) = next_within(rest) {
                let (name, value) = line.split_once(": ").expect("a field has a name");
                fields.push((name.to_owned(), Self::parse(value, rest)));
            }
            return Self::Fields(fields);
        }
        if head.ends_with('[') || head.ends_with('(') {
            let mut items = Vec::new();
            while let Some(line) = next_within(rest) {
                items.push(Self::parse(line, rest));
            }
            return match items.pop() {
                Some(only) if head.ends_with('(') && items.is_empty() => only,
                last => Self::List(items.into_iter().chain(last).collect()),
            };
        }
        match head {
            "[]" => Self::List(Vec::new()),
            "None" => Self::Leaf("null".to_owned()),
            leaf => Self::Leaf(leaf.to_owned()),
        }
    }

    /// All leaves with the way to each: `topics[0].name = "a"`.
    pub(crate) fn leaves(&self) -> Vec<String> {
        let mut leaves = Vec::new();
        self.collect(String::new(), &mut leaves);
        leaves
    }

    fn collect(&self, path: String, leaves: &mut Vec<String>) {
        match self {
            Self::Leaf(text) => leaves.push(format!("{path} = {text}")),
            Self::List(items) if items.is_empty() => leaves.push(format!("{path} = []")),
            Self::List(items) => {
                let names = names(items);
                for (index, item) in items.iter().enumerate() {
                    let name =
                        names.as_ref().map_or_else(|| index.to_string(), |names| names[index].to_owned());
                    item.collect(format!("{path}[{name}]"), leaves);
                }
            }
            Self::Fields(fields) => {
                for (name, value) in fields {
                    let mut path = path.clone();
                    let dot = if path.is_empty() { "" } else { "." };
                    write!(path, "{dot}{name}").expect("a string takes all");
                    value.collect(path, leaves);
                }
            }
        }
    }
}

/// The names of an array's items, when each has one of its own: differences are easier to read by name than by place.
fn names(items: &[Tree]) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    for item in items {
        let Tree::Fields(fields) = item else { return None };
        let (_, Tree::Leaf(text)) = fields.iter().find(|(field, _)| field == "name")? else { return None };
        if names.contains(&text.as_str()) {
            return None;
        }
        names.push(text);
    }
    Some(names)
}

fn next_within<'t>(lines: &mut impl Iterator<Item = &'t str>) -> Option<&'t str> {
    let line = lines.next()?.trim();
    (!line.starts_with(['}', ']', ')'])).then_some(line)
}

#[test]
fn takes_nested_values_apart() {
    #[derive(Debug)]
    #[allow(dead_code, reason = "read by Debug")]
    struct Inner {
        id: i32,
        text: Option<&'static str>,
    }
    #[derive(Debug)]
    #[allow(dead_code, reason = "read by Debug")]
    struct Outer {
        inner: Vec<Inner>,
        numbers: Option<Vec<u8>>,
        empty: Vec<u8>,
    }
    let value = Outer {
        inner: vec![Inner { id: 1, text: Some("a: {\n") }, Inner { id: 2, text: None }],
        numbers: Some(vec![7]),
        empty: Vec::new(),
    };
    assert_eq!(
        Tree::of(&value).leaves(),
        [
            "inner[0].id = 1",
            r#"inner[0].text = "a: {\n""#,
            "inner[1].id = 2",
            "inner[1].text = null",
            "numbers[0] = 7",
            "empty = []"
        ]
    );
}
