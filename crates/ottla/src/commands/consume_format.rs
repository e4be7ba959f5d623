//! How `ottla consume` prints a record: as Kafka's console consumer does, by a format, or as JSON.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::Args;
use ottla_client::ReceivedRecord;
use ottla_record::TimestampType;
use serde_json::{Map, Value, json};

/// The columns of plain output, in the order and form of Kafka's console consumer.
#[derive(Debug, Args)]
pub(crate) struct Plain {
    /// Print the timestamp
    #[arg(long)]
    print_timestamp: bool,
    /// Print the partition
    #[arg(long)]
    print_partition: bool,
    /// Print the offset
    #[arg(long)]
    print_offset: bool,
    /// Print the headers
    #[arg(long)]
    print_headers: bool,
    /// Print the key
    #[arg(long)]
    print_key: bool,
    /// Text between the printed fields
    #[arg(long, value_name = "TEXT", default_value = "\t", hide_default_value = true)]
    key_separator: String,
}

impl Plain {
    pub(super) fn write(&self, record: &ReceivedRecord, out: &mut Vec<u8>) {
        let separator = self.key_separator.as_bytes();
        if self.print_timestamp {
            let kind = timestamp_type(record);
            let text = if record.timestamp < 0 {
                "NO_TIMESTAMP".to_owned()
            } else {
                format!("{kind}:{}", record.timestamp)
            };
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(separator);
        }
        if self.print_partition {
            out.extend_from_slice(format!("Partition:{}", record.partition).as_bytes());
            out.extend_from_slice(separator);
        }
        if self.print_offset {
            out.extend_from_slice(format!("Offset:{}", record.offset).as_bytes());
            out.extend_from_slice(separator);
        }
        if self.print_headers {
            if record.headers.is_empty() {
                out.extend_from_slice(b"NO_HEADERS");
            }
            write_headers(record, b':', out);
            out.extend_from_slice(separator);
        }
        if self.print_key {
            out.extend_from_slice(record.key.as_deref().unwrap_or(b"null"));
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(record.value.as_deref().unwrap_or(b"null"));
        out.push(b'\n');
    }
}

fn timestamp_type(record: &ReceivedRecord) -> &'static str {
    match record.timestamp_type {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn write_headers(record: &ReceivedRecord, between: u8, out: &mut Vec<u8>) {
    for (place, (key, value)) in record.headers.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key.as_bytes());
        out.push(between);
        out.extend_from_slice(value.as_deref().unwrap_or(b"null"));
    }
}

/// A parsed `--format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    Value,
    Headers,
    KeySize,
    ValueSize,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            let literal = match (char, if matches!(char, '%' | '\\') { chars.next() } else { None }) {
                ('%', Some('%')) => '%',
                ('%', Some(name)) => {
                    pieces.push(
                        Piece::named(name).ok_or_else(|| format!("'%{name}' means nothing; see --help"))?,
                    );
                    continue;
                }
                ('\\', Some('n')) => '\n',
                ('\\', Some('t')) => '\t',
                ('\\', Some('r')) => '\r',
                ('\\', Some('0')) => '\0',
                ('\\', Some('\\')) => '\\',
                ('\\', Some(other)) => return Err(format!("'\\{other}' means nothing; see --help")),
                ('%' | '\\', None) => return Err(format!("nothing follows '{char}' at the end")),
                (char, _) => char,
            };
            if !matches!(pieces.last(), Some(Piece::Text(_))) {
                pieces.push(Piece::Text(Vec::new()));
            }
            if let Some(Piece::Text(text)) = pieces.last_mut() {
                text.extend_from_slice(literal.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        Ok(Self(pieces))
    }
}

impl Piece {
    fn named(name: char) -> Option<Self> {
        Some(match name {
            't' => Self::Topic,
            'p' => Self::Partition,
            'o' => Self::Offset,
            'T' => Self::Timestamp,
            'k' => Self::Key,
            's' => Self::Value,
            'h' => Self::Headers,
            'K' => Self::KeySize,
            'S' => Self::ValueSize,
            _ => return None,
        })
    }
}

