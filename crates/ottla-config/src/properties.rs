//! The syntax of `server.properties`, which is that of `java.util.Properties`.

use crate::error::ConfigError;

/// One `key=value` of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Name, with escapes resolved.
    pub key: String,
    /// Value, with escapes resolved and not trimmed at its end.
    pub value: String,
    /// Line on which it begins, from 1.
    pub line: usize,
}

/// Reads a properties text: comments (`#`, `!`), continuation lines, separators `=`, `:` and white space, and the escapes
/// `\t \n \r \f \uXXXX`. Repeated keys are all returned; the last one counts.
///
/// # Errors
/// A `\u` without four hexadecimal digits.
pub fn parse_properties(text: &str) -> Result<Vec<Property>, ConfigError> {
    let mut properties = Vec::new();
    let mut lines = natural_lines(text).into_iter().enumerate();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start_matches(is_space);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while ends_with_odd_backslashes(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start_matches(is_space)),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        let line = index + 1;
        properties.push(Property { key: unescape(key, line)?, value: unescape(value, line)?, line });
    }
    Ok(properties)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0C')
}

/// Lines ended by `\n`, `\r` or `\r\n`.
fn natural_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let (line, tail) = rest.split_at(end);
        lines.push(line);
        rest = tail.strip_prefix("\r\n").or_else(|| tail.strip_prefix(['\n', '\r'])).unwrap_or(tail);
    }
    lines
}

fn ends_with_odd_backslashes(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// Cuts at the first separator that is not escaped: white space, then at most one `=` or `:`, then white space.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|(_, c)| {
            let found = !escaped && (is_space(*c) || matches!(c, '=' | ':'));
            escaped = *c == '\\' && !escaped;
            found
        })
        .map_or(line.len(), |(index, _)| index);
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(is_space);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(is_space))
}

/// Resolves escapes. `\uXXXX` are UTF-16 units, so that pairs of surrogates meet.
fn unescape(text: &str, line: usize) -> Result<String, ConfigError> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    let mut buffer = [0; 2];
    while let Some(c) = rest.next() {
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut buffer));
            continue;
        }
        let plain = match rest.next() {
            Some('t') => '\t',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('f') => '\x0C',
            Some('u') => {
                units.push(unicode_escape(&mut rest, line)?);
                continue;
            }
            Some(other) => other,
            None => break,
        };
        units.extend_from_slice(plain.encode_utf16(&mut buffer));
    }
    Ok(String::from_utf16_lossy(&units))
}

fn unicode_escape(rest: &mut std::str::Chars<'_>, line: usize) -> Result<u16, ConfigError> {
    let mut unit = 0;
    for _ in 0..4 {
        let digit = rest.next().and_then(|c| c.to_digit(16)).ok_or_else(|| {
            ConfigError::config(format!("Line {line}: \\u must be followed by four hexadecimal digits."))
        })?;
        unit = unit << 4 | u16::try_from(digit).expect("a hexadecimal digit is below 16");
    }
    Ok(unit)
}
