//! One seed's history.

use std::collections::BTreeMap;

use ottla_storage::dir::{
    Checkpoint, apply_retention, close_idle_files, flush_due, remove_old_files, write_checkpoints,
};
use ottla_storage::fs::{Effect, Fault, Fs, MemFs, Operation, read_file};
use ottla_types::{LeaderEpoch, Offset, Uuid};

use crate::dice::Dice;
use crate::model::Model;
use crate::world::{ALL, Ack, DIRS, Rules, START_MS, Stopped, Topic, World, format};
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
    pub(crate) lost_promised: u64,
    pub(crate) moves_begun: u64,
    pub(crate) moves_finished: u64,
    pub(crate) moves_found: u64,
    pub(crate) unclean_truncations: u64,
    pub(crate) lives_with_one_directory: u64,
    pub(crate) cleanings: u64,
    pub(crate) truncations: u64,
    pub(crate) removed_segments: u64,
    pub(crate) crashes: u64,
    pub(crate) crashes_in_recovery: u64,
    pub(crate) kills: u64,
    pub(crate) clean_stops: u64,
    pub(crate) disk_failures: u64,
    /// Groups that went through the journal.
    pub(crate) journaled: u64,
    /// Logs that were made durable in place because the journal was full.
    pub(crate) retired: u64,
}

