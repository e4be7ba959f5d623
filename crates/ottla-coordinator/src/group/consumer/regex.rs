//! Regular expressions of subscriptions, in the syntax of RE2 (`TopicRegexResolver`).
//!
//! RE2's syntax is nearly that of the `regex` crate. Where the two differ, the expression is rewritten or refused: what
//! Kafka takes is taken and means the same.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use ::regex::Regex;

use super::record::ResolvedRegex;
use crate::group::topics::ClusterView;

/// The most that RE2 repeats.
const MAX_REPEAT: u32 = 1_000;

/// What may stand between `[:` and `:]`.
const POSIX_CLASSES: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// Why an expression cannot be read, in a few words.
type Fault = &'static str;

/// Checks that an expression can be read.
///
/// # Errors
/// It cannot; the text says why.
pub fn check(pattern: &str) -> Result<(), String> {
    compile(pattern).map(|_| ())
}

/// Finds the topics that each expression matches as a whole; one that cannot be read matches none. Looks at every topic: not
/// for a place where others wait.
pub fn resolve_regexes(
    cluster: &dyn ClusterView,
    regexes: &BTreeSet<Arc<str>>,
    now_ms: i64,
) -> BTreeMap<Arc<str>, ResolvedRegex> {
    let compiled: Vec<_> = regexes.iter().filter_map(|text| Some((text, compile(text).ok()?))).collect();
    let nothing = |text: &Arc<str>| {
        let empty =
            ResolvedRegex { topics: BTreeSet::new(), version: cluster.version(), resolved_at_ms: now_ms };
        (Arc::clone(text), empty)
    };
    let mut resolved: BTreeMap<Arc<str>, ResolvedRegex> = regexes.iter().map(nothing).collect();
    cluster.visit_names(&mut |name| {
        for (text, regex) in &compiled {
            if regex.is_match(name)
                && let Some(found) = resolved.get_mut(*text)
            {
                found.topics.insert(name.into());
            }
        }
    });
    resolved
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = Translation::of(pattern)?;
    // By itself first: the brackets around it must not complete what is incomplete.
    Regex::new(&translated).map_err(|error| reason(&error))?;
    Regex::new(&format!(r"\A(?:{translated})\z")).map_err(|error| reason(&error))
}

fn reason(error: &::regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    text: String,
    /// What stands before can be repeated.
    has_atom: bool,
    /// What stands before is a repetition.
    is_repeated: bool,
}

impl<'a> Translation<'a> {
    fn of(pattern: &'a str) -> Result<String, Fault> {
        let rest = pattern.chars().peekable();
        let mut translation = Self { rest, text: String::new(), has_atom: false, is_repeated: false };
        while let Some(next) = translation.rest.next() {
            translation.step(next)?;
        }
        Ok(translation.text)
    }

    fn step(&mut self, next: char) -> Result<(), Fault> {
        match next {
            '*' | '+' | '?' => return self.repeat(&next.to_string()),
            '{' => {
                if let Some(count) = self.counts()? {
                    return self.repeat(&count);
                }
                self.literal('{');
            }
            '|' => {
                self.text.push('|');
                self.has_atom = false;
                self.is_repeated = false;
                return Ok(());
            }
            '(' => return self.open(),
            ')' | '.' | '^' | '$' => self.text.push(next),
            '[' => self.class()?,
            '\\' => self.escape()?,
            other => self.literal(other),
        }
        self.has_atom = true;
        self.is_repeated = false;
        Ok(())
    }

    fn literal(&mut self, literal: char) {
        self.text.push_str(&::regex::escape(literal.encode_utf8(&mut [0; 4])));
    }

