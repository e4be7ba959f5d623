//! Every message in every version against Apache Kafka's own classes: what we read and write, they read and write to the same
//! bytes. Also API keys, header versions and errors.
//!
//! Needs `java` (17 or newer) and the jars of Apache Kafka 4.4.0 with their dependencies in the directory that
//! `OTTLA_KAFKA_CLASSPATH` names (`cargo xtask test` fetches them and sets it). Without them the test says so and passes.

use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::support::{codecs, for_each_sample};
use ottla_protocol::{ApiKey, ErrorCode, Listener};
use ottla_types::SplitMix64;

/// The JVM that runs `Messages.java`; one at a time, for the memory.
struct Jvm {
    child: Child,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

/// The directory of jars, or `None` after saying why the test is skipped.
fn jars() -> Option<PathBuf> {
    let Some(dir) = std::env::var_os("OTTLA_KAFKA_CLASSPATH").map(PathBuf::from) else {
        eprintln!("SKIPPED: OTTLA_KAFKA_CLASSPATH is not set, so nothing is compared with Apache Kafka");
        return None;
    };
    if Command::new("java").arg("-version").stderr(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: there is no java, so nothing is compared with Apache Kafka");
        return None;
    }
    assert!(dir.is_dir(), "OTTLA_KAFKA_CLASSPATH={} is not a directory", dir.display());
    Some(dir)
}

impl Jvm {
    fn start(jars: &Path) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jvm/Messages.java");
        let child = Command::new("java")
            .args(["-Xmx400m", "-cp", &format!("{}/*", jars.display())])
            .arg(source)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("java starts");
        Self { child, _turn: turn }
    }

    /// Sends the commands, in a thread of their own so that neither side waits for the other, and returns the answer to each.
    fn run(mut self, commands: &[Vec<u8>]) -> Vec<Result<Vec<u8>, String>> {
        let input = commands.concat();
        let mut stdin = self.child.stdin.take().unwrap();
        let writer = thread::spawn(move || stdin.write_all(&input));
        let mut stdout = BufReader::new(self.child.stdout.take().unwrap());
        let mut answers = Vec::with_capacity(commands.len());
        for _ in commands {
            let mut head = [0; 5];
            stdout.read_exact(&mut head).expect("the JVM answers; see its stderr");
            let [done, a, b, c, d] = head;
            let mut body = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
            stdout.read_exact(&mut body).unwrap();
            answers.push(if done == 1 { Ok(body) } else { Err(String::from_utf8_lossy(&body).into_owned()) });
        }
        writer.join().unwrap().unwrap();
        assert!(self.child.wait().unwrap().success());
        answers
    }
}

fn command(kind: u8, name: &str, rest: &[&[u8]]) -> Vec<u8> {
    let mut command = vec![kind];
    command.extend((name.len() as u16).to_be_bytes());
    command.extend(name.as_bytes());
    command.extend(rest.concat());
    command
}

fn recode(name: &str, version: i16, bytes: &[u8]) -> Vec<u8> {
    command(b'R', name, &[&version.to_be_bytes(), &(bytes.len() as u32).to_be_bytes(), bytes])
}

