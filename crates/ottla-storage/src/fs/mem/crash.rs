//! What a crash leaves of a [`MemFs`](super::MemFs): everything durable, and a seeded choice of the rest.

use ottla_types::SplitMix64;

use super::contents::{Contents, PAGE};
use super::tree::{ContentChange, FileInode, Tree};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Turns the visible state into what would be found after a crash, by the seed's choice.
pub(super) fn crash(tree: &mut Tree, seed: u64) {
    let mut dice = SplitMix64::new(seed);
    let changes = std::mem::take(&mut tree.pending);
    let kept = choose(&mut dice, changes.len());
    for (change, kept) in changes.iter().zip(kept) {
        if kept {
            tree.make_durable(change);
        }
    }
    for dir in tree.dirs.values_mut() {
        dir.visible.clone_from(&dir.durable);
    }
    for file in tree.files.values_mut() {
        settle(file, &mut dice);
    }
    tree.forget_handles();
    tree.sweep();
}

/// Applies a choice of a file's unsynced changes to its durable contents.
fn settle(file: &mut FileInode, dice: &mut SplitMix64) {
    let changes = std::mem::take(&mut file.pending);
    let kept = choose(dice, changes.len());
    let tear = dice.index(2) == 0;
    for (change, kept) in changes.iter().zip(kept) {
        match change {
            ContentChange::Write { offset, bytes } if tear && dice.index(2) == 0 => {
                write_torn(&mut file.durable, *offset, bytes, dice);
            }
            change if kept => change.apply(&mut file.durable),
            _ => {}
        }
    }
    file.visible.clone_from(&file.durable);
}

/// Which of `n` changes, oldest first, survive: none, all, the oldest ones, or any.
fn choose(dice: &mut SplitMix64, n: usize) -> Vec<bool> {
    match dice.index(4) {
        0 => vec![false; n],
        1 => vec![true; n],
        2 => {
            let end = dice.index(n + 1);
            (0..n).map(|i| i < end).collect()
        }
        _ => (0..n).map(|_| dice.index(2) == 0).collect(),
    }
}

/// Stores a part of a write: up to some byte, some of its pages or sectors, or nothing but its length.
fn write_torn(contents: &mut Contents, offset: usize, bytes: &[u8], dice: &mut SplitMix64) {
    let unit = match dice.index(4) {
        0 => {
            let end = dice.index(bytes.len() + 1);
            return contents.write_at(&bytes[..end], offset);
        }
        1 => return contents.set_len(contents.len().max(offset + bytes.len())),
        2 => SECTOR,
        _ => PAGE,
    };
    let mut start = 0;
    while start < bytes.len() {
        let end = bytes.len().min(start + unit - (offset + start) % unit);
        if dice.index(2) == 0 {
            contents.write_at(&bytes[start..end], offset + start);
        }
        start = end;
    }
}
