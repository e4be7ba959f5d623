//! Every message in every version against Apache Kafka's own classes: what we read and write, they read and write to the same
//! bytes. Also API keys, header versions and errors.
//!
//! Needs `java` (17 or newer) and the jars of Apache Kafka 4.4.0 with their dependencies in the directory that
//! `OTTLA_KAFKA_CLASSPATH` names (`cargo xtask test` fetches them and sets it). Without them the test says so and passes.

mod support;

use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use ottla_protocol::{ApiKey, ErrorCode, Listener};
use support::filler::Random;
use support::{codecs, for_each_sample};

/// The JVM that runs `Messages.java`; all commands are sent before the answers are read, in a thread of their own.
struct Jvm {
    child: Child,
}

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
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jvm/Messages.java");
        let child = Command::new("java")
            .args(["-Xmx400m", "-cp", &format!("{}/*", jars.display())])
            .arg(source)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("java starts");
        Self { child }
    }

    /// Sends the commands and returns the answer to each.
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

/// Damaged bytes: when both sides accept them, both make the same of them. What only one accepts must have a known reason.
#[test]
fn kafka_makes_the_same_of_damaged_messages() {
    let Some(jars) = jars() else { return };
    let mut random = Random(3);
    let (mut commands, mut ours) = (Vec::new(), Vec::new());
    for_each_sample(5, |codec, version, bytes| {
        if bytes.is_empty() {
            return;
        }
        let mut damaged = bytes.to_vec();
        let at = random.below(damaged.len() as u64) as usize;
        damaged[at] = random.next() as u8;
        commands.push(recode(codec.name, version, &damaged));
        ours.push((codec.name, version, (codec.recode)(&damaged, version), damaged));
    });
    let (mut same, mut stricter, mut laxer, mut tags) = (0, 0, 0, 0);
    for ((name, version, ours, damaged), theirs) in ours.iter().zip(Jvm::start(&jars).run(&commands)) {
        let what =
            || format!("{name} version {version}: {damaged:02x?}\nours {ours:02x?}\ntheirs {theirs:02x?}");
        match (ours, &theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => same += 1,
            // We drop unknown tagged fields, Kafka keeps them.
            (Ok(ours), Ok(theirs)) if ours.len() < theirs.len() => tags += 1,
            (Err(_), Err(_)) => same += 1,
            (Err(_), Ok(_)) => {
                stricter += 1;
                eprintln!("STRICT {}", what())
            }
            (Ok(_), Err(_)) => {
                laxer += 1;
                eprintln!("LAX {}", what())
            }
            _ => panic!("{}", what()),
        }
    }
    eprintln!("same {same}, stricter {stricter}, laxer {laxer}, unknown tags dropped {tags}");
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
