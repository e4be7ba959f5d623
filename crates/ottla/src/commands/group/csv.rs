//! Offsets as CSV, as `--export` writes and `--from-file` reads them: `topic,partition,offset`, with the group in front when
//! there are several.

use ottla_types::{Offset, TopicPartition};

use crate::output::BadUsage;

/// A line: group (if the file has it), partition, offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) group: Option<String>,
    pub(super) partition: TopicPartition,
    pub(super) offset: Offset,
}

/// Reads a file; blank lines are skipped.
pub(super) fn parse(text: &str) -> Result<Vec<Line>, BadUsage> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let parsed = fields(line).and_then(|fields| Line::from_fields(&fields));
        lines.push(parsed.ok_or_else(|| {
            BadUsage(format!(
                "line {number} is '{line}', expected TOPIC,PARTITION,OFFSET or GROUP,TOPIC,PARTITION,OFFSET"
            ))
        })?);
    }
    Ok(lines)
}

impl Line {
    fn from_fields(fields: &[String]) -> Option<Self> {
        let (group, rest) = match fields {
            [group, rest @ ..] if rest.len() == 3 => (Some(group.clone()), rest),
            rest => (None, rest),
        };
        let [topic, partition, offset] = rest else { return None };
        let partition = partition.trim().parse().ok().filter(|index: &i32| *index >= 0)?;
        let offset = offset.trim().parse().ok().filter(|offset: &i64| *offset >= 0)?;
        Some(Self { group, partition: TopicPartition::new(topic.trim(), partition), offset: Offset(offset) })
    }
}

/// The fields of a line; a quoted one may hold commas, and two quotes for one.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        let mut field = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next()? {
                    '"' if chars.next_if_eq(&'"').is_some() => field.push('"'),
                    '"' => break,
                    char => field.push(char),
                }
            }
        } else {
            while let Some(char) = chars.next_if(|char| *char != ',') {
                field.push(char);
            }
        }
        fields.push(field);
        match chars.next() {
            None => return Some(fields),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

/// Writes lines, with the group if `with_group`.
pub(super) fn format(lines: &[(String, TopicPartition, Offset)], with_group: bool) -> String {
    let mut text = String::new();
    for (group, partition, offset) in lines {
        if with_group {
            text.push_str(&quoted(group));
            text.push(',');
        }
        text.push_str(&format!("{},{},{offset}\n", partition.topic, partition.partition));
    }
    text
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let lines = [
            ("a,\"b".to_owned(), TopicPartition::new("t", 0), Offset(5)),
            ("g".to_owned(), TopicPartition::new("u-1", 11), Offset(0)),
        ];
        let parsed = parse(&format(&lines, true)).unwrap();
        let back: Vec<_> =
            parsed.into_iter().map(|line| (line.group.unwrap(), line.partition, line.offset)).collect();
        assert_eq!(back, lines);
        let parsed = parse(&format(&lines, false)).unwrap();
        assert_eq!(
            parsed[1],
            Line { group: None, partition: TopicPartition::new("u-1", 11), offset: Offset(0) }
        );
        assert_eq!(parse("\"t\",1, 2\n\n").unwrap().len(), 1);
    }

    #[test]
    fn bad_lines_are_named() {
        for bad in ["t", "t,0", "t,x,0", "t,0,-1", "a,b,t,0,1", "\"t,0,1", "\"t\"x,0,1"] {
            let error = parse(&format!("t,0,1\n{bad}\n")).unwrap_err().0;
            assert!(error.contains("line 2"), "{bad}: {error}");
        }
    }
}