    fn repeat(&mut self, operator: &str) -> Result<(), Fault> {
        if self.is_repeated {
            return Err("invalid nested repetition operator");
        }
        if !self.has_atom {
            return Err("missing argument to repetition operator");
        }
        self.text.push_str(operator);
        if self.rest.next_if_eq(&'?').is_some() {
            self.text.push('?');
        }
        self.is_repeated = true;
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else begins with a plain brace.
    fn counts(&mut self) -> Result<Option<String>, Fault> {
        let mut ahead = self.rest.clone();
        let mut number = || {
            let mut digits = String::new();
            while let Some(digit) = ahead.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            (digits, ahead.next())
        };
        let (low, end) = number();
        let (high, end) = match end {
            Some(',') => {
                let (high, end) = number();
                (Some(high), end)
            }
            end => (None, end),
        };
        if low.is_empty() || end != Some('}') {
            return Ok(None);
        }
        let parse = |text: &str| text.parse::<u32>().ok().filter(|count| *count <= MAX_REPEAT);
        let least = parse(&low).ok_or("invalid repeat count")?;
        let text = match high.as_deref() {
            None => format!("{{{least}}}"),
            Some("") => format!("{{{least},}}"),
            Some(high) => {
                let most = parse(high).filter(|most| *most >= least).ok_or("invalid repeat count")?;
                format!("{{{least},{most}}}")
            }
        };
        self.rest = ahead;
        Ok(Some(text))
    }

    fn open(&mut self) -> Result<(), Fault> {
        self.text.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            self.has_atom = false;
            self.is_repeated = false;
            return Ok(());
        }
        self.text.push('?');
        if matches!(self.rest.peek(), Some('P' | '<')) {
            _ = self.rest.next_if_eq(&'P');
            if self.rest.next_if_eq(&'<').is_none() || matches!(self.rest.peek(), Some('=' | '!')) {
                return Err("invalid named capture");
            }
            self.text.push_str("P<");
            self.has_atom = false;
            self.is_repeated = false;
            return self.copy_until('>');
        }
        if self.rest.next_if_eq(&')').is_some() {
            // No flags at all.
            self.text.truncate(self.text.len() - "(?".len());
            return Ok(());
        }
        loop {
            let next = self.rest.next().ok_or("missing argument to repetition operator")?;
            self.text.push(next);
            match next {
                'i' | 'm' | 's' | 'U' | '-' => {}
                ':' => {
                    self.has_atom = false;
                    self.is_repeated = false;
                    return Ok(());
                }
                ')' => return Ok(()),
                _ => return Err("invalid or unsupported Perl syntax"),
            }
        }
    }

    fn copy_until(&mut self, end: char) -> Result<(), Fault> {
        loop {
            let next = self.rest.next().ok_or("invalid named capture")?;
            self.text.push(next);
            if next == end {
                return Ok(());
            }
        }
    }

    /// What follows a backslash outside of a class.
    fn escape(&mut self) -> Result<(), Fault> {
        match self.rest.peek() {
            Some('Q') => {
                _ = self.rest.next();
                while let Some(next) = self.rest.next() {
                    if next == '\\' && self.rest.next_if_eq(&'E').is_some() {
                        break;
                    }
                    self.literal(next);
                }
                Ok(())
            }
            Some(&anchor @ ('A' | 'z' | 'b' | 'B')) => {
                _ = self.rest.next();
                self.text.push('\\');
                self.text.push(anchor);
                Ok(())
            }
            _ => match self.escaped()? {
                Escaped::Char(literal) => {
                    self.literal(literal);
                    Ok(())
                }
                Escaped::Class(class) => {
                    self.text.push_str(&class);
                    Ok(())
                }
            },
        }
    }

    /// What follows a backslash, anywhere.
    fn escaped(&mut self) -> Result<Escaped, Fault> {
        let next = self.rest.next().ok_or("trailing backslash at end of expression")?;
        let literal = match next {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => return Ok(Escaped::Class(format!("\\{next}"))),
            'p' | 'P' => return self.unicode_class(next),
            'x' => self.hexadecimal()?,
            '0' => self.octal(0, 2)?,
            '1'..='7' if self.rest.peek().is_some_and(|c| ('0'..='7').contains(c)) => {
                self.octal(u32::from(next) - u32::from('0'), 2)?
            }
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => other,
            _ => return Err("invalid escape sequence"),
        };
        Ok(Escaped::Char(literal))
    }

    fn octal(&mut self, mut value: u32, digits: usize) -> Result<char, Fault> {
        for _ in 0..digits {
            let Some(digit) = self.rest.next_if(|c| ('0'..='7').contains(c)) else { break };
            value = value * 8 + digit.to_digit(8).unwrap_or(0);
        }
        char::from_u32(value).ok_or("invalid escape sequence")
    }

    fn hexadecimal(&mut self) -> Result<char, Fault> {
        const FAULT: Fault = "invalid escape sequence";
        let mut value = 0_u32;
        if self.rest.next_if_eq(&'{').is_some() {
            loop {
                let next = self.rest.next().ok_or(FAULT)?;
                if next == '}' {
                    return char::from_u32(value).ok_or(FAULT);
                }
                let digit = next.to_digit(16).ok_or(FAULT)?;
                value = value.checked_mul(16).map(|value| value + digit).ok_or(FAULT)?;
            }
        }
        for _ in 0..2 {
            let digit = self.rest.next().and_then(|next| next.to_digit(16)).ok_or(FAULT)?;
            value = value * 16 + digit;
        }
        char::from_u32(value).ok_or(FAULT)
    }