impl Format {
    pub(super) fn write(&self, record: &ReceivedRecord, out: &mut Vec<u8>) {
        // A size of -1 is null, as in kcat.
        let size =
            |bytes: &Option<Bytes>| bytes.as_ref().map_or_else(|| "-1".to_owned(), |it| it.len().to_string());
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Topic => out.extend_from_slice(record.topic.as_bytes()),
                Piece::Partition => out.extend_from_slice(record.partition.to_string().as_bytes()),
                Piece::Offset => out.extend_from_slice(record.offset.to_string().as_bytes()),
                Piece::Timestamp => out.extend_from_slice(record.timestamp.to_string().as_bytes()),
                Piece::Key => out.extend_from_slice(record.key.as_deref().unwrap_or_default()),
                Piece::Value => out.extend_from_slice(record.value.as_deref().unwrap_or_default()),
                Piece::Headers => write_headers(record, b'=', out),
                Piece::KeySize => out.extend_from_slice(size(&record.key).as_bytes()),
                Piece::ValueSize => out.extend_from_slice(size(&record.value).as_bytes()),
            }
        }
    }
}

/// Writes a record as one line of JSON. What is not UTF-8 goes into a field ending in `Base64` instead.
pub(super) fn json_line(record: &ReceivedRecord, out: &mut Vec<u8>) {
    let mut fields = Map::new();
    fields.insert("topic".to_owned(), json!(record.topic.as_str()));
    fields.insert("partition".to_owned(), json!(record.partition));
    fields.insert("offset".to_owned(), json!(record.offset.value()));
    fields.insert("timestamp".to_owned(), json!(record.timestamp));
    fields.insert("timestampType".to_owned(), json!(timestamp_type(record)));
    insert_bytes(&mut fields, "key", record.key.as_deref());
    insert_bytes(&mut fields, "value", record.value.as_deref());
    let headers = record.headers.iter().map(|(key, value)| {
        let mut header = Map::new();
        header.insert("key".to_owned(), json!(key));
        insert_bytes(&mut header, "value", value.as_deref());
        Value::from(header)
    });
    fields.insert("headers".to_owned(), headers.collect());
    out.extend_from_slice(Value::from(fields).to_string().as_bytes());
    out.push(b'\n');
}

fn insert_bytes(fields: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => fields.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => fields.insert(name.to_owned(), text.into()),
        Some((bytes, Err(_))) => fields.insert(format!("{name}Base64"), STANDARD.encode(bytes).into()),
    };
}

#[cfg(test)]
mod tests {
    use ottla_types::{LeaderEpoch, Offset};

    use super::*;

    fn record() -> ReceivedRecord {
        ReceivedRecord {
            topic: "t".into(),
            partition: 3,
            offset: Offset(42),
            leader_epoch: LeaderEpoch(0),
            timestamp: 1_700_000_000_000,
            timestamp_type: TimestampType::CreateTime,
            key: Some("k".into()),
            value: None,
            headers: vec![("a".to_owned(), Some("1".into())), ("b".to_owned(), None)],
        }
    }

    fn formatted(format: &str) -> String {
        let mut out = Vec::new();
        format.parse::<Format>().unwrap().write(&record(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn formats_are_those_of_kcat() {
        assert_eq!(
            formatted(r"%t/%p@%o %T\t%k(%K)=%s(%S) %h%%\n"),
            "t/3@42 1700000000000\tk(1)=(-1) a=1,b=null%\n"
        );
        for bad in ["%", "%x", "\\", "\\x"] {
            assert!(bad.parse::<Format>().is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_columns_are_those_of_kafka() {
        let plain = Plain {
            print_timestamp: true,
            print_partition: true,
            print_offset: true,
            print_headers: true,
            print_key: true,
            key_separator: "\t".to_owned(),
        };
        let mut out = Vec::new();
        plain.write(&record(), &mut out);
        let expected = "CreateTime:1700000000000\tPartition:3\tOffset:42\ta:1,b:null\tk\tnull\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn json_tells_null_text_and_bytes_apart() {
        let mut out = Vec::new();
        json_line(&ReceivedRecord { key: Some(vec![255].into()), ..record() }, &mut out);
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&value["value"], &value["keyBase64"], &value["key"]),
            (&Value::Null, &json!("/w=="), &Value::Null)
        );
        assert_eq!(value["headers"], json!([{"key": "a", "value": "1"}, {"key": "b", "value": null}]));
        assert_eq!(value["offset"], 42);
    }
}
