//! The file system in memory fails and forgets as it promises: what is synced stays, what is not may go.

use std::collections::BTreeSet;
use std::path::Path;

use ottla_storage::fs::{Effect, Fault, Fs, MemFs, OpenMode, Operation, exists, read_file, replace_file};

const SEEDS: u64 = 200;

fn fs_with(path: &str, bytes: &[u8]) -> MemFs {
    let fs = MemFs::new();
    let file = fs.open(Path::new(path), OpenMode::CreateNew).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

/// What a file holds after a crash, over many seeds.
fn outcomes(fs: &MemFs, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..SEEDS)
        .map(|seed| {
            let after = fs.fork();
            after.crash(seed);
            exists(&after, Path::new(path))
                .unwrap()
                .then(|| read_file(&after, Path::new(path), 1 << 20).unwrap())
        })
        .collect()
}

#[test]
fn synced_data_survives_every_crash() {
    let fs = fs_with("/a", b"kept");
    assert_eq!(outcomes(&fs, "/a"), BTreeSet::from([Some(b"kept".to_vec())]));
}

#[test]
fn unsynced_writes_are_kept_lost_reordered_and_torn() {
    let fs = fs_with("/a", b"....");
    let file = fs.open(Path::new("/a"), OpenMode::Write).unwrap();
    file.write_at(b"XY", 0).unwrap();
    file.write_at(b"Z", 3).unwrap();
    let seen = outcomes(&fs, "/a");
    for expected in ["....", "XY.Z", "XY..", "...Z", "X..."] {
        assert!(seen.contains(&Some(expected.as_bytes().to_vec())), "{expected} never happens");
    }
    for found in &seen {
        let found = found.as_ref().expect("the name was synced");
        for (byte, allowed) in found.iter().zip([b".X", b".Y", b"..", b".Z"]) {
            assert!(allowed.contains(byte), "{found:?} holds what nobody wrote");
        }
    }
}

#[test]
fn large_writes_tear_by_page() {
    let fs = fs_with("/a", &[0; 3 * 4096]);
    fs.open(Path::new("/a"), OpenMode::Write).unwrap().write_at(&[1; 3 * 4096], 0).unwrap();
    let middle_lost = outcomes(&fs, "/a").into_iter().flatten().any(|bytes| {
        bytes[..4096].iter().all(|&b| b == 1)
            && bytes[4096..8192].iter().all(|&b| b == 0)
            && bytes[8192..].iter().all(|&b| b == 1)
    });
    assert!(middle_lost);
}

#[test]
fn an_unsynced_extension_may_be_lost_or_read_as_zeros() {
    let fs = fs_with("/a", b"ab");
    fs.open(Path::new("/a"), OpenMode::Write).unwrap().set_len(4).unwrap();
    assert_eq!(outcomes(&fs, "/a"), BTreeSet::from([Some(b"ab".to_vec()), Some(b"ab\0\0".to_vec())]));
}

