//! DescribeLogDirs, and what happens to a node with several log directories when one fails.

use std::path::{Path, PathBuf};

use ottla_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use ottla_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use ottla_protocol::messages::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest, DescribeLogDirsResponse};

use crate::client::{Peer, versions};
use crate::requests::{T0, append, batch, fill, list_offsets, make_topic, metadata_of, produce_to, settle};
use crate::servers::Own;

pub(crate) fn script(peer: &mut Peer) {
    make_topic(peer, "described-a", 2, &[]);
    make_topic(peer, "described-b", 1, &[]);
    append(peer, "described-a", 1, batch(3));
    append(peer, "described-b", 0, batch(5));
    for version in versions::<DescribeLogDirsRequest<'_>>() {
        // Kafka stores what others wrote in its own time.
        peer.call_edited(version, "everything", &DescribeLogDirsRequest { topics: None }, |answer| {
            for result in &mut answer.results {
                result.topics.retain(|topic| topic.name.starts_with("described-"));
            }
        });
        for (case, topics) in [
            ("some", vec![named("described-a", &[1])]),
            ("unknown", vec![named("described-a", &[0, 7]), named("described-x", &[0])]),
            ("twice", vec![named("described-b", &[0, 0]), named("described-b", &[0])]),
            ("no partitions", vec![named("described-b", &[])]),
            ("nothing", Vec::new()),
        ] {
            peer.call(version, case, &DescribeLogDirsRequest { topics: Some(topics) });
        }
    }
    alter(peer);
}

/// Moves that one directory allows, which are none.
fn alter(peer: &mut Peer) {
    let everything = DescribeLogDirsRequest { topics: None };
    let here = peer.ask(4, &everything).expect("an answer").results[0].log_dir.to_string();
    let long = "x".repeat(220);
    for version in versions::<AlterReplicaLogDirsRequest<'_>>() {
        for (case, path, topics) in [
            ("same directory", &*here, vec![to_move("described-a", &[1, 0]), to_move("described-b", &[0])]),
            ("no such directory", "/no/such/directory", vec![to_move("described-a", &[0])]),
            ("relative path", "data", vec![to_move("described-a", &[0])]),
            ("unknown", &here, vec![to_move("described-a", &[0, 9]), to_move("described-x", &[0])]),
            ("long name", "/no/such/directory", vec![to_move(&long, &[0])]),
            ("nothing", &here, Vec::new()),
        ] {
            let dirs = vec![AlterReplicaLogDir { path: path.into(), topics }];
            peer.call(version, case, &AlterReplicaLogDirsRequest { dirs });
        }
        let dirs = ["/no/such/directory", &here].map(|path| AlterReplicaLogDir {
            path: path.to_owned().into(),
            topics: vec![to_move("described-b", &[0])],
        });
        peer.call(version, "twice", &AlterReplicaLogDirsRequest { dirs: dirs.into() });
    }
}

fn to_move(topic: &str, partitions: &[i32]) -> AlterReplicaLogDirTopic<'static> {
    AlterReplicaLogDirTopic { name: topic.to_owned().into(), partitions: partitions.to_vec() }
}

fn named<'a>(topic: &'a str, partitions: &[i32]) -> DescribableLogDirTopic<'a> {
    DescribableLogDirTopic { topic: topic.into(), partitions: partitions.to_vec() }
}

/// Paths of the directories with their errors, and the partitions of a topic in each.
fn placed(answer: &DescribeLogDirsResponse<'_>, topic: &str) -> Vec<(PathBuf, i16, Vec<i32>)> {
    let results = answer.results.iter().map(|result| {
        let topic = result.topics.iter().find(|found| found.name == topic);
        let partitions = topic.into_iter().flat_map(|topic| &topic.partitions);
        let partitions = partitions.map(|partition| partition.partition_index).collect();
        (PathBuf::from(&*result.log_dir), result.error_code, partitions)
    });
    results.collect()
}

