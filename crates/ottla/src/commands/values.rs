//! What arguments may look like: names, partitions, times, durations.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ottla_client::Client;
use ottla_types::{PartitionIndex, TimestampMs, TopicPartition};

use crate::output::BadUsage;

const MS_PER_DAY: i64 = 86_400_000;

/// A `key=value` argument.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// A topic name that the broker would not refuse.
pub(super) fn topic_name(text: &str) -> Result<String, String> {
    ottla_types::TopicName::check(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// A topic, or some of its partitions: `orders`, `orders:0,2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicPartitions {
    pub(crate) topic: String,
    /// All if empty.
    pub(crate) partitions: Vec<PartitionIndex>,
}

pub(super) fn topic_partitions(text: &str) -> Result<TopicPartitions, String> {
    let (topic, rest) = text.split_once(':').map_or((text, None), |(topic, rest)| (topic, Some(rest)));
    let topic = topic_name(topic)?;
    let Some(rest) = rest else { return Ok(TopicPartitions { topic, partitions: Vec::new() }) };
    let partition = |text: &str| text.trim().parse().ok().filter(|index: &i32| *index >= 0);
    let partitions: Option<Vec<_>> = rest.split(',').map(partition).collect();
    let partitions = partitions.ok_or("expected TOPIC or TOPIC:PARTITION,PARTITION…")?;
    Ok(TopicPartitions { topic, partitions })
}

/// One partition: `orders:0`, or `orders-0` as Kafka prints it.
pub(super) fn partition(text: &str) -> Result<TopicPartition, String> {
    let split = text.rsplit_once(':').or_else(|| text.rsplit_once('-'));
    let parsed = split.and_then(|(topic, index)| Some((topic, index.parse::<i32>().ok()?)));
    match parsed {
        Some((topic, index)) if index >= 0 => Ok(TopicPartition::new(&topic_name(topic)?, index)),
        _ => Err("expected TOPIC:PARTITION".to_owned()),
    }
}

/// The partitions that arguments mean; those that do not exist are named.
pub(super) async fn expand(
    client: &Client,
    wanted: &[TopicPartitions],
) -> anyhow::Result<Vec<TopicPartition>> {
    let mut found = Vec::new();
    for TopicPartitions { topic: name, partitions } in wanted {
        let topic = client.topic(name).await?;
        if let Some(missing) = partitions.iter().find(|index| topic.partition(**index).is_none()) {
            let last = topic.partitions.len() - 1;
            return Err(BadUsage(format!(
                "topic '{name}' has no partition {missing}: it has partitions 0 to {last}"
            ))
            .into());
        }
        let indexes = topic.partitions.iter().map(|partition| partition.index);
        let wanted = indexes.filter(|index| partitions.is_empty() || partitions.contains(index));
        found.extend(wanted.map(|index| TopicPartition::new(name, index)));
    }
    Ok(found)
}

/// Milliseconds since 1970 now.
pub(super) fn now_ms() -> TimestampMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970 of a number, or of `YYYY-MM-DDThh:mm[:ss[.fff]]` with `Z`, `+hh:mm` or nothing (UTC) behind it.
pub(super) fn time_ms(text: &str) -> Result<TimestampMs, String> {
    text.parse().ok().or_else(|| parse_time(text)).ok_or_else(|| {
        format!("'{text}' is neither milliseconds since 1970 nor a time like 2026-01-31T12:00:00Z")
    })
}

fn parse_time(text: &str) -> Option<TimestampMs> {
    let (date, time) = text.split_once('T')?;
    let (time, shift_ms) = match (time.strip_suffix('Z'), time.rfind(['+', '-'])) {
        (Some(time), _) => (time, 0),
        (None, Some(at)) => (time.get(..at)?, zone_ms(time.get(at..)?)?),
        (None, None) => (time, 0),
    };
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse::<i64>().ok()?, time.next()?.parse::<i64>().ok()?);
    let seconds = time.next().map_or(Some(0.0), |seconds| seconds.parse::<f64>().ok())?;
    let is_valid = (1..=12).contains(&month) && (1..=31).contains(&day) && (0..24).contains(&hour);
    if !is_valid
        || !(1970..=9999).contains(&year)
        || !(0..60).contains(&minute)
        || !(0.0..61.0).contains(&seconds)
    {
        return None;
    }
    // Days since 1970 in the Gregorian calendar, with years that start in March.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + (seconds * 1000.0).round() as i64 - shift_ms)
}