#[test]
fn a_file_without_directory_sync_may_vanish_even_when_synced_itself() {
    let fs = MemFs::new();
    let file = fs.open(Path::new("/a"), OpenMode::CreateNew).unwrap();
    file.write_at(b"x", 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(outcomes(&fs, "/a"), BTreeSet::from([None, Some(b"x".to_vec())]));
    fs.sync_dir(Path::new("/")).unwrap();
    assert_eq!(outcomes(&fs, "/a"), BTreeSet::from([Some(b"x".to_vec())]));
}

#[test]
fn unsynced_renames_and_removals_may_be_undone_but_never_halved() {
    let fs = fs_with("/a", b"x");
    fs.rename(Path::new("/a"), Path::new("/b")).unwrap();
    for seed in 0..SEEDS {
        let after = fs.fork();
        after.crash(seed);
        let names: Vec<String> =
            after.list(Path::new("/")).unwrap().into_iter().map(|(name, _)| name).collect();
        assert!(names == ["a"] || names == ["b"], "{names:?}");
    }
    fs.sync_dir(Path::new("/")).unwrap();
    fs.remove_file(Path::new("/b")).unwrap();
    assert_eq!(outcomes(&fs, "/b"), BTreeSet::from([None, Some(b"x".to_vec())]));
    fs.sync_dir(Path::new("/")).unwrap();
    assert_eq!(outcomes(&fs, "/b"), BTreeSet::from([None]));
}

#[test]
fn a_directory_moved_twice_is_in_one_place_after_a_crash() {
    let fs = MemFs::new();
    for dir in ["/p/t", "/q", "/r"] {
        fs.create_dir_all(Path::new(dir)).unwrap();
    }
    for dir in ["/", "/p", "/q", "/r"] {
        fs.sync_dir(Path::new(dir)).unwrap();
    }
    fs.rename(Path::new("/p/t"), Path::new("/q/t")).unwrap();
    fs.rename(Path::new("/q/t"), Path::new("/r/t")).unwrap();
    let count = |fs: &MemFs| {
        ["/p/t", "/q/t", "/r/t"].iter().filter(|path| exists(fs, Path::new(path)).unwrap()).count()
    };
    for seed in 0..SEEDS {
        let after = fs.fork();
        after.crash(seed);
        assert_eq!(count(&after), 1, "seed {seed}");
    }
    fs.sync_dir(Path::new("/r")).unwrap();
    fs.crash(1);
    assert!(exists(&fs, Path::new("/r/t")).unwrap());
    assert_eq!(count(&fs), 1);
}

#[test]
fn the_same_seed_makes_the_same_crash() {
    let fs = fs_with("/a", b"....");
    let file = fs.open(Path::new("/a"), OpenMode::Write).unwrap();
    for i in 0..4 {
        file.write_at(b"X", i).unwrap();
    }
    let crashed = |seed| {
        let after = fs.fork();
        after.crash(seed);
        read_file(&after, Path::new("/a"), 10).unwrap()
    };
    for seed in 0..20 {
        assert_eq!(crashed(seed), crashed(seed));
    }
}

#[test]
fn handles_and_locks_of_before_a_crash_are_dead() {
    let fs = fs_with("/a", b"x");
    let file = fs.open(Path::new("/a"), OpenMode::Write).unwrap();
    let lock = fs.try_lock(Path::new("/.lock")).unwrap().unwrap();
    fs.crash(0);
    assert!(
        file.write_at(b"y", 0).is_err() && file.read_at(&mut [0], 0).is_err() && file.sync_data().is_err()
    );
    let mine = fs.try_lock(Path::new("/.lock")).unwrap().expect("the holder is gone");
    drop(lock);
    assert!(fs.try_lock(Path::new("/.lock")).unwrap().is_none(), "a dead lock releases nothing");
    drop(mine);
    assert_eq!(read_file(&fs, Path::new("/a"), 10).unwrap(), b"x");
}

#[test]
fn faults_strike_the_operation_they_name() {
    let fs = fs_with("/a.log", b"");
    fs.open(Path::new("/b.log"), OpenMode::CreateNew).unwrap();
    fs.inject(Fault::new(Effect::Io).on(Operation::Write).at("a.log").after(1).times(1));
    let a = fs.open(Path::new("/a.log"), OpenMode::Write).unwrap();
    let b = fs.open(Path::new("/b.log"), OpenMode::Write).unwrap();
    a.write_at(b"1", 0).unwrap();
    b.write_at(b"1", 0).unwrap();
    b.write_at(b"2", 1).unwrap();
    assert_eq!(a.write_at(b"2", 1).unwrap_err().raw_os_error(), Some(5));
    a.write_at(b"3", 1).unwrap();
    assert_eq!(read_file(&fs, Path::new("/a.log"), 10).unwrap(), b"13");
    fs.inject(Fault::new(Effect::Torn(2)).on(Operation::Write));
    assert!(a.write_at(b"abcd", 2).is_err());
    assert_eq!(read_file(&fs, Path::new("/a.log"), 10).unwrap(), b"13ab");
    fs.heal();
    a.write_at(b"x", 0).unwrap();
}

#[test]
fn a_full_disk_takes_what_fits() {
    let fs = fs_with("/a", b"1234");
    fs.set_capacity_bytes(Some(6));
    let file = fs.open(Path::new("/a"), OpenMode::Write).unwrap();
    assert_eq!(file.write_at(b"5678", 4).unwrap_err().raw_os_error(), Some(28));
    assert_eq!(read_file(&fs, Path::new("/a"), 10).unwrap(), b"123456");
    file.write_at(b"xx", 0).unwrap();
    assert_eq!(file.set_len(7).unwrap_err().raw_os_error(), Some(28));
    fs.set_capacity_bytes(None);
    file.set_len(7).unwrap();
}

#[test]
fn after_a_failed_sync_a_later_one_does_not_save_the_lost_pages() {
    let fs = fs_with("/a", b"old");
    let file = fs.open(Path::new("/a"), OpenMode::Write).unwrap();
    file.write_at(b"new", 0).unwrap();
    fs.inject(Fault::new(Effect::Io).on(Operation::Sync).times(1));
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(read_file(&fs, Path::new("/a"), 10).unwrap(), b"new");
    assert_eq!(outcomes(&fs, "/a"), BTreeSet::from([Some(b"old".to_vec())]));
}

#[test]
fn the_trace_tells_the_order_of_durability() {
    let fs = MemFs::new();
    replace_file(&fs, Path::new("/a"), b"x").unwrap();
    let operations: Vec<Operation> = fs.take_trace().into_iter().map(|(operation, _)| operation).collect();
    use Operation::{Create, Rename, SetLen, Sync, SyncDir, Write};
    assert_eq!(operations, [Create, SetLen, Write, Sync, Rename, SyncDir]);
    assert_eq!(fs.operations(), 6);
}

#[test]
fn replacing_a_file_leaves_old_or_new_at_every_crash_point() {
    let (old, new) = (vec![b'o'; 5000], vec![b'n'; 9000]);
    for at in 0.. {
        let fs = fs_with("/a", &old);
        fs.cut_power_at(fs.operations() + at);
        let done = replace_file(&fs, Path::new("/a"), &new).is_ok();
        assert_ne!(done, fs.is_powered_off());
        for found in outcomes(&fs, "/a") {
            let found = found.expect("the file is never missing");
            assert!(found == new || (found == old && !done), "crash before operation {at} left a mixture");
        }
        if done {
            assert_eq!(at, 6);
            break;
        }
    }
}

#[test]
fn replacing_a_file_without_room_or_with_io_errors_keeps_the_old_one() {
    for operation in [Operation::Create, Operation::Write, Operation::Sync, Operation::Rename] {
        for effect in [Effect::Io, Effect::NoSpace, Effect::Torn(1)] {
            let fs = fs_with("/a", b"old");
            fs.inject(Fault::new(effect).on(operation).times(1));
            assert!(replace_file(&fs, Path::new("/a"), b"new").is_err(), "{operation:?} {effect:?}");
            assert_eq!(read_file(&fs, Path::new("/a"), 10).unwrap(), b"old");
        }
    }
}