impl Tally {
    fn fields(&mut self) -> [&mut u64; 22] {
        [
            &mut self.appends,
            &mut self.acks,
            &mut self.duplicates,
            &mut self.resent,
            &mut self.transactions,
            &mut self.lost_unpromised,
            &mut self.lost_promised,
            &mut self.moves_begun,
            &mut self.moves_finished,
            &mut self.moves_found,
            &mut self.unclean_truncations,
            &mut self.lives_with_one_directory,
            &mut self.cleanings,
            &mut self.truncations,
            &mut self.removed_segments,
            &mut self.crashes,
            &mut self.crashes_in_recovery,
            &mut self.kills,
            &mut self.clean_stops,
            &mut self.disk_failures,
            &mut self.journaled,
            &mut self.retired,
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
    /// What an orderly stop has left: the end of each log, until something is appended again. A directory that says that it was
    /// stopped so must have it.
    stopped: Option<BTreeMap<Topic, i64>>,
    /// What the controller was told of the directories of topics.
    assigned: BTreeMap<Topic, Uuid>,
    now_ms: i64,
    rules: Rules,
    is_told: bool,
}

impl Life {
    pub(crate) fn new(seed: u64, rules: Rules) -> Self {
        let fs = MemFs::new();
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
            stopped: None,
            assigned: BTreeMap::new(),
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

    /// The checkpoints of the directories.
    fn tell_checkpoints(&self) {
        let names = [
            "recovery-point-offset-checkpoint",
            "log-start-offset-checkpoint",
            "replication-offset-checkpoint",
        ];
        for path in DIRS.into_iter().flat_map(|dir| names.map(|name| std::path::Path::new(dir).join(name))) {
            if self.is_told
                && let Ok(text) = read_file(&self.fs, &path, 1 << 20)
            {
                let lines: Vec<_> =
                    String::from_utf8_lossy(&text).lines().skip(2).map(str::to_owned).collect();
                self.tell(format_args!("{}: {}", path.display(), lines.join(", ")));
            }
        }
    }

    /// The files of a topic and their sizes.
    pub(crate) fn tell_files(&self, topic: Topic) {
        if self.is_told {
            let topic = topic.key().partition.topic;
            for (dir, (name, _)) in DIRS.into_iter().flat_map(|dir| {
                self.fs.list(dir.as_ref()).unwrap_or_default().into_iter().map(move |entry| (dir, entry))
            }) {
                if !name.starts_with(topic.as_str()) {
                    continue;
                }
                let files = self.fs.list(&std::path::Path::new(dir).join(&name)).unwrap_or_default();
                let sizes =
                    files.iter().map(|(name, info)| format!("{}={}", name.trim_start_matches('0'), info.len));
                self.tell(format_args!("{dir}/{name}: {}", sizes.collect::<Vec<_>>().join(" ")));
            }
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
        assert_eq!(world.stop().len(), DIRS.len());
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
            if let Err(Stopped::Disk) = self.step() {
                if self.fs.is_powered_off() {
                    break;
                }
                self.tally.disk_failures += 1;
                if !self.go_on_without_failed() {
                    break;
                }
            }
        }
        self.end();
    }

    /// A directory has failed: what is in the others is served. `false` if there is none.
    fn go_on_without_failed(&mut self) -> bool {
        self.tell(format_args!("a directory is offline"));
        let is_left = self.world().drop_failed();
        let topics = self.world().topics();
        self.parked.retain(|ack| topics.contains(&ack.topic));
        self.tally.lives_with_one_directory += u64::from(is_left);
        is_left
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
        if self.dice.one_in(4) {
            let left = self.dice.below(6000);
            self.tell(format_args!("{left} bytes are left"));
            self.fs.set_capacity_bytes(Some(self.fs.used_bytes() + left));
            return;
        }
        let after = self.dice.below(40);
        let dir = *self.dice.of(&["/", DIRS[0], DIRS[1]]);
        self.tell(format_args!("{operation:?} number {after} from now in {dir} fails: {effect:?}"));
        self.fs.inject(Fault::new(effect).on(operation).at(dir).after(after).times(1));
    }

    /// The node ends, one way or another.
    fn end(&mut self) {
        let mut world = self.world.take().expect("the node runs");
        // What a flush behind the replicas' backs has made durable, or broken.
        let is_powered_off = self.fs.is_powered_off();
        if !is_powered_off {
            world.drop_failed();
        }
        let how = if is_powered_off { 0 } else { self.dice.below(4) };
        let ends: BTreeMap<Topic, i64> =
            world.topics().into_iter().map(|topic| (topic, world.offsets(topic).2.0)).collect();
        let mut settled = Vec::new();
        let mut is_stopped = false;
        if how == 1 {
            self.tell(format_args!("stop"));
            let dirs: BTreeMap<Topic, _> =
                ends.keys().map(|topic| (*topic, world.dir_of(*topic).path().to_path_buf())).collect();
            self.stopped = Some(ends.clone());
            // What is parked gets no answer, but it will be there.
            let clean = world.stop();
            is_stopped = true;
            settled.extend(ends.keys().filter(|topic| clean.contains(&dirs[topic])).copied());
            self.tally.clean_stops += u64::from(clean.len() == DIRS.len());
        } else {
            drop(world);
        }
        let is_cut = self.fs.is_powered_off() || how == 0 || (how == 1 && self.dice.one_in(2));
        for topic in Topic::EACH {
            let model = self.model(topic);
            model.power_cut(topic.may_lose());
            if settled.contains(&topic) {
                let end = ends[&topic];
                model.watermark(end);
                (model.promised, model.durable, model.survives) = (end, end, end);
            } else if let Some(end) = ends.get(&topic).filter(|_| !is_cut && !is_stopped) {
                model.survives = *end;
            }
        }
        if is_cut {
            let seed = self.dice.next();
            self.tell(format_args!("power cut"));
            self.fs.crash(seed);
            self.tally.crashes += 1;
        } else if !is_stopped {
            self.tell(format_args!("kill"));
            self.tally.kills += 1;
        }
        self.heal();
        self.parked.clear();
    }

    fn heal(&self) {
        self.fs.heal();
        self.fs.set_capacity_bytes(None);
    }

    /// No directory says that it was stopped in good order when it was not.
    fn check_marker(&mut self) {
        let world = self.world.as_ref().expect("the node runs");
        for topic in world.topics() {
            if !world.clean.iter().any(|clean| clean == world.dir_of(topic).path()) {
                continue;
            }
            let stopped = self.stopped.as_ref().expect("it was stopped");
            // A topic whose directory had failed then was not among them, nor was that stopped.
            let end = stopped.get(&topic).copied();
            assert_eq!(end, Some(world.offsets(topic).2.0), "{topic:?}: not what a stop has left");
        }
        self.stopped = None;
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
            Topic::EACH.into_iter().for_each(|topic| self.tell_files(topic));
            self.tell_checkpoints();
            match World::start(&self.fs, self.now_ms, self.rules, &self.assigned) {
                Ok(world) => {
                    for (key, report) in world.reports.iter().filter(|(_, report)| !report.events.is_empty())
                    {
                        self.tell(format_args!("{key:?}: {:?}", report.events));
                    }
                    self.world = Some(world);
                    self.check_marker();
                    let found = self.world().moves.get_mut().expect("no panic before").len();
                    self.tally.moves_found += found as u64;
                    if self.greet().is_ok() {
                        break;
                    }
                }
                Err(_) => assert!(self.fs.is_powered_off(), "the node does not start"),
            }
            self.world = None;
            self.parked.clear();
            for topic in Topic::EACH {
                self.model(topic).power_cut(topic.may_lose());
            }
            let seed = self.dice.next();
            self.tell(format_args!("power cut in recovery"));
            self.fs.crash(seed);
            self.tally.crashes_in_recovery += 1;
        }
        self.fs.heal();
    }

    fn report_directory(&mut self, topic: Topic) {
        let id = self.world().dir_of(topic).id().expect("each directory has its id");
        if !self.fs.is_powered_off() {
            self.assigned.insert(topic, id);
            self.model(topic).left_behind = None;
        }
    }

    /// Whether the start has found a topic where the controller was not told that it is.
    pub(crate) fn is_elsewhere(&mut self, topic: Topic) -> bool {
        let id = self.world().dir_of(topic).id();
        self.assigned.get(&topic).is_some_and(|assigned| Some(*assigned) != id)
    }

    /// After a start: look, lead, flush, and let the clients come back.
    fn greet(&mut self) -> Result<(), Stopped> {
        let mut survived = BTreeMap::new();
        for topic in Topic::EACH {
            let found = check::after_restart(self, topic)?;
            survived.insert(topic, found);
            self.report_directory(topic);
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
            self.model(topic).uncut = None;
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
        if !self.world().topics().contains(&topic) {
            return;
        }
        let (start, watermark, end) = self.world().offsets(topic);
        assert!(start <= watermark && watermark <= end, "{topic:?}: {start} {watermark} {end}");
        let durable = self.world().with(topic, |replica| replica.log().durable_offset());
        let model = self.model(topic);
        model.watermark(watermark.0);
        model.durable = model.durable.max(durable.0.min(watermark.0));
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

    fn flush_volume(&mut self, topic: Topic) -> Result<(), Stopped> {
        let released = self.world().flush_volume(topic)?;
        self.released(released);
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

    fn begin_journal(&mut self) -> Result<(), Stopped> {
        let mut topics = self.world().topics();
        topics.retain(|_| !self.dice.one_in(4));
        self.world().begin_journal(&topics)?;
        if self.dice.one_in(2) { self.end_journal() } else { Ok(()) }
    }

    fn end_journal(&mut self) -> Result<(), Stopped> {
        let (released, result) = self.world().end_journal();
        self.tally.journaled += u64::from(!released.is_empty());
        self.released(released);
        // One directory's journal may have failed, and another's not.
        self.world().topics().into_iter().for_each(|topic| self.look(topic));
        result
    }

    fn retire(&mut self) -> Result<(), Stopped> {
        let released = self.world().retire()?;
        self.tally.retired += 1;
        self.released(released);
        self.world().topics().into_iter().for_each(|topic| self.look(topic));
        Ok(())
    }

    /// One thing that a node does.
    fn step(&mut self) -> Result<(), Stopped> {
        self.now_ms += self.dice.between(1, 40);
        let now_ms = self.now_ms;
        self.fs.set_now_ms(now_ms);
        self.world().now_ms = now_ms;
        let topics = self.world().topics();
        let has_failed = topics.iter().any(|topic| !self.world().dir_of(*topic).is_online());
        if has_failed || self.fs.is_powered_off() {
            // Something in the background has found that out, perhaps in a directory without topics.
            return Err(Stopped::Disk);
        }
        let topic = *self.dice.of(&topics);
        let choice = self.dice.below(110);
        let result = match choice {
            0..20 => self.produce_plain(topic),
            20..50 => self.produce(topic),
            50..55 => self.produce_wrong(topic),
            55..57 => self.flush_volume(topic),
            57..62 => self.begin_flush(topic),
            62..67 => self.end_flush(topic),
            67..73 => self.begin_journal(),
            73..77 => self.end_journal(),
            77..80 => self.retire(),
            80..84 => self.checkpoint(),
            84..88 => self.retain(),
            88..90 => self.delete_records(topic),
            90..92 => self.roll(topic),
            92..95 => self.clean(),
            95..97 => self.truncate(topic),
            97..100 => self.tidy(),
            _ => self.move_on(topic),
        };
        if !matches!(result, Err(Stopped::Idle)) && self.world().topics().contains(&topic) {
            let offsets = self.world().offsets(topic);
            self.tell(format_args!("{choice} {topic:?} {offsets:?} {result:?}"));
        }
        if matches!(result, Err(Stopped::Disk)) {
            return result;
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
        self.world().write_checkpoints(which)?;
        self.tell_checkpoints();
        Ok(())
    }

    fn retain(&mut self) -> Result<(), Stopped> {
        let world = self.world();
        let (mut removed, mut has_failed) = (0, false);
        for dir in world.online() {
            match apply_retention(&world.dirs, &dir, &*world, world.now_ms) {
                Ok(summary) => removed += summary.segments as u64,
                Err(_) => has_failed = true,
            }
        }
        self.tally.removed_segments += removed;
        for topic in self.world().topics() {
            self.advance(topic);
        }
        let world = self.world();
        if has_failed {
            return Err(Stopped::Disk);
        }
        for dir in world.online() {
            remove_old_files(&world.dirs, &dir, &*world, world.now_ms, &mut || true)?;
            world.dirs.remove_deleted(&dir, world.now_ms, 300, &mut || true);
        }
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
        rolled.map(|_| ()).map_err(|error| world.failed(topic, &error))?;
        // It makes durable in place what was on its way to the journal.
        self.advance(topic);
        Ok(())
    }

    fn clean(&mut self) -> Result<(), Stopped> {
        if !self.world().topics().contains(&Topic::Compacted) {
            return Err(Stopped::Idle);
        }
        let end = self.world().clean(Topic::Compacted)?;
        check::note_cleaned(self, Topic::Compacted, end);
        self.tally.cleanings += 1;
        Ok(())
    }

    /// A new leader elsewhere had another end: what was not promised goes; and what was, if it was elected uncleanly.
    fn truncate(&mut self, topic: Topic) -> Result<(), Stopped> {
        let (start, watermark, end) = self.world().offsets(topic);
        let (durable, secured) = self
            .world()
            .with(topic, |replica| (replica.log().durable_offset(), replica.log().secured_offset()));
        // What is safe in the journal alone is more often cut than its part of all logs.
        let is_of_journal = secured > durable && self.dice.one_in(2);
        let is_unclean = topic != Topic::Compacted && (is_of_journal || self.dice.one_in(6));
        let from = if is_unclean && is_of_journal {
            durable.max(start)
        } else if is_unclean {
            start
        } else {
            watermark
        };
        if from == end {
            return Err(Stopped::Idle);
        }
        let target = self.dice.between(from.0, end.0 - 1);
        let before = self.models[&topic].clone();
        let model = self.model(topic);
        model.uncut = Some(model.batches.clone());
        model.batches.retain(|batch| crate::model::last_offset(batch) < target);
        if target < watermark.0 || model.end() < watermark.0 {
            let end = model.end();
            model.lose(end);
            self.tally.unclean_truncations += 1;
        }
        // If the power fails meanwhile, the journal may have forgotten already what is to go.
        if let Err(stopped) = self.world().begin_cut(topic, Offset(target)) {
            if matches!(stopped, Stopped::Idle) {
                self.models.insert(topic, before);
            }
            return Err(stopped);
        }
        let world = self.world();
        let now_ms = world.now_ms;
        world
            .with(topic, |replica| replica.log_mut().truncate_to(Offset(target), now_ms))
            .map_err(|error| world.failed(topic, &error))?;
        self.model(topic).uncut = None;
        self.tally.truncations += 1;
        // It leads again, in another epoch, and its clients send again.
        self.parked.retain(|ack| ack.topic != topic);
        let world = self.world();
        world.forget_waiters(topic);
        write_checkpoints(&world.dirs, &world.dir_of(topic), &*world, &ALL)?;
        self.epoch += 1;
        let epoch = LeaderEpoch(self.epoch);
        let released = self.world().lead(epoch);
        self.released(released);
        if self.dice.one_in(3) {
            // Before anything newer tells a start that what was cut is stale.
            let at = self.fs.operations() + self.dice.below(20);
            self.fs.cut_power_at(at);
        }
        let survived = self.models[&topic].batches.clone();
        self.resend(topic, &survived)
    }

    /// A move between the directories begins, goes on, or ends.
    fn move_on(&mut self, topic: Topic) -> Result<(), Stopped> {
        let unique = u128::from(self.dice.next()) << 64 | u128::from(self.dice.next());
        let is_moving = self.world().moves.get_mut().expect("no panic before").contains_key(&topic);
        if !is_moving {
            if !self.dice.one_in(3) {
                return Err(Stopped::Idle);
            }
            self.tally.moves_begun += 1;
            self.model(topic).cleaned = None;
            return self.world().begin_move(topic, unique);
        }
        if self.dice.one_in(12) {
            return self.world().end_move(topic, unique);
        }
        for _ in 0..self.dice.between(1, 12) {
            let max_bytes = u32::try_from(self.dice.between(1, 3000)).expect("small");
            if self.world().copy(topic, max_bytes)? {
                let (start, watermark, end) = self.world().offsets(topic);
                // As the broker, which rather waits for a moment in which nobody waits for an acknowledgement.
                if watermark == end || self.dice.one_in(3) {
                    let finished = self.world().finish_move(topic, unique);
                    if matches!(finished, Err(Stopped::Disk)) {
                        let model = self.model(topic);
                        model.left_behind = Some(model.batches.clone());
                    }
                    finished?;
                    self.report_directory(topic);
                    self.tally.moves_finished += 1;
                    // What was removed once, and came back with a crash, need not be in the copy.
                    let removed = Offset(self.models[&topic].start);
                    let moved = self.world().offsets(topic).0;
                    let is_kept = moved == start || moved <= removed;
                    assert!(is_kept, "{topic:?}: a move has moved the log start from {start} to {moved}");
                    self.advance(topic);
                    self.world().write_checkpoints(&ALL)?;
                    check::running(self, topic);
                }
                break;
            }
        }
        Ok(())
    }

    fn tidy(&mut self) -> Result<(), Stopped> {
        let choice = self.dice.below(3);
        let world = self.world();
        match choice {
            0 => {
                for dir in world.online() {
                    close_idle_files(&world.dirs, &dir, &*world, world.now_ms, 0)?;
                }
            }
            1 => {
                let mut has_failed = false;
                for dir in world.online() {
                    has_failed |= flush_due(&world.dirs, &dir, &*world, world.now_ms).is_err();
                }
                for topic in world.topics() {
                    let now_ms = self.world().now_ms;
                    let is_online = self.world().dir_of(topic).is_online();
                    self.world().with(topic, |replica| {
                        let log = replica.log();
                        let (durable, end) = (log.durable_offset(), log.log_end_offset());
                        let is_due = is_online && log.flush_due(now_ms);
                        assert!(!is_due, "{topic:?} was to be flushed: {durable} of {end}");
                    });
                    self.advance(topic);
                }
                if has_failed {
                    return Err(Stopped::Disk);
                }
            }
            _ => {
                for topic in world.topics() {
                    check::running(self, topic);
                }
            }
        }
        Ok(())
    }
}
