//! One seed's history.

use std::collections::BTreeMap;

use ottla_storage::dir::{
    Checkpoint, apply_retention, close_idle_files, flush_due, remove_old_files, write_checkpoints,
};
use ottla_storage::fs::{Effect, Fault, Fs, MemFs, Operation};
use ottla_types::{LeaderEpoch, Offset};

use crate::dice::Dice;
use crate::model::Model;
use crate::world::{ALL, Ack, DIR, Rules, START_MS, Stopped, Topic, World, format};
use crate::{check, load};

/// What happened, to see that everything did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) appends: u64,
    pub(crate) acks: u64,
    pub(crate) duplicates: u64,
    pub(crate) resent: u64,
    pub(crate) transactions: u64,
    pub(crate) lost_unpromised: u64,
    pub(crate) cleanings: u64,
    pub(crate) truncations: u64,
    pub(crate) removed_segments: u64,
    pub(crate) crashes: u64,
    pub(crate) crashes_in_recovery: u64,
    pub(crate) kills: u64,
    pub(crate) clean_stops: u64,
    pub(crate) disk_failures: u64,
}

impl Tally {
    fn fields(&mut self) -> [&mut u64; 14] {
        [
            &mut self.appends,
            &mut self.acks,
            &mut self.duplicates,
            &mut self.resent,
            &mut self.transactions,
            &mut self.lost_unpromised,
            &mut self.cleanings,
            &mut self.truncations,
            &mut self.removed_segments,
            &mut self.crashes,
            &mut self.crashes_in_recovery,
            &mut self.kills,
            &mut self.clean_stops,
            &mut self.disk_failures,
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let mut other = *other;
        for (field, more) in self.fields().into_iter().zip(other.fields()) {
            *field += *more;
        }
    }

    /// A test that never gets to something proves nothing about it.
    pub(crate) fn assert_broad(mut self) {
        let shown = format!("{self:?}");
        assert!(self.fields().into_iter().all(|field| *field >= 20), "{shown}");
    }
}

/// A node and its clients, from seed to last check.
pub(crate) struct Life {
    pub(crate) dice: Dice,
    pub(crate) fs: MemFs,
    world: Option<World>,
    pub(crate) models: BTreeMap<Topic, Model>,
    pub(crate) parked: Vec<Ack>,
    pub(crate) epoch: i32,
    pub(crate) tally: Tally,
    now_ms: i64,
    rules: Rules,
    is_told: bool,
}

impl Life {
    pub(crate) fn new(seed: u64, rules: Rules) -> Self {
        let fs = MemFs::new();
        fs.set_now_ms(START_MS);
        fs.create_dir_all(DIR.as_ref()).expect("nothing fails yet");
        fs.sync_dir("/".as_ref()).expect("nothing fails yet");
        format(&fs);
        let model = |topic| (topic, Model { writers: load::writers(topic), ..Model::default() });
        Self {
            dice: Dice::new(seed),
            fs,
            world: None,
            models: Topic::EACH.into_iter().map(model).collect(),
            parked: Vec::new(),
            epoch: 0,
            tally: Tally::default(),
            now_ms: START_MS,
            rules,
            is_told: false,
        }
    }

    /// Prints what it does.
    pub(crate) fn told(mut self) -> Self {
        self.is_told = true;
        self
    }

    pub(crate) fn tell(&self, what: std::fmt::Arguments<'_>) {
        if self.is_told {
            eprintln!("{:>7} {what}", self.fs.operations());
        }
    }

    /// The files of a topic and their sizes.
    pub(crate) fn tell_files(&self, topic: Topic) {
        if self.is_told {
            let dir = std::path::Path::new(DIR).join(format!("{}-0", topic.key().partition.topic.as_str()));
            let files = self.fs.list(&dir).unwrap_or_default();
            let sizes =
                files.iter().map(|(name, info)| format!("{}={}", name.trim_start_matches('0'), info.len));
            self.tell(format_args!("{topic:?}: {}", sizes.collect::<Vec<_>>().join(" ")));
        }
    }

