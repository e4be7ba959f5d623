//! `docs/configuration.md` says what the table says.

use std::path::Path;

#[test]
fn configuration_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let wanted = ottla_config::markdown();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &wanted).expect("the document can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/configuration.md is out of date: run `UPDATE=1 cargo test -p ottla-config`"
    );
}
