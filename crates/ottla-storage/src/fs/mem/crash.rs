//! What a crash leaves of a [`MemFs`](super::MemFs): everything durable, and a seeded choice of the rest.

use super::contents::{Contents, PAGE};
use super::tree::{ContentChange, FileInode, Tree};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Turns the visible state into what would be found after a crash, by the seed's choice.
pub(super) fn crash(tree: &mut Tree, seed: u64) {
    let mut dice = Dice(seed);
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
fn settle(file: &mut FileInode, dice: &mut Dice) {
    let changes = std::mem::take(&mut file.pending);
    let kept = choose(dice, changes.len());
    let tear = dice.below(2) == 0;
    for (change, kept) in changes.iter().zip(kept) {
        match change {
            ContentChange::Write { offset, bytes } if tear && dice.below(2) == 0 => {
                write_torn(&mut file.durable, *offset, bytes, dice);
            }
            change if kept => change.apply(&mut file.durable),
            _ => {}
        }
    }
    file.visible.clone_from(&file.durable);
}

/// Which of `n` changes, oldest first, survive: none, all, the oldest ones, or any.
fn choose(dice: &mut Dice, n: usize) -> Vec<bool> {
    match dice.below(4) {
        0 => vec![false; n],
        1 => vec![true; n],
        2 => {
            let end = dice.below(n + 1);
            (0..n).map(|i| i < end).collect()
        }
        _ => (0..n).map(|_| dice.below(2) == 0).collect(),
    }
}

/// Stores a part of a write: up to some byte, some of its pages or sectors, or nothing but its length.
fn write_torn(contents: &mut Contents, offset: usize, bytes: &[u8], dice: &mut Dice) {
    let unit = match dice.below(4) {
        0 => {
            let end = dice.below(bytes.len() + 1);
            return contents.write_at(&bytes[..end], offset);
        }
        1 => return contents.set_len(contents.len().max(offset + bytes.len())),
        2 => SECTOR,
        _ => PAGE,
    };
    let mut start = 0;
    while start < bytes.len() {
        let end = bytes.len().min(start + unit - (offset + start) % unit);
        if dice.below(2) == 0 {
            contents.write_at(&bytes[start..end], offset + start);
        }
        start = end;
    }
}

/// SplitMix64: enough chance for a test, the same on every machine.
struct Dice(u64);

impl Dice {
    /// A number below `n`, which is not 0.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % (n as u64)).expect("below a usize")
    }
}