    pub(crate) fn world(&mut self) -> &mut World {
        self.world.as_mut().expect("the node runs")
    }

    pub(crate) fn model(&mut self, topic: Topic) -> &mut Model {
        self.models.get_mut(&topic).expect("each topic has its model")
    }

    /// Several lives of the node and its file system, each with another end.
    pub(crate) fn live(mut self) -> Tally {
        for _ in 0..self.dice.between(2, 6) {
            self.wake();
            self.one_life();
        }
        self.tally
    }

    /// The same, stopped in good order at the end; what is on the disk then.
    pub(crate) fn live_to_clean_end(mut self) -> MemFs {
        for _ in 0..self.dice.between(2, 6) {
            self.wake();
            self.one_life();
        }
        self.wake();
        let world = self.world.take().expect("the node runs");
        assert!(world.stop().is_ok());
        self.fs
    }

    fn one_life(&mut self) {
        let is_cut = self.dice.one_in(2);
        if is_cut {
            let at = self.fs.operations() + self.dice.below(250);
            self.fs.cut_power_at(at);
        } else if self.dice.one_in(4) {
            self.break_disk();
        }
        for _ in 0..self.dice.between(5, 160) {
            let step = self.step();
            if let Err(Stopped::Disk) = step {
                self.tally.disk_failures += u64::from(!self.fs.is_powered_off());
                break;
            }
        }
        self.end();
    }

    fn break_disk(&mut self) {
        let (effect, operation) = *self.dice.of(&[
            (Effect::Io, Operation::Sync),
            (Effect::Io, Operation::Sync),
            (Effect::Io, Operation::SyncDir),
            (Effect::Torn(70), Operation::Write),
            (Effect::NoSpace, Operation::Write),
            (Effect::Io, Operation::Rename),
        ]);
        let after = self.dice.below(25);
        self.tell(format_args!("{operation:?} number {after} from now fails: {effect:?}"));
        self.fs.inject(Fault::new(effect).on(operation).after(after).times(1));
    }

    /// The node ends, one way or another.
    fn end(&mut self) {
        let world = self.world.take().expect("the node runs");
        let is_well = world.dir().is_online() && !self.fs.is_powered_off();
        let how = if self.fs.is_powered_off() { 0 } else { self.dice.below(4) };
        let mut is_settled = false;
        let ends = Topic::EACH.map(|topic| (topic, world.offsets(topic).2.0));
        match how {
            1 if is_well => {
                self.tell(format_args!("stop"));
                // What is parked gets no answer, but it will be there.
                is_settled = world.stop().is_ok();
                self.tally.clean_stops += u64::from(is_settled);
            }
            _ => drop(world),
        }
        if is_settled {
            for (topic, end) in ends {
                self.model(topic).promised = end;
            }
        }
        if self.fs.is_powered_off() || how == 0 || (how == 1 && self.dice.one_in(2)) {
            let seed = self.dice.next();
            self.tell(format_args!("power cut"));
            self.fs.crash(seed);
            self.tally.crashes += 1;
        } else if !is_settled {
            self.tell(format_args!("kill"));
            self.fs.heal();
            self.tally.kills += 1;
        }
        self.fs.heal();
        self.parked.clear();
    }

    /// The node starts, perhaps with power cuts meanwhile, and is looked over.
    fn wake(&mut self) {
        loop {
            self.now_ms += 100;
            let is_cut = self.dice.one_in(4);
            if is_cut {
                let at = self.fs.operations() + self.dice.below(60);
                self.fs.cut_power_at(at);
            }
            for topic in Topic::EACH {
                self.tell_files(topic);
            }
            match World::start(&self.fs, self.now_ms, self.rules) {
                Ok(world) => {
                    self.world = Some(world);
                    if self.greet().is_ok() {
                        break;
                    }
                }
                Err(_) => assert!(self.fs.is_powered_off(), "the node does not start"),
            }
            self.world = None;
            self.parked.clear();
            let seed = self.dice.next();
            self.tell(format_args!("power cut in recovery"));
            self.fs.crash(seed);
            self.tally.crashes_in_recovery += 1;
        }
        self.fs.heal();
    }