    fn unicode_class(&mut self, kind: char) -> Result<Escaped, Fault> {
        const FAULT: Fault = "invalid character class range";
        let next = self.rest.next().ok_or(FAULT)?;
        let mut class = format!("\\{kind}{next}");
        if next == '{' {
            loop {
                let next = self.rest.next().ok_or(FAULT)?;
                class.push(next);
                if next == '}' {
                    break;
                }
            }
        }
        Ok(Escaped::Class(class))
    }

    /// What follows an opening bracket.
    fn class(&mut self) -> Result<(), Fault> {
        const MISSING: Fault = "missing closing ]";
        self.text.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.text.push('^');
        }
        let mut is_first = true;
        loop {
            let next = self.rest.next().ok_or(MISSING)?;
            if next == ']' && !is_first {
                self.text.push(']');
                return Ok(());
            }
            is_first = false;
            if next == '[' && self.rest.peek() == Some(&':') && self.posix_class()? {
                continue;
            }
            let low = match self.class_member(next)? {
                Escaped::Class(class) => {
                    self.text.push_str(&class);
                    continue;
                }
                Escaped::Char(low) => low,
            };
            self.literal(low);
            let mut ahead = self.rest.clone();
            if ahead.next() == Some('-') && ahead.peek().is_some_and(|end| *end != ']') {
                _ = self.rest.next();
                let next = self.rest.next().ok_or(MISSING)?;
                let Escaped::Char(high) = self.class_member(next)? else {
                    return Err("invalid character class range");
                };
                if high < low {
                    return Err("invalid character class range");
                }
                self.text.push('-');
                self.literal(high);
            }
        }
    }

    fn class_member(&mut self, next: char) -> Result<Escaped, Fault> {
        if next == '\\' { self.escaped() } else { Ok(Escaped::Char(next)) }
    }

    /// `[:alpha:]` and the like, after the bracket. False if it is none.
    fn posix_class(&mut self) -> Result<bool, Fault> {
        let mut ahead = self.rest.clone();
        _ = ahead.next();
        let mut name = String::new();
        while let Some(next) = ahead.next_if(|c| c.is_ascii_lowercase() || *c == '^') {
            name.push(next);
        }
        if ahead.next() != Some(':') || ahead.next() != Some(']') {
            return Ok(false);
        }
        if !POSIX_CLASSES.contains(&name.trim_start_matches('^')) {
            return Err("invalid character class range");
        }
        self.text.push_str(&format!("[:{name}:]"));
        self.rest = ahead;
        Ok(true)
    }
}

enum Escaped {
    Char(char),
    Class(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        compile(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}")).is_match(name)
    }

    #[test]
    fn expressions_match_whole_names() {
        assert!(matches("a.*", "abc"));
        assert!(!matches("b", "abc"));
        assert!(matches("foo|bar", "bar"));
        assert!(!matches("foo|bar", "foobar"));
        assert!(matches("", ""));
    }

    #[test]
    fn what_only_re2_takes_is_taken() {
        assert!(matches(r"\Qa.b\E.*", "a.bc"));
        assert!(!matches(r"\Qa.b\E", "axb"));
        assert!(matches("a{,2}", "a{,2}"));
        assert!(matches("{x", "{x"));
        assert!(matches("[a[b]+", "[ab["));
        assert!(matches("[a&&b]+", "&a"));
        assert!(matches("[]-]+", "]-"));
        assert!(matches("[a-]+", "-a"));
        assert!(matches(r"\141\x62\x{63}", "abc"));
        assert!(matches("(?P<n>x)(?<m>y)(?i:Z)", "xyz"));
        assert!(matches(r"[[:alpha:]\d]+", "a1"));
        assert!(matches(r"\_\-", "_-"));
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        for pattern in [
            "a**",
            "*",
            "|*",
            "(*)",
            "a{1001}",
            "a{2,1}",
            "(",
            ")",
            "a)(b",
            "[",
            "[b-a]",
            r"\8",
            r"\1",
            r"\q",
            "\\",
            "(?=a)",
            "(?<=a)",
            "(?<!a)",
            "(?x)a",
            r"\u0061",
            "(?P=n)",
            "a{1}{2}",
            "[[:nope:]]",
        ] {
            assert!(compile(pattern).is_err(), "{pattern} is taken");
        }
    }
}
