//! The shortest sequence that still differs.

use super::ops::Op;

/// Removes steps, in ever smaller pieces, as long as what is left still differs; then makes the steps left plainer.
pub(super) fn shrink(ops: &[Op], still_differs: &mut dyn FnMut(&[Op]) -> bool) -> Vec<Op> {
    let mut ops = ops.to_vec();
    let mut piece = (ops.len() / 2).max(1);
    loop {
        let mut removed = false;
        // From the end: later steps lean on earlier ones.
        let mut end = ops.len();
        while end > 0 {
            let start = end.saturating_sub(piece);
            let shorter = [&ops[..start], &ops[end..]].concat();
            if !shorter.is_empty() && still_differs(&shorter) {
                ops = shorter;
                removed = true;
            }
            end = start;
        }
        if piece == 1 && !removed {
            break;
        }
        piece = (piece / 2).max(1);
    }
    for index in 0..ops.len() {
        for plainer in ops[index].plainer() {
            let mut simpler = ops.clone();
            simpler[index] = plainer;
            if still_differs(&simpler) {
                ops = simpler;
            }
        }
    }
    ops
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(group: u8, version: i16) -> Op {
        Op::Beat { group, member: 0, generation: 0, version }
    }

    #[test]
    fn finds_the_two_steps_that_matter() {
        let ops: Vec<Op> = (0..50).map(|group| beat(group, 3)).collect();
        let matters = |ops: &[Op]| {
            let at =
                |wanted| ops.iter().position(|op| matches!(op, Op::Beat { group, .. } if *group == wanted));
            matches!((at(7), at(31)), (Some(one), Some(other)) if one < other)
        };
        let short = shrink(&ops, &mut |ops| matters(ops));
        assert_eq!(short.len(), 2, "{short:?}");
        assert!(matters(&short));
    }

    #[test]
    fn keeps_what_cannot_be_left_out() {
        let ops = vec![beat(1, 3)];
        assert_eq!(shrink(&ops, &mut |ops| ops.len() == 1 && ops[0] == beat(1, 3)), ops);
    }
}