    /// After a start: look, lead, flush, and let the clients come back.
    fn greet(&mut self) -> Result<(), Stopped> {
        let mut survived = BTreeMap::new();
        for topic in Topic::EACH {
            let found = check::after_restart(self, topic)?;
            survived.insert(topic, found);
        }
        self.epoch += 1;
        self.tell(format_args!("epoch {}", self.epoch));
        let epoch = LeaderEpoch(self.epoch);
        let released = self.world().lead(epoch);
        assert!(released.is_empty());
        for topic in Topic::EACH {
            self.resend(topic, &survived[&topic])?;
            self.begin_flush(topic)?;
            self.end_flush(topic)?;
            let (_, watermark, end) = self.world().offsets(topic);
            assert_eq!(watermark, end, "{topic:?}: everything is durable");
            assert!(watermark.0 >= self.models[&topic].promised, "{topic:?}: the high watermark went back");
        }
        Ok(())
    }

    pub(crate) fn released(&mut self, acks: Vec<Ack>) {
        for ack in acks {
            let at = self.parked.iter().position(|parked| *parked == ack).expect("it was parked");
            self.parked.remove(at);
            assert!(self.world().offsets(ack.topic).1 >= ack.required, "{ack:?} was released too early");
            self.tally.acks += 1;
        }
    }

    /// A reader looks at how far it may read.
    pub(crate) fn look(&mut self, topic: Topic) {
        let (start, watermark, end) = self.world().offsets(topic);
        assert!(start <= watermark && watermark <= end, "{topic:?}: {start} {watermark} {end}");
        let model = self.model(topic);
        model.watermark(watermark.0);
        model.start = model.start.max(start.0);
        let is_late = |ack: &&Ack| ack.topic == topic && ack.required <= watermark;
        assert_eq!(self.parked.iter().find(is_late), None, "it waits for nothing");
    }

    /// The log was flushed behind the replica's back.
    fn advance(&mut self, topic: Topic) {
        let (released, is_lost) =
            self.world().with(topic, |replica| (replica.advance(), replica.log().poisoned().is_some()));
        if is_lost {
            // They are told of the failure.
            self.parked.retain(|ack| ack.topic != topic);
        } else {
            self.released(released);
        }
        self.look(topic);
    }

    fn begin_flush(&mut self, topic: Topic) -> Result<(), Stopped> {
        match self.world().begin_flush(topic) {
            Ok(released) => self.released(released),
            Err(Stopped::Idle) => {}
            Err(Stopped::Disk) => return Err(Stopped::Disk),
        }
        self.look(topic);
        Ok(())
    }

    fn end_flush(&mut self, topic: Topic) -> Result<(), Stopped> {
        match self.world().end_flush(topic) {
            Ok(released) => self.released(released),
            Err(Stopped::Idle) => {}
            Err(Stopped::Disk) => return Err(Stopped::Disk),
        }
        self.look(topic);
        Ok(())
    }

    /// One thing that a node does.
    fn step(&mut self) -> Result<(), Stopped> {
        self.now_ms += self.dice.between(1, 40);
        let now_ms = self.now_ms;
        self.fs.set_now_ms(now_ms);
        self.world().now_ms = now_ms;
        let topic = *self.dice.of(&Topic::EACH);
        let choice = self.dice.below(100);
        let result = match choice {
            0..20 => self.produce_plain(topic),
            20..50 => self.produce(topic),
            50..55 => self.produce_wrong(topic),
            55..67 => self.begin_flush(topic),
            67..80 => self.end_flush(topic),
            80..84 => self.checkpoint(),
            84..88 => self.retain(),
            88..90 => self.delete_records(topic),
            90..92 => self.roll(topic),
            92..95 => self.clean(),
            95..97 => self.truncate(topic),
            _ => self.tidy(topic),
        };
        if !matches!(result, Err(Stopped::Idle)) {
            let offsets = self.world().offsets(topic);
            self.tell(format_args!("{choice} {topic:?} {offsets:?} {result:?}"));
        }
        self.look(topic);
        match result {
            Err(Stopped::Idle) => Ok(()),
            other => other,
        }
    }

