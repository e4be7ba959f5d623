//! The real file system and the one in memory behave the same as far as the log relies on it.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use ottla_storage::fs::{
    Fs, MemFs, OpenMode, OverlayFs, RealFs, Sharing, exists, read_file, remove_file_if_exists, replace_file,
};

/// Runs the check on both, and on changes in memory to an empty directory.
fn on_all(check: impl Fn(&dyn Fs, &Path)) {
    on_both(&check);
    let mem = MemFs::new();
    mem.create_dir_all(Path::new("/base")).unwrap();
    check(&OverlayFs::new(Arc::new(mem.clone())), Path::new("/base"));
    assert_eq!(mem.list(Path::new("/base")).unwrap(), []);
}

/// Runs the check on both, each in an empty directory.
fn on_both(check: impl Fn(&dyn Fs, &Path)) {
    let mem = MemFs::new();
    mem.create_dir_all(Path::new("/base")).unwrap();
    check(&mem, Path::new("/base"));
    let base = tempfile::tempdir().unwrap();
    check(&RealFs, base.path());
}

fn put(fs: &dyn Fs, path: &Path, bytes: &[u8]) {
    fs.open(path, OpenMode::CreateNew).unwrap().write_at(bytes, 0).unwrap();
}

#[test]
fn open_modes_find_create_and_refuse() {
    on_all(|fs, base| {
        let path = base.join("a");
        for mode in [OpenMode::Read, OpenMode::Write] {
            assert_eq!(fs.open(&path, mode).unwrap_err().kind(), ErrorKind::NotFound, "{fs:?}");
        }
        put(fs, &path, b"abc");
        assert_eq!(fs.open(&path, OpenMode::CreateNew).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs.open(&path, OpenMode::CreateOrOpen).unwrap().len().unwrap(), 3);
        assert!(fs.open(&path, OpenMode::Read).unwrap().write_at(b"x", 0).is_err());
        assert_eq!(read_file(fs, &path, 3).unwrap(), b"abc");
        assert_eq!(read_file(fs, &path, 2).unwrap_err().kind(), ErrorKind::InvalidData);
        let orphan = base.join("missing").join("a");
        assert_eq!(fs.open(&orphan, OpenMode::CreateNew).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs.open(base, OpenMode::Write).unwrap_err().kind(), ErrorKind::IsADirectory);
        let under_file = path.join("b");
        assert_eq!(fs.open(&under_file, OpenMode::CreateNew).unwrap_err().kind(), ErrorKind::NotADirectory);
    });
}

#[test]
fn reads_and_writes_are_positioned() {
    on_all(|fs, base| {
        let file = fs.open(&base.join("a"), OpenMode::CreateNew).unwrap();
        assert!(file.is_empty().unwrap());
        file.write_at(b"hello", 5000).unwrap();
        assert_eq!(file.len().unwrap(), 5005);
        let mut buf = [1; 10];
        assert_eq!(file.read_at(&mut buf, 4998).unwrap(), 7);
        assert_eq!(&buf[..7], b"\0\0hello");
        assert_eq!(file.read_at(&mut buf, 5005).unwrap(), 0);
        assert_eq!(file.read_at(&mut buf, 9999).unwrap(), 0);
        file.write_at(b"HE", 5000).unwrap();
        assert_eq!(file.read_at(&mut buf, 5000).unwrap(), 5);
        assert_eq!(&buf[..5], b"HEllo");
        file.set_len(5002).unwrap();
        file.set_len(5010).unwrap();
        assert_eq!(file.read_at(&mut buf, 5000).unwrap(), 10);
        assert_eq!(&buf, b"HE\0\0\0\0\0\0\0\0");
        file.write_at(b"", 9000).unwrap();
        assert_eq!(file.len().unwrap(), 5010);
        file.sync_data().unwrap();
    });
}

