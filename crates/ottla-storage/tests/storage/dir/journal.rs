//! The journal of a directory: what a start after a power failure takes from it, and when it goes.

use std::path::Path;

use ottla_storage::dir::{Committed, JOURNAL_FILES, Journal, JournalContents, LogKey, NewLog, PlacedLog};
use ottla_storage::fs::{Fs, MemFs, OpenMode};
use ottla_storage::log::{JournalTicket, Log, Taken};
use ottla_types::{Offset, Uuid};

use super::support::{NOW, Node, formatted, key, names, new_log, put};

const DIR: &str = "/a";
const HALF_BYTES: u64 = 16 * 1024;
const RUN: Uuid = Uuid::from_parts(5, 5);

/// A node with two logs of two records that are durable in place.
fn node(fs: &MemFs) -> Node {
    let node = Node::start(fs, &[DIR]).unwrap();
    for topic in ["one", "two"] {
        node.create(topic, 0).unwrap();
        node.append(topic, 0, 2).unwrap();
        node.flush(topic, 0).unwrap();
    }
    node
}

fn journal(fs: &MemFs) -> Journal {
    Journal::create(fs, Path::new(DIR), HALF_BYTES, RUN).unwrap()
}

fn ticket(node: &Node, topic: &str) -> Option<JournalTicket> {
    node.logs.lock().unwrap().get_mut(&key(topic, 0)).unwrap().log.begin_journal().unwrap()
}

/// Appends a record to each of the two logs and makes it safe in the journal.
fn journaled(node: &Node, journal: &mut Journal) -> Committed {
    let tickets: Vec<_> = ["one", "two"]
        .into_iter()
        .map(|topic| {
            node.append(topic, 0, 1).unwrap();
            ticket(node, topic).expect("little enough for the journal")
        })
        .collect();
    let committed = journal.commit(&tickets).unwrap();
    let mut logs = node.logs.lock().unwrap();
    for (topic, ticket) in ["one", "two"].into_iter().zip(&tickets) {
        logs.get_mut(&key(topic, 0)).unwrap().log.complete_journal(ticket);
    }
    committed
}

/// The segment loses what was not synced in place, whatever a disk would have kept of it.
fn lose_tail(fs: &MemFs, topic: &str, len: u64) {
    let path = Path::new(DIR).join(format!("{topic}-0/00000000000000000000.log"));
    let file = fs.open(&path, OpenMode::Write).unwrap();
    file.set_len(len).unwrap();
    file.sync_data().unwrap();
}

fn len_of(fs: &MemFs, topic: &str) -> u64 {
    fs.info(&Path::new(DIR).join(format!("{topic}-0/00000000000000000000.log"))).unwrap().len
}

fn end(node: &Node, topic: &str) -> i64 {
    node.offsets(topic, 0).unwrap().2
}

#[test]
fn what_the_segments_lost_comes_back() {
    let fs = formatted(&[DIR]);
    let node = node(&fs);
    let in_place = len_of(&fs, "one");
    let mut journal = journal(&fs);
    assert_eq!(journaled(&node, &mut journal), Committed::Safe);
    assert_eq!(journaled(&node, &mut journal), Committed::Safe);
    drop(node);
    fs.crash(1);
    lose_tail(&fs, "one", in_place);
    lose_tail(&fs, "two", in_place + 30);

    let again = Node::start(&fs, &[DIR]).unwrap();
    assert_eq!((end(&again, "one"), end(&again, "two")), (4, 4));
    drop(again);
    fs.crash(2);
    let third = Node::start(&fs, &[DIR]).unwrap();
    assert_eq!(
        (end(&third, "one"), end(&third, "two")),
        (4, 4),
        "it is in place now, and is not appended twice"
    );
}

#[test]
fn an_entry_that_is_not_whole_ends_the_journal() {
    let fs = formatted(&[DIR]);
    let node = node(&fs);
    let in_place = len_of(&fs, "one");
    let mut journal = journal(&fs);
    journaled(&node, &mut journal);
    journaled(&node, &mut journal);
    drop(node);
    fs.crash(1);
    lose_tail(&fs, "one", in_place);
    let file = fs.open(&Path::new(DIR).join(JOURNAL_FILES[0]), OpenMode::Write).unwrap();
    file.write_at(&[0xff; 8], 4096 + 100).unwrap();
    file.sync_data().unwrap();
    assert_eq!(end(&Node::start(&fs, &[DIR]).unwrap(), "one"), 3);
}

