//! What thousands of logs must not cost one by one: stops, leader epochs, first records.

use std::path::{Path, PathBuf};

use ottla_storage::dir::{Checkpoint, MANY_LOGS, write_checkpoints};
use ottla_storage::fs::{MemFs, Operation, read_file};
use ottla_types::{LeaderEpoch, Offset};

use super::support::{NOW, Node, checkpoint, formatted, key};

/// So many that they are made durable together.
const MANY: i32 = 70;
const EPOCHS: &str = "leader-epoch-checkpoint";

fn running() -> (MemFs, Node) {
    assert!(usize::try_from(MANY).unwrap() > MANY_LOGS);
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    for partition in 0..MANY {
        node.create("many", partition).unwrap();
    }
    (fs, node)
}

fn lead(node: &Node, epoch: i32) {
    for placed in node.logs.lock().unwrap().values_mut() {
        let end = placed.log.log_end_offset();
        placed.log.assign_epoch_start(LeaderEpoch(epoch), end);
    }
}

fn append_to_each(node: &Node, epoch: i32) {
    for partition in 0..MANY {
        node.append_in("many", partition, LeaderEpoch(epoch), 2).unwrap();
    }
}

/// Makes the records durable, as the flusher does.
fn commit_each(node: &Node, fs: &MemFs) {
    for placed in node.logs.lock().unwrap().values_mut() {
        if let Some(ticket) = placed.log.begin_commit(NOW).unwrap() {
            placed.log.complete_flush(ticket.sync(fs)).unwrap();
        }
        assert_eq!(placed.log.durable_offset(), placed.log.log_end_offset());
    }
}

fn write_recovery_points(node: &Node) -> Result<(), ottla_storage::dir::DirOffline> {
    write_checkpoints(&node.dirs, &node.dirs.dirs()[0], node, &[Checkpoint::RecoveryPoints])
}

fn count(trace: &[(Operation, PathBuf)], wanted: Operation) -> usize {
    trace.iter().filter(|(operation, _)| *operation == wanted).count()
}

fn syncs(trace: &[(Operation, PathBuf)]) -> usize {
    [Operation::Sync, Operation::SyncDir, Operation::SyncVolume].map(|one| count(trace, one)).iter().sum()
}

fn epochs_of(fs: &MemFs, partition: i32) -> Vec<u8> {
    read_file(fs, &Path::new("/a").join(format!("many-{partition}/{EPOCHS}")), 1000).unwrap_or_default()
}

/// As [`running`], stopped with records of epoch 0 and started again, leading in epoch 1.
fn leading_again() -> (MemFs, Node) {
    let (fs, node) = running();
    lead(&node, 0);
    append_to_each(&node, 0);
    node.stop(None);
    let node = Node::start(&fs, &["/a"]).unwrap();
    lead(&node, 1);
    (fs, node)
}

#[test]
fn a_stop_writes_nothing_of_logs_that_only_got_a_new_leader_epoch() {
    let (fs, node) = leading_again();
    fs.take_trace();
    node.stop(None);
    let touched = fs.take_trace();
    let inside = |(operation, path): &&(Operation, PathBuf)| {
        operation.is_mutating() && path.to_string_lossy().contains("/many-")
    };
    assert_eq!(touched.iter().find(inside), None);
    assert_eq!(count(&touched, Operation::SyncVolume), 0);
    assert_eq!(epochs_of(&fs, 3), b"0\n1\n0 0\n");
}

#[test]
fn an_epoch_is_in_the_file_as_soon_as_something_was_appended_in_it() {
    let (fs, node) = leading_again();
    lead(&node, 2);
    append_to_each(&node, 2);
    node.stop(None);
    assert_eq!(epochs_of(&fs, 3), b"0\n2\n0 0\n2 2\n");
}

#[test]
fn a_record_in_a_new_leader_epoch_costs_one_sync() {
    let (fs, node) = running();
    append_to_each(&node, 0);
    node.stop(None);
    let node = Node::start(&fs, &["/a"]).unwrap();
    lead(&node, 1);
    append_to_each(&node, 1);
    fs.take_trace();
    commit_each(&node, &fs);
    assert_eq!(syncs(&fs.take_trace()), usize::try_from(MANY).unwrap());
}