/// Two directories, of which the first has the metadata.
fn node(root: &Path) -> Own {
    let dirs = format!("{},{}", root.join("first").display(), root.join("second").display());
    Own::start(&[("log.dirs", &dirs)])
}

#[test]
fn a_failed_directory_takes_its_partitions_offline_and_no_others() {
    const STORAGE_ERROR: i16 = 56;
    let root = tempfile::tempdir().expect("a directory");
    let own = node(root.path());
    let mut peer = Peer::new(own.address);
    settle(&mut peer);
    let id = make_topic(&mut peer, "spread", 4, &[("segment.ms", "1000")]);
    let everything = DescribeLogDirsRequest { topics: None };
    let answer = peer.ask(4, &everything).expect("an answer");
    let dirs = placed(&answer, "spread");
    assert_eq!(dirs.len(), 2);
    // The consumer offsets are in one of them too.
    assert!(dirs.iter().all(|(_, error, partitions)| *error == 0 && !partitions.is_empty()), "{dirs:?}");
    assert!(answer.results.iter().all(|result| result.total_bytes > 0 && result.usable_bytes > 0));
    let (failing, kept) = (&dirs[1], &dirs[0]);
    let lost = failing.2[0];
    for index in 0..4 {
        append(&mut peer, "spread", index, batch(2));
    }
    // The disk loses a partition's directory; the next segment cannot be made.
    std::fs::remove_dir_all(failing.0.join(format!("spread-{lost}"))).expect("it was there");
    let later = || fill(ottla_record::BatchBuilder::new(), 2, T0 + 10_000);
    let request = produce_to("spread", id, lost, -1, Some(later()));
    let answer = peer.ask(9, &request).expect("an answer");
    assert_eq!(answer.responses[0].partition_responses[0].error_code, STORAGE_ERROR, "{answer:?}");
    let answer = peer.wait_for(4, &everything, |answer| {
        placed(answer, "spread").iter().any(|(path, error, _)| *path == failing.0 && *error == STORAGE_ERROR)
    });
    assert_eq!(placed(&answer, "spread")[0], *kept);
    // The controller knows.
    peer.wait_for(12, &metadata_of(&["spread"]), |answer| {
        answer.topics[0].partitions.iter().all(|partition| {
            let is_lost = failing.2.contains(&partition.partition_index);
            (partition.leader_id == -1) == is_lost && partition.offline_replicas.is_empty() != is_lost
        })
    });
    for index in &failing.2 {
        let request = produce_to("spread", id, *index, -1, Some(batch(1)));
        let answer = peer.ask(9, &request).expect("an answer");
        assert_eq!(answer.responses[0].partition_responses[0].error_code, STORAGE_ERROR, "{answer:?}");
    }
    for index in &kept.2 {
        append(&mut peer, "spread", *index, later());
    }
    // New topics go where there is a disk.
    make_topic(&mut peer, "afterwards", 2, &[]);
    append(&mut peer, "afterwards", 1, batch(1));
}