#[test]
fn a_ticket_from_before_a_cut_is_not_written_and_hides_nothing() {
    let fs = formatted(&[DIR]);
    let node = node(&fs);
    let in_place = len_of(&fs, "one");
    node.append("one", 0, 2).unwrap();
    let stale = ticket(&node, "one").unwrap();
    {
        let mut logs = node.logs.lock().unwrap();
        let log = &mut logs.get_mut(&key("one", 0)).unwrap().log;
        log.truncate_to(Offset(2), 0).unwrap();
        log.flush(0).unwrap();
    }
    let mut journal = journal(&fs);
    assert_eq!(journal.commit(std::slice::from_ref(&stale)).unwrap(), Committed::Safe);
    assert_eq!(JournalContents::read(&fs, Path::new(DIR)).unwrap(), JournalContents::default());
    journaled(&node, &mut journal);
    let mut logs = node.logs.lock().unwrap();
    let log = &mut logs.get_mut(&key("one", 0)).unwrap().log;
    log.complete_journal(&stale);
    assert_eq!(log.secured_offset(), Offset(3));
    drop(logs);
    drop(node);
    fs.crash(1);
    lose_tail(&fs, "one", in_place);
    assert_eq!(end(&Node::start(&fs, &[DIR]).unwrap(), "one"), 3);
}

#[test]
fn another_topic_of_the_same_name_gets_nothing() {
    let fs = formatted(&[DIR]);
    let node = node(&fs);
    let mut journal = journal(&fs);
    journaled(&node, &mut journal);
    let contents = JournalContents::read(&fs, Path::new(DIR)).unwrap();
    let one = Path::new("/a/one-0");
    assert!(contents.knows(one) && !contents.knows(Path::new("/a/three-0")));
    let pieces = |id| contents.of(one, id).map(|(from, to, _)| (from.0, to.0)).collect::<Vec<_>>();
    assert_eq!(pieces(Some(super::support::TOPIC_ID)), [(2, 3)]);
    assert!(pieces(Some(Uuid::from_parts(8, 8))).is_empty());
    assert!(pieces(None).is_empty());
}

#[test]
fn a_half_is_used_again_when_its_records_are_in_place_and_not_before() {
    let fs = formatted(&[DIR]);
    let node = node(&fs);
    let mut journal = Journal::create(&fs, Path::new(DIR), 4096, RUN).unwrap();
    assert_eq!(journaled(&node, &mut journal), Committed::Safe);
    assert_eq!(journaled(&node, &mut journal), Committed::Turned);
    node.append("one", 0, 1).unwrap();
    let third = ticket(&node, "one").unwrap();
    assert_eq!(journal.commit(std::slice::from_ref(&third)).unwrap(), Committed::Full);
    journal.retired();
    assert_eq!(journal.commit(&[third]).unwrap(), Committed::Turned);
    // Only what is in the halves now, oldest first.
    let contents = JournalContents::read(&fs, Path::new(DIR)).unwrap();
    let pieces: Vec<_> =
        contents.of(Path::new("/a/one-0"), Some(super::support::TOPIC_ID)).map(|piece| piece.0.0).collect();
    assert_eq!(pieces, [3, 4]);
}

#[test]
fn new_logs_and_large_and_rolled_appends_are_not_for_the_journal() {
    let fs = formatted(&[DIR]);
    let node = node(&fs);
    assert!(ticket(&node, "one").is_none(), "nothing is new");
    node.create("new", 0).unwrap();
    node.append("new", 0, 1).unwrap();
    assert!(ticket(&node, "new").is_none(), "its files are not durable");
    node.append("one", 0, 5).unwrap();
    assert!(ticket(&node, "one").is_none(), "it has rolled");
    node.flush("one", 0).unwrap();
    node.append("one", 0, 1).unwrap();
    assert!(ticket(&node, "one").is_some());
}