#[test]
fn lists_sorted_with_descriptions() {
    on_all(|fs, base| {
        put(fs, &base.join("b"), b"12345");
        fs.create_dir_all(&base.join("c/d")).unwrap();
        fs.create_dir_all(&base.join("c/d")).unwrap();
        put(fs, &base.join("a"), b"");
        let entries: Vec<_> =
            fs.list(base).unwrap().into_iter().map(|(name, info)| (name, info.is_dir)).collect();
        assert_eq!(entries, [("a".to_owned(), false), ("b".to_owned(), false), ("c".to_owned(), true)]);
        assert_eq!(fs.info(&base.join("b")).unwrap().len, 5);
        assert!(fs.info(&base.join("c/d")).unwrap().is_dir);
        assert_eq!(fs.info(&base.join("x")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs.list(&base.join("x")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs.list(&base.join("a")).unwrap_err().kind(), ErrorKind::NotADirectory);
        assert!(exists(fs, &base.join("a")).unwrap() && !exists(fs, &base.join("x")).unwrap());
        assert!(fs.create_dir_all(&base.join("a")).is_err());
    });
}

#[test]
fn rename_replaces_files_and_moves_directories() {
    on_all(|fs, base| {
        let (a, b) = (base.join("a"), base.join("b"));
        put(fs, &a, b"new");
        put(fs, &b, b"old");
        let old = fs.open(&b, OpenMode::Write).unwrap();
        fs.rename(&a, &b).unwrap();
        assert_eq!(read_file(fs, &b, 10).unwrap(), b"new");
        assert!(!exists(fs, &a).unwrap());
        // Open files are not disturbed by losing their name.
        old.write_at(b"OLD", 0).unwrap();
        assert_eq!(old.len().unwrap(), 3);
        assert_eq!(fs.rename(&a, &b).unwrap_err().kind(), ErrorKind::NotFound);

        fs.create_dir_all(&base.join("d1")).unwrap();
        let inner = fs.open(&base.join("d1/f"), OpenMode::CreateNew).unwrap();
        fs.rename(&base.join("d1"), &base.join("d2")).unwrap();
        inner.write_at(b"12", 0).unwrap();
        assert_eq!(fs.info(&base.join("d2/f")).unwrap().len, 2);
        fs.create_dir_all(&base.join("d3")).unwrap();
        put(fs, &base.join("d3/f"), b"");
        let refusal = fs.rename(&base.join("d2"), &base.join("d3")).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::DirectoryNotEmpty);
        fs.sync_dir(base).unwrap();
        assert_eq!(fs.sync_dir(&base.join("x")).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn removes_files_and_trees() {
    on_all(|fs, base| {
        put(fs, &base.join("a"), b"abc");
        let open = fs.open(&base.join("a"), OpenMode::Read).unwrap();
        fs.remove_file(&base.join("a")).unwrap();
        let mut buf = [0; 3];
        assert_eq!(open.read_at(&mut buf, 0).unwrap(), 3);
        assert_eq!(fs.remove_file(&base.join("a")).unwrap_err().kind(), ErrorKind::NotFound);
        remove_file_if_exists(fs, &base.join("a")).unwrap();
        fs.create_dir_all(&base.join("d/e")).unwrap();
        put(fs, &base.join("d/e/f"), b"");
        put(fs, &base.join("d/g"), b"");
        assert!(fs.remove_file(&base.join("d")).is_err());
        fs.remove_dir_all(&base.join("d")).unwrap();
        assert!(!exists(fs, &base.join("d")).unwrap());
        assert_eq!(fs.remove_dir_all(&base.join("d")).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn keeps_times_and_read_only_files_readable() {
    on_all(|fs, base| {
        let path = base.join("a");
        put(fs, &path, b"abc");
        fs.set_modified(&path, 1_600_000_000_123).unwrap();
        assert_eq!(fs.info(&path).unwrap().modified_ms, 1_600_000_000_123);
        fs.set_read_only(&path, true).unwrap();
        assert_eq!(read_file(fs, &path, 10).unwrap(), b"abc");
        fs.set_read_only(&path, false).unwrap();
        fs.open(&path, OpenMode::Write).unwrap().write_at(b"x", 0).unwrap();
        assert!(fs.info(&path).unwrap().modified_ms != 1_600_000_000_123);
    });
}

#[test]
fn replaces_a_file_over_leftovers() {
    on_all(|fs, base| {
        let path = base.join("a");
        put(fs, &base.join("a.tmp"), b"left behind by a crash, longer than the new contents");
        replace_file(fs, &path, b"one").unwrap();
        replace_file(fs, &path, b"").unwrap();
        replace_file(fs, &path, b"two").unwrap();
        assert_eq!(read_file(fs, &path, 10).unwrap(), b"two");
        assert!(!exists(fs, &base.join("a.tmp")).unwrap());
    });
}

#[test]
fn a_lock_is_exclusive_until_dropped() {
    on_both(|fs, base| {
        let path = base.join(".lock");
        let lock = fs.try_lock(&path).unwrap().expect("nobody holds it");
        assert!(fs.try_lock(&path).unwrap().is_none());
        assert!(fs.try_lock(&base.join("other")).unwrap().is_some());
        assert!(exists(fs, &path).unwrap());
        drop(lock);
        let lock = fs.try_lock(&path).unwrap().expect("released");
        // A lock on a removed file does not hinder the next owner of the name.
        fs.remove_file(&path).unwrap();
        assert!(fs.try_lock(&path).unwrap().is_some());
        drop(lock);
    });
}

/// Everything in a tree: names and bytes.
fn tree(fs: &dyn Fs, dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for (name, info) in fs.list(dir).unwrap() {
        let path = dir.join(&name);
        match info.is_dir {
            true => found
                .extend(tree(fs, &path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes))),
            false => found.push((name, read_file(fs, &path, 1 << 20).unwrap())),
        }
    }
    found
}

#[test]
fn an_overlay_shows_the_same_changes_and_leaves_its_base_alone() {
    let change = |fs: &dyn Fs, base: &Path| {
        fs.open(&base.join("a/cut"), OpenMode::Write).unwrap().set_len(5000).unwrap();
        let file = fs.open(&base.join("a/cut"), OpenMode::Write).unwrap();
        file.set_len(9000).unwrap();
        file.write_at(b"over", 4094).unwrap();
        fs.open(&base.join("a/moved"), OpenMode::Write).unwrap().write_at(b"x", 1).unwrap();
        fs.rename(&base.join("a"), &base.join("b")).unwrap();
        fs.rename(&base.join("b/moved"), &base.join("b/again")).unwrap();
        fs.remove_file(&base.join("b/gone")).unwrap();
        put(fs, &base.join("b/new"), b"new");
        fs.create_dir_all(&base.join("a")).unwrap();
        put(fs, &base.join("a/other"), b"other");
        fs.remove_dir_all(&base.join("tree")).unwrap();
    };
    let fill = |fs: &dyn Fs| {
        let base = Path::new("/base");
        for dir in ["a", "tree/inner"] {
            fs.create_dir_all(&base.join(dir)).unwrap();
        }
        for (name, bytes) in
            [("a/cut", &[7; 10_000][..]), ("a/moved", b"abc"), ("a/gone", b""), ("tree/inner/x", b"x")]
        {
            put(fs, &base.join(name), bytes);
        }
    };
    let (direct, below) = (MemFs::new(), MemFs::new());
    fill(&direct);
    fill(&below);
    let before = tree(&below, Path::new("/base"));
    let overlay = OverlayFs::new(Arc::new(below.clone()));
    change(&direct, Path::new("/base"));
    change(&overlay, Path::new("/base"));
    assert_eq!(tree(&overlay, Path::new("/base")), tree(&direct, Path::new("/base")));
    assert_eq!(tree(&below, Path::new("/base")), before);
}

#[test]
fn a_file_knows_who_else_has_it_open() {
    on_both(|fs, base| {
        let path = base.join("a");
        let file = fs.open(&path, OpenMode::CreateNew).unwrap();
        assert_eq!(file.sharing().unwrap(), Sharing::Alone, "{fs:?}");
        let reader = fs.open(&path, OpenMode::Read).unwrap();
        assert_eq!((file.sharing().unwrap(), reader.sharing().unwrap()), (Sharing::Open, Sharing::Open));
        fs.rename(&path, &base.join("b")).unwrap();
        put(fs, &path, b"another file of that name");
        assert_eq!(file.sharing().unwrap(), Sharing::Open);
        drop(file);
        assert_eq!(reader.sharing().unwrap(), Sharing::Alone);
    });
}

#[test]
fn a_file_with_two_names_is_never_alone() {
    let base = tempfile::tempdir().unwrap();
    let file = RealFs.open(&base.path().join("a"), OpenMode::CreateNew).unwrap();
    std::fs::hard_link(base.path().join("a"), base.path().join("backup")).unwrap();
    assert_eq!(file.sharing().unwrap(), Sharing::Linked);
    std::fs::remove_file(base.path().join("a")).unwrap();
    assert_eq!(file.sharing().unwrap(), Sharing::Alone);
}

#[test]
fn what_is_written_past_the_page_cache_is_read_by_others() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("a");
    put(&RealFs, &path, &[1; 8192]);
    let cached = RealFs.open(&path, OpenMode::Read).unwrap();
    let mut found = [0; 8192];
    cached.read_at(&mut found, 0).unwrap();
    let memory = vec![2; 8192];
    let start = memory.as_ptr().align_offset(4096);
    // Not every file system can do that.
    let Ok(file) = RealFs.open_direct(&path) else { return };
    if file.write_durably(&memory[start..][..4096], 4096).is_ok() {
        cached.read_at(&mut found, 0).unwrap();
        assert_eq!((&found[..4096], &found[4096..]), (&[1; 4096][..], &[2; 4096][..]));
    }
}