#[test]
fn the_first_record_of_logs_that_were_made_durable_together_costs_one_sync() {
    let (fs, node) = running();
    lead(&node, 0);
    fs.take_trace();
    let tickets: Vec<_> = node
        .logs
        .lock()
        .unwrap()
        .iter_mut()
        .map(|(key, placed)| (key.clone(), placed.log.begin_volume_flush(NOW).unwrap().expect("it is new")))
        .collect();
    // What is appended meanwhile is not durable with it.
    node.append("many", 0, 1).unwrap();
    assert!(node.dirs.dirs()[0].sync_volume().unwrap());
    for (key, ticket) in tickets {
        let mut logs = node.logs.lock().unwrap();
        let durable = logs.get_mut(&key).unwrap().log.complete_flush(ticket.synced()).unwrap();
        assert_eq!(durable, Offset(0));
    }
    append_to_each(&node, 0);
    commit_each(&node, &fs);
    assert_eq!(syncs(&fs.take_trace()), 1 + usize::try_from(MANY).unwrap());
    drop(node);
    for seed in 0..8 {
        let crashed = fs.fork();
        crashed.crash(seed);
        let node = Node::start(&crashed, &["/a"]).unwrap();
        for partition in 1..MANY {
            assert_eq!(node.offsets("many", partition).map(|(_, _, end)| end), Some(2), "seed {seed}");
        }
        assert!(node.set_aside.is_empty(), "seed {seed}");
    }
}

#[test]
fn a_ticket_for_the_volume_says_nothing_of_another_log_of_that_name() {
    let (fs, node) = running();
    let late = {
        let mut logs = node.logs.lock().unwrap();
        logs.get_mut(&key("many", 1)).unwrap().log.begin_volume_flush(NOW).unwrap().unwrap()
    };
    node.delete("many", 1).unwrap();
    node.create("many", 1).unwrap();
    node.append("many", 1, 2).unwrap();
    let mut logs = node.logs.lock().unwrap();
    let log = &mut logs.get_mut(&key("many", 1)).unwrap().log;
    log.complete_flush(late.synced()).unwrap();
    assert_eq!(log.durable_offset(), Offset(0));
    let ticket = log.begin_commit(NOW).unwrap().expect("nothing is durable");
    fs.take_trace();
    log.complete_flush(ticket.sync(&fs)).unwrap();
    assert_eq!(count(&fs.take_trace(), Operation::SyncDir), 2);
}

#[test]
fn recovery_points_go_on_when_the_epochs_of_many_logs_are_written_together() {
    let (fs, node) = running();
    lead(&node, 4);
    append_to_each(&node, 4);
    commit_each(&node, &fs);
    let log_recovery_point = || node.logs.lock().unwrap()[&key("many", 5)].log.recovery_point();
    assert_eq!(log_recovery_point(), Offset(0));
    fs.take_trace();
    write_recovery_points(&node).unwrap();
    let trace = fs.take_trace();
    assert_eq!(count(&trace, Operation::SyncVolume), 2);
    assert!(count(&trace, Operation::Sync) < 10);
    // One below the end, as the indexes are not synced.
    assert_eq!(log_recovery_point(), Offset(1));
    assert!(checkpoint(&fs, "/a", "recovery-point-offset-checkpoint").values().all(|at| *at == Offset(1)));
    fs.take_trace();
    write_recovery_points(&node).unwrap();
    assert_eq!(count(&fs.take_trace(), Operation::SyncVolume), 0);
    drop(node);
    fs.crash(5);
    assert_eq!(epochs_of(&fs, 69), b"0\n1\n4 0\n");
}

#[test]
fn a_power_cut_while_epochs_are_written_loses_none() {
    let mut cuts = 0;
    for operation in (0..).step_by(61) {
        let (fs, node) = running();
        lead(&node, 0);
        append_to_each(&node, 0);
        commit_each(&node, &fs);
        lead(&node, 3);
        append_to_each(&node, 3);
        commit_each(&node, &fs);
        fs.cut_power_at(fs.operations() + operation);
        let written = write_recovery_points(&node);
        let was_cut = fs.is_powered_off();
        assert_eq!(written.is_err(), was_cut);
        drop(node);
        fs.crash(operation);
        let node = Node::start(&fs, &["/a"]).unwrap();
        for (key, placed) in node.logs.lock().unwrap().iter() {
            let entries: Vec<_> = placed.log.epoch_entries().iter().map(|e| (e.epoch.0, e.start.0)).collect();
            assert_eq!((entries, placed.log.log_end_offset().0), (vec![(0, 0), (3, 2)], 4), "{key:?}");
        }
        cuts += 1;
        if !was_cut {
            break;
        }
    }
    assert!(cuts > 5);
}