#[test]
fn a_clean_stop_leaves_no_journal_and_a_clean_start_believes_none() {
    let fs = formatted(&[DIR]);
    let first = node(&fs);
    let mut journal = journal(&fs);
    journaled(&first, &mut journal);
    let there = || JOURNAL_FILES.map(|name| names(&fs, DIR).iter().any(|found| found == name));
    assert_eq!(there(), [true, true]);
    for (_, stopped) in first.stop(None) {
        assert!(stopped.unwrap());
    }
    assert_eq!(there(), [false, false]);
    // Another program stopped in order on what a crash of this one had left.
    put(&fs, "/a/ottla-journal-0", &[1; 5000]);
    let second = Node::start(&fs, &[DIR]).unwrap();
    assert_eq!((there(), end(&second, "one")), ([false, false], 3));
}

#[test]
fn a_full_disk_leaves_no_half_made_journal() {
    use ottla_storage::fs::{Effect, Fault, Operation};
    let fs = formatted(&[DIR]);
    let _node = node(&fs);
    fs.inject(Fault::new(Effect::NoSpace).on(Operation::Write).after(1));
    assert!(Journal::create(&fs, Path::new(DIR), 3 << 20, RUN).is_err());
    assert!(!names(&fs, DIR).iter().any(|name| name.starts_with("ottla-journal")));
}

#[test]
fn a_segment_begins_when_all_that_the_journal_may_have_of_the_last_one_is_in_place() {
    let fs = formatted(&[DIR]);
    let node = node(&fs);
    let mut journal = journal(&fs);
    journaled(&node, &mut journal);
    let with_one = |work: &mut dyn FnMut(&mut Log)| {
        work(&mut node.logs.lock().unwrap().get_mut(&key("one", 0)).unwrap().log);
    };
    with_one(&mut |log| {
        assert_eq!((log.durable_offset(), log.secured_offset()), (Offset(2), Offset(3)));
        log.roll(0).unwrap();
        assert_eq!(log.durable_offset(), Offset(3));
        log.flush(0).unwrap();
    });
    node.append("one", 0, 1).unwrap();
    // Under way to the journal while the log rolls.
    let under_way = ticket(&node, "one").unwrap();
    with_one(&mut |log| {
        log.roll(0).unwrap();
        assert_eq!(log.durable_offset(), Offset(4));
    });
    node.append("one", 0, 1).unwrap();
    with_one(&mut |log| {
        log.complete_journal(&under_way);
        assert_eq!(log.secured_offset(), Offset(4), "the new segment is in no safe place");
    });
}

#[test]
fn a_cut_below_what_is_in_place_leaves_nothing_in_the_journal() {
    let fs = formatted(&[DIR]);
    let node = node(&fs);
    let mut journal = journal(&fs);
    let pieces = || {
        let contents = JournalContents::read(&fs, Path::new(DIR)).unwrap();
        let pieces = contents.of(Path::new("/a/one-0"), Some(super::support::TOPIC_ID));
        pieces.map(|(from, to, _)| (from.0, to.0)).collect::<Vec<_>>()
    };
    journaled(&node, &mut journal);
    journaled(&node, &mut journal);
    let begin_cut = |target: i64| {
        let mut logs = node.logs.lock().unwrap();
        logs.get_mut(&key("one", 0)).unwrap().log.begin_cut(Offset(target)).unwrap().unwrap()
    };
    assert_eq!(pieces(), [(2, 3), (3, 4)]);
    journal.commit(&[begin_cut(3)]).unwrap();
    assert_eq!(pieces(), [(2, 3)], "it is nowhere else");
    node.flush("one", 0).unwrap();
    journal.commit(&[begin_cut(3)]).unwrap();
    assert!(pieces().is_empty());
}

