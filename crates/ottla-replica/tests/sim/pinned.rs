//! What the simulation once found, by itself.

use std::collections::BTreeMap;

use ottla_storage::fs::{Effect, Fault, MemFs, Operation};
use ottla_storage::log::{AppendOrigin, LeaderAppend, VerificationGuard};
use ottla_types::{LeaderEpoch, Offset};

use crate::model::{last_offset, records};
use crate::world::{Rules, START_MS, Topic, World, format};

fn formatted() -> MemFs {
    let fs = MemFs::new();
    format(&fs);
    fs
}

fn start(fs: &MemFs, epoch: i32) -> World {
    let world = World::start(fs, START_MS, Rules::default(), &BTreeMap::new());
    let world = world.unwrap_or_else(|_| panic!("the node starts"));
    world.lead(LeaderEpoch(epoch));
    world
}

fn append(world: &World, topic: Topic, epoch: i32) -> Offset {
    let mut builder = ottla_record::BatchBuilder::new();
    builder.append(START_MS, Some(b"k"), Some(&[7; 40]), &[]).unwrap();
    let append = LeaderAppend {
        origin: AppendOrigin::Client,
        leader_epoch: LeaderEpoch(epoch),
        guard: VerificationGuard::default(),
        transaction_version: 0,
        now_ms: START_MS,
    };
    let mut bytes = builder.build().unwrap();
    assert_eq!((records(&bytes).len(), last_offset(&bytes)), (1, 0));
    world.with(topic, |replica| replica.append(&mut bytes, append)).unwrap().0.last_offset.next()
}

fn flush(world: &mut World, topic: Topic) -> bool {
    world.begin_flush(topic).is_ok() && world.end_flush(topic).is_ok()
}

/// The kernel drops what a failed sync did not write from its list, and still shows it to readers: a start that trusts the
/// cache would count records that no later sync writes.
#[test]
fn what_a_failed_sync_left_in_the_cache_is_not_trusted_by_the_next_start() {
    for seed in 0..8 {
        let fs = formatted();
        let mut world = start(&fs, 1);
        append(&world, Topic::Kept, 1);
        assert!(flush(&mut world, Topic::Kept));
        append(&world, Topic::Kept, 1);
        fs.inject(Fault::new(Effect::Io).on(Operation::Sync).times(1));
        assert!(!flush(&mut world, Topic::Kept));
        // The process starts again, the machine does not.
        drop(world);
        let mut world = start(&fs, 2);
        assert!(flush(&mut world, Topic::Kept));
        let promised = append(&world, Topic::Kept, 2);
        assert!(flush(&mut world, Topic::Kept));
        assert_eq!(world.offsets(Topic::Kept).1, promised);
        drop(world);
        fs.crash(seed);
        let world = start(&fs, 3);
        assert!(world.offsets(Topic::Kept).2 >= promised, "seed {seed}");
    }
}

/// A flush that began before the log cut itself wrote the epochs of then over those of now.
#[test]
fn a_late_flush_does_not_bring_old_epochs_back() {
    let fs = formatted();
    let world = start(&fs, 1);
    append(&world, Topic::Kept, 1);
    let late = world.with(Topic::Kept, |replica| replica.log_mut().begin_flush(START_MS)).unwrap().unwrap();
    world.lead(LeaderEpoch(2));
    append(&world, Topic::Kept, 2);
    world.with(Topic::Kept, |replica| replica.log_mut().flush(START_MS)).unwrap();
    let late = late.sync(&fs);
    world.with(Topic::Kept, |replica| replica.log_mut().complete_flush(late)).unwrap();
    let dir = world.dir_of(Topic::Kept);
    let read = |fs: &MemFs| {
        let path = dir.path().join("kept-0/leader-epoch-checkpoint");
        String::from_utf8(ottla_storage::fs::read_file(fs, &path, 1000).unwrap()).unwrap()
    };
    assert_eq!(read(&fs), "0\n2\n1 0\n2 1\n");
}

/// A flush that began before a cut took a new segment of the same name, with as many changes as the old one, for synced.
#[test]
fn a_late_flush_does_not_speak_of_a_new_segment() {
    for seed in 0..8 {
        let fs = formatted();
        let mut world = start(&fs, 1);
        append(&world, Topic::Kept, 1);
        assert!(flush(&mut world, Topic::Kept));
        let roll =
            |world: &World| world.with(Topic::Kept, |replica| replica.log_mut().roll(START_MS)).unwrap();
        roll(&world);
        append(&world, Topic::Kept, 1);
        append(&world, Topic::Kept, 1);
        assert!(world.begin_flush(Topic::Kept).is_ok());
        world.with(Topic::Kept, |replica| replica.log_mut().truncate_to(Offset(0), START_MS)).unwrap();
        append(&world, Topic::Kept, 1);
        roll(&world);
        append(&world, Topic::Kept, 1);
        let promised = append(&world, Topic::Kept, 1);
        assert!(world.end_flush(Topic::Kept).is_ok());
        assert!(flush(&mut world, Topic::Kept));
        assert_eq!(world.offsets(Topic::Kept).1, promised);
        drop(world);
        fs.crash(seed);
        assert!(start(&fs, 2).offsets(Topic::Kept).2 >= promised, "seed {seed}");
    }
}