/// `+hh`, `+hhmm`, `+hh:mm`, or with a minus.
fn zone_ms(text: &str) -> Option<i64> {
    let (sign, digits) = (if text.starts_with('-') { -1 } else { 1 }, text.get(1..)?.replace(':', ""));
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes: i64 =
        digits.get(2..).filter(|rest| !rest.is_empty()).map_or(Some(0), |it| it.parse().ok())?;
    Some(sign * (hours * 60 + minutes) * 60_000)
}

/// A moment as `YYYY-MM-DDThh:mm:ss.fffZ`.
pub(super) fn shown_time(ms: TimestampMs) -> String {
    let (days, rest) = (ms.div_euclid(MS_PER_DAY), ms.rem_euclid(MS_PER_DAY));
    // The other way round than in `parse_time`: eras of 400 years that start in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, millis) = (rest / 1_000 % 60, rest % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// A duration: `500ms`, `10s`, `5m`, `2h`, `7d`, or ISO 8601 as Kafka's tools want it (`PT10M`, `P1DT2H`).
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let simple = || {
        let digits = text.find(|char: char| !char.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000_u64,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(unit_ms)
    };
    let iso = || ottla_config::parse_iso8601_ms(text).and_then(|ms| u64::try_from(ms).ok());
    let ms = simple().or_else(iso);
    ms.map(Duration::from_millis)
        .ok_or_else(|| format!("'{text}' is no duration like 30s, 10m, 2h, 7d or P1DT2H"))
}

/// Bytes for people: `1.5 GiB`.
pub(super) fn shown_bytes(bytes: i64) -> String {
    indicatif::BinaryBytes(u64::try_from(bytes).unwrap_or(0)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        for (text, ms) in [
            ("1700000000000", 1_700_000_000_000),
            ("1970-01-01T00:00:01Z", 1_000),
            ("2024-02-29T12:34:56.789Z", 1_709_210_096_789),
            ("2024-02-29T12:34:56.789", 1_709_210_096_789),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-15T00:13:20+02:00", 1_700_000_000_000),
            ("2023-11-14T17:13:20-0500", 1_700_000_000_000),
            ("2023-11-14T22:13", 1_699_999_980_000),
        ] {
            assert_eq!(time_ms(text), Ok(ms), "{text}");
            assert_eq!(time_ms(&shown_time(ms)), Ok(ms), "{text}");
        }
        assert_eq!(shown_time(1_709_210_096_789), "2024-02-29T12:34:56.789Z");
        assert_eq!(shown_time(951_782_399_999), "2000-02-28T23:59:59.999Z");
        for bad in ["", "x", "2024-13-01T00:00:00Z", "2024-02-29", "1.5", "2024-01-01T00:00+x"] {
            assert!(time_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_those_of_people_and_of_iso() {
        for (text, ms) in
            [("5ms", 5), ("10s", 10_000), ("2h", 7_200_000), ("PT1M", 60_000), ("P1D", 86_400_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "5", "m", "5 s", "-5s", "P"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn partitions_are_listed_behind_their_topic() {
        let parsed = |topic: &str, partitions: &[i32]| {
            Ok(TopicPartitions { topic: topic.to_owned(), partitions: partitions.to_vec() })
        };
        assert_eq!(topic_partitions("a"), parsed("a", &[]));
        assert_eq!(topic_partitions("a:0,2"), parsed("a", &[0, 2]));
        for bad in ["", "a:", "a:x", "a:-1", "a b"] {
            assert!(topic_partitions(bad).is_err(), "{bad}");
        }
        assert_eq!(partition("a-b:3"), Ok(TopicPartition::new("a-b", 3)));
        assert_eq!(partition("a-b-3"), Ok(TopicPartition::new("a-b", 3)));
        assert!(partition("a").is_err() && partition("a:-1").is_err());
    }
}
