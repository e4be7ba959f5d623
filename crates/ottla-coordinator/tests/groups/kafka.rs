//! Assignors, metadata hashes and regular expressions against the classes of Apache Kafka 4.4.0. Set `OTTLA_KAFKA_CLASSPATH` to
//! a directory with its jars; without it, or without a JDK, the tests say so and pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use ottla_coordinator::group::{
    AssignmentSpec, Assignor, ClusterView, ConsumerSettings, MemberSpec, Partitions, TopicInfo,
    metadata_hash, resolve_regexes,
};
use ottla_types::Uuid;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const ORACLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/jvm/GroupOracle.java");

/// Kafka's answers, one for each question; `None` without Kafka.
fn kafka(questions: Vec<String>) -> Option<Vec<String>> {
    let Some(jars) = std::env::var_os("OTTLA_KAFKA_CLASSPATH") else {
        let skipped = "SKIPPED: OTTLA_KAFKA_CLASSPATH is not set, nothing was compared with Apache Kafka";
        writeln!(std::io::stderr(), "{skipped}").expect("stderr takes a line");
        return None;
    };
    let mut classpath = jars;
    classpath.push("/*");
    let mut java = Command::new("java")
        .args(["-Xmx400m", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(classpath)
        .arg(ORACLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("java starts");
    let mut stdin = java.stdin.take().expect("stdin is piped");
    let count = questions.len();
    let writer = std::thread::spawn(move || {
        for line in questions {
            writeln!(stdin, "{line}").expect("java reads its questions");
        }
    });
    let output = java.wait_with_output().expect("java ends");
    writer.join().expect("all questions are written");
    assert!(output.status.success(), "the oracle failed");
    let text = String::from_utf8(output.stdout).expect("the oracle writes UTF-8");
    let answers: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), count);
    Some(answers)
}

#[derive(Clone, Debug)]
struct Topic {
    name: String,
    id: (u64, u64),
    partitions: i32,
    racks: Vec<Vec<String>>,
}

impl Topic {
    fn text(&self) -> String {
        let racks: Vec<String> = self.racks.iter().map(|racks| racks.join("+")).collect();
        let Self { name, id: (most, least), partitions, .. } = self;
        format!("{name}={most:x}:{least:x}:{partitions}:{}", racks.join("/"))
    }

    fn info(&self) -> TopicInfo {
        TopicInfo {
            name: self.name.as_str().into(),
            id: Uuid::from_parts(self.id.0, self.id.1),
            partitions: self.partitions,
            racks: self.racks.clone(),
        }
    }
}

#[derive(Debug)]
struct Cluster(Vec<Topic>);

impl Cluster {
    fn text(&self) -> String {
        self.0.iter().map(Topic::text).collect::<Vec<_>>().join(",")
    }
}

impl ClusterView for Cluster {
    fn by_name(&self, name: &str) -> Option<TopicInfo> {
        self.0.iter().find(|topic| topic.name == name).map(Topic::info)
    }

    fn by_id(&self, id: Uuid) -> Option<TopicInfo> {
        self.0.iter().map(Topic::info).find(|topic| topic.id == id)
    }

    fn visit_names(&self, visit: &mut dyn FnMut(&str)) {
        self.0.iter().for_each(|topic| visit(&topic.name));
    }

    fn version(&self) -> i64 {
        1
    }

    fn consumer_settings(&self, _group: &str) -> ConsumerSettings {
        ConsumerSettings::default()
    }
}

/// A topic without its name: id, partitions, racks.
type Unnamed = ((u64, u64), i32, Vec<Vec<String>>);

fn topics(partitions: std::ops::Range<i32>) -> impl Strategy<Value = Vec<Topic>> {
    let racks = prop::collection::vec(prop::collection::vec("[a-c]{1,2}", 0..3), 0..4);
    let topic = (any::<(u64, u64)>(), partitions, racks);
    prop::collection::vec(topic, 1..7).prop_map(|topics| {
        let number = |(index, (id, partitions, racks)): (usize, Unnamed)| Topic {
            name: format!("topic-{index}"),
            id,
            partitions,
            racks,
        };
        topics.into_iter().enumerate().map(number).collect()
    })
}

/// A member: instance id, which topics it reads (one more than there are), and which partitions it was to have.
type Draft = (bool, Vec<bool>, u64);

#[derive(Debug)]
struct Case {
    cluster: Cluster,
    members: BTreeMap<String, (Option<String>, BTreeSet<String>, Partitions)>,
}

impl Case {
    fn new(topics: Vec<Topic>, drafts: Vec<Draft>, same: bool, ids: u64) -> Self {
        let cluster = Cluster(topics);
        let mut members = BTreeMap::new();
        let names = |reads: &[bool]| -> BTreeSet<String> {
            let all = cluster.0.iter().map(|topic| topic.name.clone()).chain(["topic-none".to_owned()]);
            all.zip(reads).filter(|(_, reads)| **reads).map(|(name, _)| name).collect()
        };
        let first = drafts.first().map(|(_, reads, _)| names(reads)).unwrap_or_default();
        for (index, (is_static, reads, _)) in drafts.iter().enumerate() {
            let id = format!("member-{:x}-{index}", ids.wrapping_mul(index as u64 + 7));
            let instance = is_static.then(|| format!("instance-{}", 100 - index));
            let reads = if same { first.clone() } else { names(reads) };
            members.insert(id, (instance, reads, Partitions::new()));
        }
        let ids: Vec<String> = members.keys().cloned().collect();
        let mut random = drafts.iter().fold(1_u64, |seed, (_, _, draw)| seed.rotate_left(7) ^ draw);
        for topic in &cluster.0 {
            for partition in 0..topic.partitions {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let owner = (random >> 33) as usize % (ids.len() + ids.len() / 2 + 1);
                if let Some((_, _, target)) = ids.get(owner).and_then(|id| members.get_mut(id)) {
                    target.entry(topic.info().id).or_default().insert(partition);
                }
            }
        }
        Self { cluster, members }
    }

    fn is_homogeneous(&self) -> bool {
        let mut reads = self.members.values().map(|(_, reads, _)| reads);
        let first = reads.next();
        reads.all(|reads| Some(reads) == first)
    }

    fn places(&self, partitions: &Partitions) -> String {
        let mut places = BTreeMap::new();
        for (id, partitions) in partitions.iter().filter(|(_, partitions)| !partitions.is_empty()) {
            let name = self.cluster.by_id(*id).unwrap().name;
            let numbers: Vec<String> = partitions.iter().map(ToString::to_string).collect();
            places.insert(name, numbers.join("."));
        }
        let places: Vec<String> = places.iter().map(|(name, numbers)| format!("{name}:{numbers}")).collect();
        places.join(";")
    }

    /// In the order of the ids, which decides between those that share a bucket of a hash table.
    fn in_order(&self, partitions: &Partitions) -> String {
        let one = |(id, partitions): (&Uuid, &BTreeSet<i32>)| {
            self.places(&Partitions::from([(*id, partitions.clone())]))
        };
        partitions.iter().map(one).collect::<Vec<_>>().join(";")
    }

    fn question(&self, assignor: &str) -> String {
        let mut members = Vec::new();
        for (id, (instance, reads, target)) in &self.members {
            let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
            let instance = instance.as_deref().unwrap_or_default();
            members.push(format!("{id}|{instance}|{}|{}", reads.join("+"), self.in_order(target)));
        }
        let homogeneous = u8::from(self.is_homogeneous());
        format!("assign\t{assignor}\t{homogeneous}\t{}\t{}", self.cluster.text(), members.join(","))
    }

    fn answer(&self, assignor: &str) -> String {
        let mut spec = AssignmentSpec { is_homogeneous: self.is_homogeneous(), ..AssignmentSpec::default() };
        for (id, (instance, reads, target)) in &self.members {
            let instance = instance.as_deref().map(Arc::from);
            let id_of = |name: &str| self.cluster.by_name(name).map(|topic| topic.id);
            let member = MemberSpec::new(instance, reads.iter().map(String::as_str), id_of, target.clone());
            spec.members.insert(id.as_str().into(), member);
        }
        spec.partitions =
            self.cluster.0.iter().map(Topic::info).map(|topic| (topic.id, topic.partitions)).collect();
        let assigned = Assignor::named(assignor).unwrap().assign(&spec);
        let mut text = String::new();
        for (index, id) in self.members.keys().enumerate() {
            let places = assigned.get(id.as_str()).map(|partitions| self.places(partitions));
            let comma = if index > 0 { "," } else { "" };
            write!(text, "{comma}{id}={}", places.unwrap_or_default()).unwrap();
        }
        text
    }
}

fn draw<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn assignments_are_those_of_kafka() {
    let draft = (any::<bool>(), prop::collection::vec(any::<bool>(), 7), any::<u64>());
    let drafts = prop::collection::vec(draft, 1..16);
    let case = (topics(1..40), drafts, any::<bool>(), any::<u64>())
        .prop_map(|(topics, drafts, same, ids)| Case::new(topics, drafts, same, ids));
    let cases = draw(case, 1_500);
    let questions = cases.iter().flat_map(|case| ["uniform", "range"].map(|name| case.question(name)));
    let Some(answers) = kafka(questions.collect()) else { return };
    let mut mixed = 0;
    for (case, answers) in cases.iter().zip(answers.chunks(2)) {
        mixed += usize::from(!case.is_homogeneous());
        for (assignor, answer) in ["uniform", "range"].into_iter().zip(answers) {
            assert_eq!(&case.answer(assignor), answer, "{}", case.question(assignor));
        }
    }
    assert!(mixed > 300 && mixed < 1_200, "{mixed} of different subscriptions");
}

#[test]
fn metadata_hashes_are_those_of_kafka() {
    let clusters: Vec<Cluster> = draw(topics(1..6), 200).into_iter().map(Cluster).collect();
    let questions = clusters.iter().map(|cluster| format!("hash\t{}", cluster.text())).collect();
    let Some(answers) = kafka(questions) else { return };
    for (cluster, answer) in clusters.iter().zip(answers) {
        let names: Vec<&str> = cluster.0.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(metadata_hash(names.into_iter(), cluster).to_string(), answer, "{}", cluster.text());
    }
}

const PATTERNS: &[&str] = &[
    "",
    "a",
    "a.*",
    "a|b",
    "foo|bar",
    "(foo|bar)-[0-9]+",
    "[a-c]+",
    "[^a]+",
    "a{2}",
    "a{2,}",
    "a{1,3}",
    "a{,2}",
    "{x",
    "a{x}",
    "a{1001}",
    "a{1000}",
    "a{2,1}",
    "a**",
    "a*?",
    "a+?",
    "a??",
    "a???",
    "*",
    "+",
    "?",
    "|*",
    "(*)",
    "(",
    ")",
    "a)(b",
    "[",
    "[]",
    "[]a]",
    "[a",
    "[a-]",
    "[-a]",
    "[b-a]",
    "[a[b]",
    "[a[b]+",
    "[a&&b]+",
    "[a--b]",
    "[a~~b]",
    "[[:alpha:]]+",
    "[[:digit:]_]+",
    "[[:word:]]+",
    "[[:nope:]]",
    "[[:alpha:]",
    r"\d+",
    r"\D+",
    r"\w+",
    r"\W",
    r"\s",
    r"[\d.]+",
    r"[\w-]+",
    r"[a-\d]",
    r"\pL+",
    r"\p{L}+",
    r"\p{Greek}",
    r"\pN",
    r"\p{Nope}",
    r"\P{L}+",
    r"\Qa.b\E",
    r"\Qa.b",
    r"\Qa\Ec",
    r"a\.b",
    r"\_",
    r"\-",
    r"\q",
    r"\8",
    r"\1",
    r"\12",
    r"\141",
    r"\0",
    r"\x61",
    r"\x{61}",
    r"\x{110000}",
    r"\x6",
    r"\u0061",
    "\\",
    r"a\z",
    r"\Aa",
    r"a\Z",
    r"\ba\b",
    r"\Ba",
    r"\C",
    r"\a",
    r"\t",
    r"\e",
    "(?i)ABC",
    "(?i:A)bc",
    "(?-i)abc",
    "(?s)a.c",
    "(?m)^a$",
    "(?U)a+",
    "(?x)a b",
    "(?u)a",
    "(?=a)",
    "(?!a)",
    "(?<=a)",
    "(?<!a)",
    "(?>a)",
    "(?#a)",
    "(?P<n>a)",
    "(?<n>a)",
    "(?P=n)",
    "(?P<n",
    "(?P<n>a)(?P<n>b)",
    "(?:a|b)c",
    "^a$",
    "^*",
    "$*",
    "a$b",
    ".",
    "..",
    "a.c",
    "a]",
    "a}",
    "a{1}{2}",
    "(a{1}){2}",
    "(a*)*",
    "a#b",
    "a b",
    "a-b",
    "a&b",
    "a~b",
    "é",
    "()",
    "(|a)",
    "a||b",
    "(?i)",
    "(?i",
    "(?)",
    "(?z)",
    "[a-z&&[^b]]+",
    "x{0}",
    "[^]a]",
    "[^]",
    r"[\]]",
    r"[\Q]\E]",
    r"[\141]",
    r"\07",
    r"\777",
    "(((((a)))))",
];

const NAMES: &[&str] = &[
    "a",
    "b",
    "aa",
    "aaa",
    "ab",
    "abc",
    "ABC",
    "a.b",
    "a-b",
    "a_b",
    "_",
    "-",
    ".",
    "foo",
    "bar",
    "foo-1",
    "bar-22",
    "1",
    "12",
    "a{,2}",
    "{x",
    "a{x}",
    "[ab[",
    "a]",
    "a}",
    "a1",
    "ac",
    "bc",
    "c",
    "topic.with-all_1",
];

#[test]
fn regular_expressions_match_what_they_match_in_kafka() {
    let questions = PATTERNS.iter().map(|pattern| format!("regex\t{pattern}\t{}", NAMES.join("\t")));
    let Some(answers) = kafka(questions.collect()) else { return };
    let topic =
        |name: &&str| Topic { name: (*name).to_owned(), id: (1, 1), partitions: 1, racks: Vec::new() };
    let cluster = Cluster(NAMES.iter().map(topic).collect());
    let mut differ = Vec::new();
    for (pattern, answer) in PATTERNS.iter().zip(answers) {
        let regex: Arc<str> = (*pattern).into();
        let found = resolve_regexes(&cluster, &BTreeSet::from([Arc::clone(&regex)]), 0);
        let found = &found[&regex].topics;
        let found: Vec<&str> = NAMES.iter().copied().filter(|name| found.contains(*name)).collect();
        let own = match ottla_coordinator::group::check_regex(pattern) {
            Ok(()) => format!("matches {}", found.join(",")),
            Err(_) => "refused".to_owned(),
        };
        if own != answer {
            differ.push(format!("{pattern}: {own}, Kafka: {answer}"));
        }
    }
    assert!(differ.is_empty(), "\n{}", differ.join("\n"));
}
