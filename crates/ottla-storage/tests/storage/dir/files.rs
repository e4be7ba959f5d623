//! The small files at the top of a log directory: what is read, what is refused, what a crash leaves.

use std::path::Path;

use ottla_storage::dir::{
    CheckpointFile, CleanShutdown, MetaProperties, PartitionOffsets, RECOVERY_POINT_CHECKPOINT, read_marker,
    remove_marker, write_marker,
};
use ottla_storage::fs::{Effect, Fault, Fs, MemFs, OpenMode, Operation, exists, read_file};
use ottla_types::{NodeId, Offset, TopicPartition, Uuid};

const DIR: &str = "/d";

fn empty_dir() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir_all(Path::new(DIR)).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

fn put(fs: &dyn Fs, name: &str, bytes: &[u8]) {
    let file = fs.open(&Path::new(DIR).join(name), OpenMode::CreateOrOpen).unwrap();
    file.set_len(0).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(Path::new(DIR)).unwrap();
}

fn offsets(entries: &[(&str, i32, i64)]) -> PartitionOffsets {
    entries
        .iter()
        .map(|&(topic, partition, at)| (TopicPartition::new(topic, partition), Offset(at)))
        .collect()
}

fn read(bytes: &[u8]) -> Result<PartitionOffsets, String> {
    let fs = empty_dir();
    put(&fs, RECOVERY_POINT_CHECKPOINT, bytes);
    CheckpointFile::new(Path::new(DIR), RECOVERY_POINT_CHECKPOINT).read(&fs).map_err(|e| e.to_string())
}

#[test]
fn checkpoint_has_kafkas_bytes() {
    let fs = empty_dir();
    let file = CheckpointFile::new(Path::new(DIR), RECOVERY_POINT_CHECKPOINT);
    assert_eq!(file.read(&fs).unwrap(), PartitionOffsets::new());
    let entries = offsets(&[("t", 10, 5), ("t", 9, 0), ("a.b", 0, i64::MAX)]);
    file.write(&fs, &entries).unwrap();
    let bytes = read_file(&fs, file.path(), 1000).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), "0\n3\na.b 0 9223372036854775807\nt 9 0\nt 10 5\n");
    assert_eq!(file.read(&fs).unwrap(), entries);
    file.update(&fs, |entries| entries.retain(|partition, _| partition.partition == 9)).unwrap();
    assert_eq!(file.read(&fs).unwrap(), offsets(&[("t", 9, 0)]));
}

#[test]
fn checkpoint_reader_is_as_tolerant_as_kafkas() {
    assert_eq!(read(b""), Ok(offsets(&[])));
    assert_eq!(read(b"0"), Ok(offsets(&[])));
    assert_eq!(read(b"0\n0\n"), Ok(offsets(&[])));
    assert_eq!(read(b"0\r\n1\r\nt\t 1   2  \r\n"), Ok(offsets(&[("t", 1, 2)])));
    assert_eq!(read(b"0\r1\rt 1 2"), Ok(offsets(&[("t", 1, 2)])));
    assert_eq!(read(b"0\n2\nt 1 2\nt 1 3\n"), Ok(offsets(&[("t", 1, 3)])));
    assert_eq!(read(b"0\n1\nt 1 -5\n"), Ok(offsets(&[("t", 1, -5)])));
}

#[test]
fn checkpoint_reader_names_what_is_wrong() {
    let path = "/d/recovery-point-offset-checkpoint";
    for (text, error) in [
        ("1\n0\n", format!("checkpoint {path} has version 1, expected 0")),
        ("x\n", format!("malformed line 1 in checkpoint {path}: \"x\"")),
        ("\n", format!("malformed line 1 in checkpoint {path}: \"\"")),
        ("0\nmany\n", format!("malformed line 2 in checkpoint {path}: \"many\"")),
        ("0\n1\nt 1\n", format!("malformed line 3 in checkpoint {path}: \"t 1\"")),
        ("0\n1\nt 1 2 3\n", format!("malformed line 3 in checkpoint {path}: \"t 1 2 3\"")),
        ("0\n1\n t 1 2\n", format!("malformed line 3 in checkpoint {path}: \" t 1 2\"")),
        ("0\n1\nt one 2\n", format!("malformed line 3 in checkpoint {path}: \"t one 2\"")),
        (
            "0\n1\nt 1 99999999999999999999\n",
            format!("malformed line 3 in checkpoint {path}: \"t 1 99999999999999999999\""),
        ),
        ("0\n1\nt 1 2\n\n", format!("malformed line 4 in checkpoint {path}: \"\"")),
        ("0\n2\nt 1 2\n", format!("checkpoint {path} says 2 entries but has 1")),
        ("0\n0\nt 1 2\n", format!("checkpoint {path} says 0 entries but has 1")),
        ("0\n-1\n", format!("checkpoint {path} says -1 entries but has 0")),
    ] {
        assert_eq!(read(text.as_bytes()), Err(error), "{text:?}");
    }
    assert!(read(b"0\n1\n\xff 1 2\n").unwrap_err().starts_with("cannot read checkpoint"));
}

