//! Cut anywhere, a log opens without its last record; altered anywhere, it does not open.

use super::*;
use crate::oplog::{FORMAT, Outcome};
use proptest::prelude::*;

fn sample() -> Vec<Record> {
    let operation = "6a1c1f0e-0000-4000-8000-000000000002".parse().expect("an id");
    vec![
        Record::Opened {
            format: FORMAT,
            incarnation: "6a1c1f0e-0000-4000-8000-0000000000aa".parse().expect("an id"),
            host: "n1".parse().expect("a name"),
        },
        Record::TokenSeen {
            token: drover_types::FencingToken::new(7),
        },
        Record::Finished {
            operation,
            outcome: Outcome::Succeeded(serde_json::json!({"a": "line\nbreak"})),
        },
        Record::Acknowledged {
            operations: vec![operation],
        },
    ]
}

fn bytes(records: &[Record]) -> Vec<u8> {
    records
        .iter()
        .flat_map(|record| encode(record).expect("a small record"))
        .collect()
}

#[test]
fn a_record_is_one_readable_line() {
    let line = String::from_utf8(encode(&sample()[1]).expect("a small record")).expect("text");
    insta::assert_snapshot!(line.trim_end(), @r#"0000001a 08ed02ed {"token_seen":{"token":7}}"#);
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn cut_at_any_byte_the_log_opens_and_drops_only_the_cut_record() {
    let records = sample();
    let whole = bytes(&records);
    let mut ends = vec![0];
    for count in 1..=records.len() {
        ends.push(bytes(&records[..count]).len());
    }
    for cut in 0..=whole.len() {
        let decoded = decode(&whole[..cut]).unwrap_or_else(|damage| panic!("cut at {cut}: {damage}"));
        let kept = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(decoded.records, records[..kept], "cut at {cut}");
        assert_eq!(decoded.valid_len, ends[kept], "cut at {cut}");
        let tail = if cut == ends[kept] {
            Tail::Clean
        } else {
            Tail::Torn {
                bytes: cut - ends[kept],
            }
        };
        assert_eq!(decoded.tail, tail, "cut at {cut}");
    }
}

#[test]
fn a_tail_of_unwritten_pages_is_dropped() {
    let records = sample();
    let good = bytes(&records[..3]);
    let last = encode(&records[3]).expect("a small record");
    for written in 0..last.len() {
        let mut file = [&good[..], &last[..written]].concat();
        file.resize(file.len() + 100, 0);
        let decoded = decode(&file).expect("only the tail is bad");
        assert_eq!(decoded.records, records[..3], "{written} bytes written");
        assert_eq!(decoded.tail, Tail::Torn { bytes: written + 100 });
    }
}

#[test]
fn damage_ahead_of_the_end_says_where() {
    let records = sample();
    let mut file = bytes(&records);
    let second = bytes(&records[..1]).len();
    file[second + HEAD + 3] ^= 1;
    let damage = decode(&file).expect_err("damaged");
    assert_eq!((damage.index, damage.bytes.start), (1, second));
    assert!(matches!(damage.kind, DamageKind::Checksum), "{:?}", damage.kind);
    assert!(
        damage
            .to_string()
            .starts_with("the operation log is damaged in record 1, bytes"),
        "{damage}"
    );
}

#[test]
fn a_record_of_a_later_version_is_no_torn_tail() {
    let json = br#"{"something_new":{}}"#;
    let line = format!(
        "{:08x} {:08x} {}\n",
        json.len(),
        crc32fast::hash(json),
        r#"{"something_new":{}}"#
    );
    let damage = decode(line.as_bytes()).expect_err("unknown");
    assert!(matches!(damage.kind, DamageKind::Content(_)), "{:?}", damage.kind);
}

#[test]
fn an_oversize_record_is_refused_when_written() {
    let outcome = Outcome::Succeeded(serde_json::Value::String("x".repeat(MAX_RECORD_BYTES)));
    let operation = "6a1c1f0e-0000-4000-8000-000000000002".parse().expect("an id");
    let error = encode(&Record::Finished { operation, outcome }).expect_err("too large");
    assert!(matches!(error, EncodeError::TooLarge { .. }), "{error}");
}

proptest! {
    #[test]
    fn an_altered_byte_is_never_read_as_another_log(at in 0..400_usize, by in 1..=255_u8) {
        let records = sample();
        let mut file = bytes(&records);
        let at = at % file.len();
        let last = bytes(&records[..3]).len();
        file[at] ^= by;
        match decode(&file) {
            Err(damage) => prop_assert!(damage.bytes.contains(&at) || damage.bytes.end == at),
            // A zero or a lost newline in the very last record looks like an append that did not finish.
            Ok(decoded) => {
                prop_assert!(at >= last, "byte {} was altered unnoticed", at);
                prop_assert_eq!(decoded.records, &records[..3]);
            }
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
    }
}
