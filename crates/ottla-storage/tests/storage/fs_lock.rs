//! The lock of the real file system is seen by other processes, as Java's file lock is.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ottla_storage::fs::{Fs, RealFs};

const LOCK_AND_WAIT: &str = "
import fcntl, sys
f = open(sys.argv[1], 'a+')
try:
    fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print('locked', flush=True)
except OSError:
    print('refused', flush=True)
sys.stdin.readline()
";

/// Another process that tries the lock, says what came of it, and holds it until its input ends.
struct Other {
    child: Child,
    answer: String,
}

impl Other {
    fn try_lock(path: &Path) -> Option<Self> {
        let mut child = Command::new("python3")
            .args(["-c", LOCK_AND_WAIT])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut answer = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut answer).unwrap();
        Some(Self { child, answer: answer.trim().to_owned() })
    }

    fn finish(mut self) -> String {
        self.child.stdin.take().unwrap().write_all(b"\n").unwrap();
        self.child.wait().unwrap();
        self.answer
    }
}

#[test]
fn another_process_is_kept_out_and_keeps_us_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".lock");

    let Some(other) = Other::try_lock(&path) else {
        eprintln!("SKIPPED: no python3 to hold a lock in another process");
        return;
    };
    assert_eq!(other.answer, "locked");
    assert!(RealFs.try_lock(&path).unwrap().is_none());
    other.finish();

    let lock = RealFs.try_lock(&path).unwrap().expect("the other process has ended");
    assert_eq!(Other::try_lock(&path).unwrap().finish(), "refused");
    // A refused second attempt of our own must not open and close the file, which would release the first.
    assert!(RealFs.try_lock(&path).unwrap().is_none());
    assert_eq!(Other::try_lock(&path).unwrap().finish(), "refused");
    drop(lock);
    assert_eq!(Other::try_lock(&path).unwrap().finish(), "locked");
}