#[test]
fn kafka_reads_and_writes_every_message_to_the_same_bytes() {
    let Some(jars) = jars() else { return };
    let (mut commands, mut samples) = (Vec::new(), Vec::new());
    for_each_sample(20, |codec, version, bytes| {
        commands.push(recode(codec.name, version, bytes));
        samples.push((codec.name, version, (codec.recode)(bytes, version)));
    });
    let mut wrong = Vec::new();
    for ((name, version, ours), theirs) in samples.iter().zip(Jvm::start(&jars).run(&commands)) {
        if ours.is_err() || *ours != theirs {
            wrong.push(format!("{name} version {version}: ours {ours:02x?}, Kafka's {theirs:02x?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ, first: {}", wrong.len(), samples.len(), wrong[0]);
}

#[test]
fn kafka_agrees_on_versions_and_defaults() {
    let Some(jars) = jars() else { return };
    let codecs = codecs();
    let (mut commands, mut ours) = (Vec::new(), Vec::new());
    for codec in &codecs {
        commands.push(command(b'V', codec.name, &[]));
        ours.push((codec.name, -1, Ok(codec.versions.to_string().into_bytes())));
        for version in codec.versions.iter() {
            commands.push(command(b'D', codec.name, &[&version.to_be_bytes()]));
            ours.push((codec.name, version, (codec.encode_default)(version)));
        }
    }
    for ((name, version, ours), theirs) in ours.iter().zip(Jvm::start(&jars).run(&commands)) {
        match (ours, &theirs) {
            (Err(_), Err(_)) => {}
            _ => assert_eq!(*ours, theirs, "{name} version {version}"),
        }
    }
}

/// Whether a difference on damaged bytes is one that we want.
fn is_known_difference(ours: &Result<Vec<u8>, String>, theirs: &Result<Vec<u8>, String>) -> bool {
    const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
    match (ours, theirs) {
        // Kafka ignores the size before a tagged field that it knows; we insist that the field fills it.
        (Err(ours), Ok(_)) => ours.contains("does not fill its size") || ours.contains("length exceeds"),
        // Malformed UTF-8: Java makes one replacement character of a surrogate, Rust makes several.
        // Unknown tagged fields: Kafka keeps them, we drop them.
        (Ok(ours), Ok(theirs)) => {
            ours.windows(3).any(|bytes| bytes == REPLACEMENT) || ours.len() < theirs.len()
        }
        _ => false,
    }
}

#[test]
fn kafka_makes_the_same_of_damaged_messages() {
    let Some(jars) = jars() else { return };
    let mut random = SplitMix64::new(3);
    let (mut commands, mut ours) = (Vec::new(), Vec::new());
    for_each_sample(40, |codec, version, bytes| {
        let mut damaged = bytes.to_vec();
        if let Some(at) = random.next_u64().checked_rem(damaged.len() as u64) {
            damaged[at as usize] = random.next_u64() as u8;
            commands.push(recode(codec.name, version, &damaged));
            ours.push((codec.name, version, (codec.recode)(&damaged, version), damaged));
        }
    });
    let (mut accepted, mut different) = (0, 0);
    for ((name, version, ours, damaged), theirs) in ours.iter().zip(Jvm::start(&jars).run(&commands)) {
        match (ours, &theirs) {
            (Err(_), Err(_)) => {}
            _ if *ours == theirs => accepted += 1,
            _ => {
                different += 1;
                assert!(
                    is_known_difference(ours, &theirs),
                    "{name} version {version}: {damaged:02x?}\nours {ours:02x?}\nKafka's {theirs:02x?}"
                );
            }
        }
    }
    assert!(accepted > 1000, "both sides accepted {accepted} damaged messages");
    assert!(different * 100 < commands.len(), "{different} of {} differ", commands.len());
}

#[test]
fn kafka_agrees_on_api_keys_and_errors() {
    let Some(jars) = jars() else { return };
    let facts = Jvm::start(&jars).run(&[vec![b'F']]).remove(0).unwrap();
    let facts = String::from_utf8(facts).unwrap();
    let mut ours = String::new();
    for key in ApiKey::all() {
        let range = |listener| key.advertised_versions(listener).map_or("-".to_owned(), |v| v.to_string());
        ours += &format!("api\t{}\t{}\t{}\t", key.code(), key.name(), key.upper_name());
        ours += &format!("{}\t{}", key.is_cluster_action(), key.is_forwardable());
        ours += &format!("\t{}\t{}", range(Listener::Broker), range(Listener::Controller));
        for v in key.versions().into_iter().flat_map(|versions| versions.iter()) {
            ours += &format!("\t{v}:{}:{}", key.request_header_version(v), key.response_header_version(v));
        }
        ours.push('\n');
    }
    for error in ErrorCode::all() {
        let (code, name, message) = (error.code(), error.name(), error.message());
        ours += &format!("error\t{code}\t{name}\t{}\t{message}\n", error.is_retriable());
    }
    for (ours, theirs) in ours.lines().zip(facts.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.lines().count(), facts.lines().count());
}
