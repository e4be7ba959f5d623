//! Messages as JSON. There are hundreds of generated messages and all can be printed for debugging: that text is read back here,
//! so that no second description of them is needed.

use std::fmt::Debug;

use serde_json::{Map, Value};

/// The innermost name of a message and its fields, with Kafka's spelling of their names.
pub(super) fn of(message: &impl Debug) -> (String, Value) {
    let text = format!("{message:?}");
    let mut parser = Parser { rest: &text };
    parser.named()
}

/// `producer_id` as `producerId`.
fn camel(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.trim_start_matches("r#").chars() {
        if c == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            text.push(c.to_ascii_uppercase());
        } else {
            text.push(c);
        }
    }
    text
}

/// Reads what `#[derive(Debug)]` writes of structs, enums, options, lists, strings and numbers.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn skip(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// `Name { … }`, `Name(…)` or a plain word: its name and value. Of `Outer(Inner { … })` that is the inner one.
    fn named(&mut self) -> (String, Value) {
        let end = self.rest.find([' ', '(', ')', ',', ']', '}']).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        let name = name.to_owned();
        self.rest = rest;
        if self.skip(" { ") {
            let mut fields = Map::new();
            while !self.skip(" }") && !self.rest.is_empty() {
                let Some((field, rest)) = self.rest.split_once(": ") else { break };
                let field = camel(field);
                self.rest = rest;
                fields.insert(field, self.value());
                self.skip(", ");
            }
            return (name, Value::Object(fields));
        }
        if self.skip("(") {
            let is_message = name != "Some" && self.rest.starts_with(|c: char| c.is_ascii_uppercase());
            let inner = if is_message { self.named() } else { (name.clone(), self.value()) };
            self.skip(")");
            return inner;
        }
        let value = match name.as_str() {
            "None" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            word => match (word.parse::<i64>(), word.parse::<f64>()) {
                (Ok(number), _) => Value::from(number),
                (_, Ok(number)) => Value::from(number),
                _ => Value::String(word.to_owned()),
            },
        };
        (name, value)
    }

    fn value(&mut self) -> Value {
        if self.rest.starts_with('"') {
            return self.string();
        }
        if self.skip("[") {
            let mut items = Vec::new();
            while !self.skip("]") && !self.rest.is_empty() {
                items.push(self.value());
                self.skip(", ");
            }
            return Value::Array(items);
        }
        self.named().1
    }

    /// A quoted string with Rust's escapes.
    fn string(&mut self) -> Value {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Value::String(text);
                }
                '\\' => match chars.next().map(|(_, escaped)| escaped) {
                    Some('n') => text.push('\n'),
                    Some('r') => text.push('\r'),
                    Some('t') => text.push('\t'),
                    Some('0') => text.push('\0'),
                    Some('u') => {
                        let digits: String =
                            chars.by_ref().map(|(_, c)| c).skip(1).take_while(|c| *c != '}').collect();
                        text.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
                    }
                    Some(other) => text.push(other),
                    None => {}
                },
                other => text.push(other),
            }
        }
        self.rest = "";
        Value::String(text)
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::{MetadataRecord, OffsetCommitValue, TopicRecord};
    use ottla_types::Uuid;
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_have_kafkas_names_and_their_values() {
        let value = OffsetCommitValue {
            offset: 42,
            metadata: "a \"quoted\" {text}, [x]\u{7}\n".into(),
            ..OffsetCommitValue::default()
        };
        let (name, found) = of(&value);
        assert_eq!(name, "OffsetCommitValue");
        assert_eq!(found["offset"], 42);
        assert_eq!(found["metadata"], "a \"quoted\" {text}, [x]\u{7}\n");
        assert_eq!(found["leaderEpoch"], -1);
    }

    #[test]
    fn the_innermost_message_counts() {
        let id = Uuid::from_parts(7, 9);
        let record = MetadataRecord::Topic(TopicRecord { name: "orders".into(), topic_id: id });
        let expected = json!({ "name": "orders", "topicId": id.to_string() });
        assert_eq!(of(&record), ("TopicRecord".to_owned(), expected));
    }

    #[test]
    fn lists_and_options_nest() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "read by Debug")]
        struct Nested {
            some_list: Vec<Option<i32>>,
            inner: Vec<Inner>,
            ratio: f64,
        }
        #[derive(Debug)]
        #[expect(dead_code, reason = "read by Debug")]
        struct Inner {
            is_it: bool,
            text: Option<&'static str>,
        }
        let nested = Nested {
            some_list: vec![Some(1), None],
            inner: vec![Inner { is_it: true, text: Some("x") }, Inner { is_it: false, text: None }],
            ratio: 0.5,
        };
        let expected = json!({
            "someList": [1, null],
            "inner": [{ "isIt": true, "text": "x" }, { "isIt": false, "text": null }],
            "ratio": 0.5,
        });
        assert_eq!(of(&nested).1, expected);
    }
}
