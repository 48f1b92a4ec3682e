//! Tests of reading a state in order to copy it.

use super::*;
use crate::store::copying::{CopiedTable, CopiedValue, TABLES};

fn table(name: &str) -> &'static CopiedTable {
    TABLES.iter().find(|table| table.name == name).unwrap()
}

/// In a SQLite file a text may have spaces in front of it (`sqlite/file/erasure.rs`). The copy must not have them: it
/// may go to PostgreSQL, and the backend for PostgreSQL does not remove the spaces when it reads the text.
fn a_copied_text_is_the_text_of_the_api(scratch: &dyn Scratch) {
    let mut spool = scratch.open();
    spool.erase_on_delivery();
    let event = insert(2, "event", RowStanding::Event, None);
    spool.commit(&[insert(1, "hello", RowStanding::News, None), event], UnixMs(0)).unwrap();
    let messages = table("message");
    let records = spool.read_records(messages, None, 10).unwrap();
    let texts = records.into_iter().map(|mut record| record.swap_remove(messages.place_of("raw")));
    let expected = [r#"{"id":"m1","body":"hello"}"#, r#"{"id":"m2","body":"event"}"#];
    assert!(texts.eq(expected.map(|text| CopiedValue::Text(text.to_owned()))));
}

on_every_backend![a_copied_text_is_the_text_of_the_api];
