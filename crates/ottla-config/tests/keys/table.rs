//! The table by itself.

use ottla_config::{
    AlterOp, Change, ErrorKind, Kind, Preset, Props, Scope, Value, alter_value, apply_broker_changes,
    check_changes, find, keys, parse_iso8601_ms, table::AREAS,
};

const SCOPES: [Scope; 4] = [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics];

#[test]
fn every_default_is_allowed_by_its_own_rule() {
    for key in SCOPES.iter().flat_map(|scope| keys(*scope)) {
        if let Preset::Text(text) = key.preset {
            let value = key.parse(text).unwrap_or_else(|error| panic!("{}: {error}", key.name));
            assert_eq!(
                value.to_text().as_deref(),
                Some(text).filter(|_| key.kind != Kind::Password),
                "{}",
                key.name
            );
        }
    }
}

#[test]
fn names_are_unique_and_every_key_is_found() {
    for scope in SCOPES {
        let keys = keys(scope);
        assert!(keys.windows(2).all(|pair| pair[0].name < pair[1].name), "{scope:?} has a name twice");
        assert!(keys.iter().all(|key| find(scope, key.name).is_some_and(|found| found.name == key.name)));
    }
    let rows: usize = AREAS.iter().map(|area| area.keys.len()).sum();
    assert_eq!(rows, SCOPES.iter().map(|scope| keys(*scope).len()).sum::<usize>());
}

#[test]
fn documents_are_sentences() {
    for key in SCOPES.iter().flat_map(|scope| keys(*scope)) {
        assert!(key.doc.len() > 8 && key.doc.ends_with('.') && !key.doc.contains('|'), "{}", key.name);
    }
}

#[test]
fn list_operations_start_from_the_override_or_the_default() {
    let alter = |current, op, value| alter_value(Scope::Topic, "cleanup.policy", current, op, value);
    let text = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(alter(None, AlterOp::Append, Some("compact")), text("delete,compact"));
    assert_eq!(alter(Some("compact"), AlterOp::Append, Some("compact")), text("compact"));
    assert_eq!(alter(None, AlterOp::Subtract, Some("delete")), text(""));
    assert_eq!(alter(Some("compact"), AlterOp::Delete, None), Ok(None));
    let error =
        alter_value(Scope::Topic, "retention.ms", None, AlterOp::Append, Some("1")).expect_err("no list");
    assert_eq!(error.message, "Can't APPEND to key retention.ms because its type is not LIST.");
    assert_eq!(error.kind, ErrorKind::InvalidConfig);
}

#[test]
fn values_longer_than_a_record_takes_are_refused() {
    let long = "x".repeat(32_768);
    let error =
        alter_value(Scope::Broker, "some.key", None, AlterOp::Set, Some(&long)).expect_err("too long");
    assert_eq!(
        error.message,
        "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes."
    );
    assert!(alter_value(Scope::Broker, "some.key", None, AlterOp::Set, Some(&long[1..])).is_ok());
}

#[test]
fn null_values_and_repeated_keys_are_refused() {
    let set = |name, value| Change { name, op: AlterOp::Set, value };
    let message = |changes: &[Change<'_>]| check_changes(changes).expect_err("refused").message;
    assert_eq!(message(&[set("a", Some("1")), set("a", Some("2"))]), "Error due to duplicate config keys");
    assert_eq!(message(&[set("a", None), set("b", None)]), "Null value not supported for : a, b");
    let delete = Change { name: "a", op: AlterOp::Delete, value: None };
    assert_eq!(apply_broker_changes(&Props::from([("a".into(), "1".into())]), &[delete]), Ok(Props::new()));
}

#[test]
fn doubles_print_as_in_java() {
    for (text, shown) in [("1", "1.0"), ("0.00012", "1.2E-4"), ("12345678", "1.2345678E7"), ("-0.5d", "-0.5")]
    {
        let value = Value::parse("x", Kind::Double, text).expect("a number");
        assert_eq!(value.to_text().as_deref(), Some(shown));
    }
}

#[test]
fn durations_are_read_as_iso_8601() {
    assert_eq!(parse_iso8601_ms("P1DT2H3M4.5S"), Some(93_784_500));
    assert_eq!(parse_iso8601_ms("-PT1S"), Some(-1_000));
    assert_eq!(parse_iso8601_ms("PT-1.5S"), Some(-1_500));
    for bad in ["", "P", "PT", "1H", "P1H", "PT1M1H", "PT1.2M", "PT1", "é"] {
        assert_eq!(parse_iso8601_ms(bad), None, "{bad}");
    }
}