#[test]
fn a_directory_that_is_missing_at_the_start_is_not_replaced_by_empty_logs() {
    let root = tempfile::tempdir().expect("a directory");
    let everything = DescribeLogDirsRequest { topics: None };
    let dirs = {
        let own = node(root.path());
        let mut peer = Peer::new(own.address);
        settle(&mut peer);
        make_topic(&mut peer, "kept", 4, &[]);
        for index in 0..4 {
            append(&mut peer, "kept", index, batch(2));
        }
        placed(&peer.ask(4, &everything).expect("an answer"), "kept")
    };
    let second = root.path().join("second");
    std::fs::rename(&second, root.path().join("taken out")).expect("renamed");
    std::fs::write(&second, "no directory").expect("written");
    {
        let own = node(root.path());
        let mut peer = Peer::new(own.address);
        settle(&mut peer);
        let found = placed(&peer.ask(4, &everything).expect("an answer"), "kept");
        assert_eq!(found, [dirs[0].clone(), (dirs[1].0.clone(), 56, Vec::new())]);
        let answer = peer.ask(12, &metadata_of(&["kept"])).expect("an answer");
        for partition in &answer.topics[0].partitions {
            assert_eq!(partition.leader_id == -1, dirs[1].2.contains(&partition.partition_index));
        }
    }
    std::fs::remove_file(&second).expect("removed");
    std::fs::rename(root.path().join("taken out"), &second).expect("renamed");
    let own = node(root.path());
    let mut peer = Peer::new(own.address);
    settle(&mut peer);
    crate::requests::ready(&mut peer, "kept", 4);
    assert_eq!(placed(&peer.ask(4, &everything).expect("an answer"), "kept"), dirs);
    let offsets = peer.ask(5, &list_offsets("kept", &[(0, -1), (1, -1), (2, -1), (3, -1)]));
    let offsets = offsets.expect("an answer");
    assert!(offsets.topics[0].partitions.iter().all(|partition| partition.offset == 2), "{offsets:?}");
}

/// Where a partition's log is, as long as it is in one place.
fn place_of(answer: &DescribeLogDirsResponse<'_>, topic: &str, index: i32) -> Option<PathBuf> {
    let mut places = placed(answer, topic).into_iter().filter(|(_, _, here)| here.contains(&index));
    let (path, ..) = places.next()?;
    places.next().is_none().then_some(path)
}

#[test]
fn replicas_move_between_directories_while_they_are_written_to() {
    let root = tempfile::tempdir().expect("a directory");
    let everything = DescribeLogDirsRequest { topics: None };
    let (mut records, mut home) = (0, PathBuf::new());
    {
        let own = node(root.path());
        let mut peer = Peer::new(own.address);
        settle(&mut peer);
        make_topic(&mut peer, "moved", 2, &[("segment.ms", "1000")]);
        for round in 0..20 {
            append(&mut peer, "moved", 0, fill(ottla_record::BatchBuilder::new(), 5, T0 + round * 2000));
            records += 5;
        }
        for _ in 0..4 {
            let answer = peer.ask(4, &everything).expect("an answer");
            home = place_of(&answer, "moved", 0).expect("in one place");
            let other = answer.results.iter().find(|result| Path::new(&*result.log_dir) != home);
            let path = other.expect("the other one").log_dir.to_string();
            let dirs =
                vec![AlterReplicaLogDir { path: path.clone().into(), topics: vec![to_move("moved", &[0])] }];
            let begun = peer.ask(2, &AlterReplicaLogDirsRequest { dirs }).expect("an answer");
            assert_eq!(begun.results[0].partitions[0].error_code, 0);
            for round in 0..30 {
                let bytes = fill(ottla_record::BatchBuilder::new(), 2, T0 + 100_000 + round * 10);
                append(&mut peer, "moved", 0, bytes);
                records += 2;
            }
            home = PathBuf::from(path);
            let there =
                |answer: &DescribeLogDirsResponse<'_>| place_of(answer, "moved", 0) == Some(home.clone());
            peer.wait_for(4, &everything, there);
            let offsets = peer.wait_for(5, &list_offsets("moved", &[(0, -1)]), |answer| {
                answer.topics[0].partitions[0].error_code == 0
            });
            assert_eq!(offsets.topics[0].partitions[0].offset, records);
        }
    }
    let own = node(root.path());
    let mut peer = Peer::new(own.address);
    settle(&mut peer);
    crate::requests::ready(&mut peer, "moved", 2);
    assert_eq!(place_of(&peer.ask(4, &everything).expect("an answer"), "moved", 0), Some(home));
    let mut offset = |timestamp| {
        let answer = peer.ask(5, &list_offsets("moved", &[(0, timestamp)])).expect("an answer");
        answer.topics[0].partitions[0].offset
    };
    assert_eq!((offset(-2), offset(-1)), (0, records));
}
