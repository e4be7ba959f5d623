//! ISO 8601 durations as `java.time.Duration.parse` takes them: `PnDTnHnMn.nS`, each number with a sign of its own.

/// Milliseconds of a duration, rounded towards negative infinity; `None` when the text is no duration.
pub fn parse_iso8601_ms(text: &str) -> Option<i64> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let rest = rest.strip_prefix(['P', 'p'])?;
    let upper = rest.to_ascii_uppercase();
    let (days, time) = match upper.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (upper.as_str(), ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut nanos: i128 = 0;
    if !days.is_empty() {
        nanos += i128::from(days.strip_suffix('D').and_then(whole)?) * 86_400 * NANOS;
    }
    let mut time = time;
    for (unit, seconds) in [('H', 3600), ('M', 60)] {
        if let Some((number, rest)) = time.split_once(unit) {
            nanos += i128::from(whole(number)?) * seconds * NANOS;
            time = rest;
        }
    }
    if !time.is_empty() {
        nanos += seconds(time.strip_suffix('S')?)?;
    }
    let nanos = if negative { -nanos } else { nanos };
    i64::try_from(nanos.div_euclid(1_000_000)).ok()
}

const NANOS: i128 = 1_000_000_000;

fn whole(number: &str) -> Option<i64> {
    number.parse().ok()
}

/// Nanoseconds of `[+-]digits[.digits]`, at most nine digits after the point.
fn seconds(number: &str) -> Option<i128> {
    let (whole_part, fraction) = number.split_once(['.', ',']).unwrap_or((number, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole_nanos = i128::from(whole(whole_part)?) * NANOS;
    let fraction_nanos: i128 = format!("{fraction:0<9}").parse().ok()?;
    Some(if whole_part.starts_with('-') {
        whole_nanos - fraction_nanos
    } else {
        whole_nanos + fraction_nanos
    })
}