#[test]
fn checkpoint_read_reports_disk_errors() {
    let fs = empty_dir();
    put(&fs, RECOVERY_POINT_CHECKPOINT, b"0\n0\n");
    fs.inject(Fault::new(Effect::Io).on(Operation::Read));
    let error = CheckpointFile::new(Path::new(DIR), RECOVERY_POINT_CHECKPOINT).read(&fs).unwrap_err();
    assert!(error.to_string().starts_with("cannot read checkpoint"), "{error}");
}

#[test]
fn checkpoint_survives_a_crash_at_every_operation_of_a_write() {
    let old = offsets(&[("t", 0, 1), ("t", 1, 2)]);
    let new: PartitionOffsets = (0..500).map(|i| (TopicPartition::new("topic", i), Offset(7))).collect();
    for at in 0.. {
        let fs = empty_dir();
        let file = CheckpointFile::new(Path::new(DIR), RECOVERY_POINT_CHECKPOINT);
        file.write(&fs, &old).unwrap();
        fs.cut_power_at(fs.operations() + at);
        let done = file.write(&fs, &new).is_ok();
        for seed in 0..50 {
            let after = fs.fork();
            after.crash(seed);
            let found = file.read(&after).expect("never malformed");
            assert!(found == new || (found == old && !done), "operation {at}, seed {seed}");
            // What the crash left behind does not hinder the next write.
            file.write(&after, &old).unwrap();
            assert_eq!(file.read(&after).unwrap(), old);
        }
        if done {
            break;
        }
    }
}

#[test]
fn meta_properties_are_replaced_atomically() {
    let old = MetaProperties::new("cluster", NodeId(1), Uuid::from_parts(1, 2));
    let new = MetaProperties { directory_id: Some(Uuid::from_parts(3, 4)), ..old.clone() };
    for at in 0.. {
        let fs = empty_dir();
        assert_eq!(MetaProperties::read(&fs, Path::new(DIR)).unwrap(), None);
        old.write(&fs, Path::new(DIR)).unwrap();
        fs.cut_power_at(fs.operations() + at);
        let done = new.write(&fs, Path::new(DIR)).is_ok();
        for seed in 0..50 {
            let after = fs.fork();
            after.crash(seed);
            let found = MetaProperties::read(&after, Path::new(DIR)).unwrap().unwrap();
            assert!(found == new || (found == old && !done));
        }
        if done {
            break;
        }
    }
}

#[test]
fn marker_has_kafkas_bytes_and_counts_whatever_is_in_it() {
    let fs = empty_dir();
    let dir = Path::new(DIR);
    assert_eq!(read_marker(&fs, dir).unwrap(), None);
    write_marker(&fs, dir, Some(14)).unwrap();
    let bytes = read_file(&fs, &dir.join(".kafka_cleanshutdown"), 100).unwrap();
    assert_eq!(bytes, br#"{"version":0,"brokerEpoch":14}"#);
    for (text, broker_epoch) in [
        (&b""[..], None),
        (b"{\"version\":0,\"brokerEpoch\":14}", Some(14)),
        (b"{\"brokerEpoch\":3,\"more\":[1]}", Some(3)),
        (b"{\"version\":0,\"brokerEpoch\":-1}", None),
        (b"{\"version\":0,\"brokerEpoch\":null}", None),
        (b"{\"version\":0}", None),
        (b"{\"vers", None),
    ] {
        put(&fs, ".kafka_cleanshutdown", text);
        assert_eq!(read_marker(&fs, dir).unwrap(), Some(CleanShutdown { broker_epoch }), "{text:?}");
    }
    write_marker(&fs, dir, None).unwrap();
    let bytes = read_file(&fs, &dir.join(".kafka_cleanshutdown"), 100).unwrap();
    assert_eq!(bytes, br#"{"version":0,"brokerEpoch":-1}"#);
}

#[test]
fn a_removed_marker_does_not_come_back_and_a_written_one_stays() {
    let fs = empty_dir();
    let dir = Path::new(DIR);
    write_marker(&fs, dir, Some(1)).unwrap();
    for seed in 0..50 {
        let after = fs.fork();
        after.crash(seed);
        assert_eq!(read_marker(&after, dir).unwrap(), Some(CleanShutdown { broker_epoch: Some(1) }));
        remove_marker(&after, dir).unwrap();
        remove_marker(&after, dir).unwrap();
        after.crash(seed);
        assert!(!exists(&after, &dir.join(".kafka_cleanshutdown")).unwrap());
    }
}