/// Copies a log to another directory, where it takes the place of the first.
fn move_to(node: &Node, topic: &str, dir: &str, before: &mut dyn FnMut(&mut PlacedLog)) {
    let future = LogKey::future(key(topic, 0).partition);
    let to = node.dirs.by_path(Path::new(dir)).unwrap().id();
    node.create_as(NewLog { dir_id: to, key: future.clone(), ..new_log(topic, 0) }).unwrap();
    let (mut current, mut copy) = (Some(node.take(&key(topic, 0))), node.take(&future));
    let log = &current.as_ref().unwrap().log;
    loop {
        let (end, epoch) = (copy.log.log_end_offset(), copy.log.latest_epoch());
        let chunk = log.chunk_after(end, epoch, 1 << 20).unwrap();
        let bytes = chunk.read().unwrap();
        if copy.log.take_chunk(&chunk, bytes.as_deref(), NOW).unwrap() == Taken::Nothing {
            break;
        }
    }
    copy.log.take_over(log, NOW).unwrap();
    before(&mut copy);
    let moved = node.dirs.promote_future(&mut current, copy, 0x77, NOW).unwrap();
    node.logs.lock().unwrap().insert(key(topic, 0), moved);
}

fn cut(node: &Node, topic: &str, target: i64) {
    let mut logs = node.logs.lock().unwrap();
    logs.get_mut(&key(topic, 0)).unwrap().log.truncate_to(Offset(target), NOW).unwrap();
}

/// The journal of the directory that it left has what was cut in the other one.
#[test]
fn a_log_that_comes_back_to_a_directory_does_not_get_back_what_it_lost_elsewhere() {
    for is_told in [true, false] {
        let fs = formatted(&[DIR, "/b"]);
        let node = Node::start(&fs, &[DIR, "/b"]).unwrap();
        let here = node.dirs.by_path(Path::new(DIR)).unwrap().id();
        for topic in ["one", "two"] {
            node.create_as(NewLog { dir_id: here, ..new_log(topic, 0) }).unwrap();
            node.append(topic, 0, 2).unwrap();
            node.flush(topic, 0).unwrap();
        }
        let mut journal = journal(&fs);
        journaled(&node, &mut journal);
        journaled(&node, &mut journal);
        move_to(&node, "one", "/b", &mut |_| ());
        cut(&node, "one", 3);
        move_to(&node, "one", DIR, &mut |copy| {
            let ticket = node.dirs.begin_promotion(copy).unwrap();
            if is_told {
                assert_eq!(journal.commit(&[ticket]).unwrap(), Committed::Safe);
            }
        });
        drop(node);
        fs.crash(1);
        let node = Node::start(&fs, &[DIR, "/b"]).unwrap();
        assert_eq!(node.dir_of("one", 0).as_deref(), Some(Path::new(DIR)));
        assert_eq!((end(&node, "one"), end(&node, "two")), (if is_told { 3 } else { 4 }, 4));
    }
}

/// Nobody has asked for what it knows: all logs have left, and one comes back, with another end.
#[test]
fn the_journal_of_a_directory_without_logs_goes_with_the_start() {
    let there = |fs: &MemFs| JOURNAL_FILES.map(|name| names(fs, DIR).iter().any(|found| found == name));
    let fs = formatted(&[DIR, "/b"]);
    let node = Node::start(&fs, &[DIR, "/b"]).unwrap();
    let here = node.dirs.by_path(Path::new(DIR)).unwrap().id();
    node.create_as(NewLog { dir_id: here, ..new_log("one", 0) }).unwrap();
    node.append("one", 0, 2).unwrap();
    node.flush("one", 0).unwrap();
    node.append("one", 0, 2).unwrap();
    let mut journal = journal(&fs);
    journal.commit(&[ticket(&node, "one").unwrap()]).unwrap();
    move_to(&node, "one", "/b", &mut |_| ());
    drop(node);
    fs.crash(1);
    assert_eq!(there(&fs), [true, true]);
    let node = Node::start(&fs, &[DIR, "/b"]).unwrap();
    assert_eq!((there(&fs), end(&node, "one")), ([false, false], 4));
    cut(&node, "one", 3);
    move_to(&node, "one", DIR, &mut |_| ());
    drop(node);
    fs.crash(2);
    assert_eq!(end(&Node::start(&fs, &[DIR, "/b"]).unwrap(), "one"), 3);
}