    fn checkpoint(&mut self) -> Result<(), Stopped> {
        let which: &[Checkpoint] = match self.dice.below(4) {
            0 => &ALL[..1],
            1 => &ALL[1..2],
            2 => &ALL[2..],
            _ => &ALL,
        };
        let world = self.world();
        write_checkpoints(&world.dirs, world.dir(), &*world, which)?;
        Ok(())
    }

    fn retain(&mut self) -> Result<(), Stopped> {
        let world = self.world();
        let summary = apply_retention(&world.dirs, world.dir(), &*world, world.now_ms);
        self.tally.removed_segments += summary.map_or(0, |summary| summary.segments as u64);
        for topic in Topic::EACH {
            self.advance(topic);
        }
        let world = self.world();
        world.dir().check_online()?;
        remove_old_files(&world.dirs, world.dir(), &*world, world.now_ms)?;
        Ok(())
    }

    fn delete_records(&mut self, topic: Topic) -> Result<(), Stopped> {
        if topic == Topic::Compacted {
            return Err(Stopped::Idle);
        }
        let (start, watermark, _) = self.world().offsets(topic);
        let to = self.dice.between(start.0, start.0 + (watermark - start) / 3);
        self.world()
            .with(topic, |replica| replica.log_mut().advance_log_start(Offset(to)))
            .expect("below the watermark");
        Ok(())
    }

    fn roll(&mut self, topic: Topic) -> Result<(), Stopped> {
        let world = self.world();
        let now_ms = world.now_ms;
        let rolled = world.with(topic, |replica| {
            let log = replica.log_mut();
            let is_empty = log.segment_base_offsets().last() == Some(log.log_end_offset());
            if is_empty { Ok(Offset(0)) } else { log.roll(now_ms) }
        });
        rolled.map(|_| ()).map_err(|error| world.dir().failed(&error).into())
    }

    fn clean(&mut self) -> Result<(), Stopped> {
        self.world().clean(Topic::Compacted)?;
        self.tally.cleanings += 1;
        Ok(())
    }

    /// A new leader elsewhere had another end: what was not promised goes.
    fn truncate(&mut self, topic: Topic) -> Result<(), Stopped> {
        let (_, watermark, end) = self.world().offsets(topic);
        if watermark == end {
            return Err(Stopped::Idle);
        }
        let target = self.dice.between(watermark.0, end.0 - 1);
        let model = self.model(topic);
        model.uncut = Some(model.batches.clone());
        model.batches.retain(|batch| crate::model::last_offset(batch) < target);
        let world = self.world();
        let now_ms = world.now_ms;
        world
            .with(topic, |replica| replica.log_mut().truncate_to(Offset(target), now_ms))
            .map_err(|error| world.dir().failed(&error))?;
        self.model(topic).uncut = None;
        self.tally.truncations += 1;
        // It leads again, in another epoch, and its clients send again.
        self.parked.retain(|ack| ack.topic != topic);
        self.world().forget_waiters(topic);
        self.epoch += 1;
        let epoch = LeaderEpoch(self.epoch);
        let released = self.world().lead(epoch);
        self.released(released);
        let survived = self.models[&topic].batches.clone();
        self.resend(topic, &survived)
    }

    fn tidy(&mut self, topic: Topic) -> Result<(), Stopped> {
        let choice = self.dice.below(3);
        let world = self.world();
        match choice {
            0 => close_idle_files(&world.dirs, world.dir(), &*world, world.now_ms, 0).map(|_| ())?,
            1 => {
                flush_due(&world.dirs, world.dir(), &*world, world.now_ms)?;
                for topic in Topic::EACH {
                    self.advance(topic);
                }
            }
            _ => {
                for topic in Topic::EACH {
                    check::running(self, topic);
                }
            }
        }
        let _ = topic;
        Ok(())
    }
}
