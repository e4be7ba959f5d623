//! Java properties text, as far as `meta.properties` needs it: read everything that `Properties.load` reads, write what
//! reads back the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A `\u` that is not followed by four hex digits; the only text that `Properties.load` refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadEscape;

/// Reads ISO-8859-1 text. A key that comes twice has its last value.
pub(super) fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>, BadEscape> {
    let mut pairs = BTreeMap::new();
    for line in logical_lines(bytes) {
        let (key, value) = split(&line);
        pairs.insert(unescape(key)?, unescape(value)?);
    }
    Ok(pairs)
}

/// Writes pairs in the given order, one line each.
pub(super) fn format(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        escape(&mut text, key, true);
        text.push('=');
        escape(&mut text, value, false);
        text.push('\n');
    }
    text
}

/// Lines without comments and blank lines; those that end in a backslash are joined with the next.
fn logical_lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut continues = false;
    for line in bytes.split(|b| matches!(b, b'\n' | b'\r')) {
        let line = skip_blanks(line);
        if !continues && line.first().is_none_or(|b| matches!(b, b'#' | b'!')) {
            continue;
        }
        let escaped = line.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1;
        let content = if escaped { &line[..line.len() - 1] } else { line };
        match lines.last_mut() {
            Some(last) if continues => last.extend_from_slice(content),
            _ => lines.push(content.to_vec()),
        }
        continues = escaped;
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn skip_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|b| is_blank(**b)).count();
    &line[blanks..]
}

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | 0x0c)
}

/// The key ends at the first unescaped `=`, `:` or blank; around the separator blanks are ignored.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let mut escaped = false;
    let end = line.iter().position(|&b| {
        let ends = !escaped && (is_blank(b) || matches!(b, b'=' | b':'));
        escaped = b == b'\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = skip_blanks(rest);
    match rest.split_first() {
        Some((b'=' | b':', value)) => (key, skip_blanks(value)),
        _ => (key, rest),
    }
}

fn unescape(bytes: &[u8]) -> Result<String, BadEscape> {
    let mut units: Vec<u16> = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(b) = rest.next() {
        units.push(match b {
            b'\\' => match rest.next() {
                Some(b'u') => {
                    let mut unit = 0;
                    for _ in 0..4 {
                        let digit = rest.next().and_then(|b| char::from(b).to_digit(16)).ok_or(BadEscape)?;
                        unit = unit << 4 | u16::try_from(digit).map_err(|_| BadEscape)?;
                    }
                    unit
                }
                Some(b't') => u16::from(b'\t'),
                Some(b'n') => u16::from(b'\n'),
                Some(b'r') => u16::from(b'\r'),
                Some(b'f') => 0x0c,
                Some(other) => u16::from(other),
                None => continue,
            },
            b => u16::from(b),
        });
    }
    Ok(String::from_utf16_lossy(&units))
}

fn escape(text: &mut String, part: &str, is_key: bool) {
    for (i, c) in part.chars().enumerate() {
        match c {
            ' ' if is_key || i == 0 => text.push_str("\\ "),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\u{c}' => text.push_str("\\f"),
            '\\' | '=' | ':' | '#' | '!' => text.extend(['\\', c]),
            ' '..='~' => text.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(text, "\\u{unit:04X}").expect("a string takes everything");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text.as_bytes()).unwrap().into_iter().collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn reads_all_separators_comments_and_line_ends() {
        let text = "#\n#Tue Jan 01\r\n! other\n\n  a=1\rb : 2\nc 3\n\td\t=\t4 \ne\nf==5";
        let expected = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4 "), ("e", ""), ("f", "=5")];
        assert_eq!(pairs(text), owned(&expected));
    }

    #[test]
    fn reads_escapes_and_continued_lines() {
        assert_eq!(pairs("a\\=b\\ c=x\\ty\\u00e9\\q"), owned(&[("a=b c", "x\ty\u{e9}q")]));
        assert_eq!(
            pairs("a=1,\\\n   2,\\\n#3\nb=4\\\\\nc=5"),
            owned(&[("a", "1,2,#3"), ("b", "4\\"), ("c", "5")])
        );
        assert_eq!(parse(b"a=\\u12"), Err(BadEscape));
        assert_eq!(parse(b"a=\\u12x4"), Err(BadEscape));
    }

    #[test]
    fn reads_latin_1_and_the_last_of_equal_keys() {
        assert_eq!(parse(b"a=\xe9\na=\xe8").unwrap()["a"], "\u{e8}");
    }

    #[test]
    fn what_is_written_reads_back() {
        let nasty = [(" k=:#!\\ \t", "  v #\u{e9}\u{1f600}\n\\"), ("", "x"), ("k", "")];
        let text = format(&nasty);
        assert!(text.is_ascii());
        assert_eq!(pairs(&text), {
            let mut expected = owned(&nasty);
            expected.sort();
            expected
        });
    }
}
