//! Runs the scenario files of transactions (`trace` says what they are, `transaction_world` which commands there are).

use crate::trace;
use crate::transaction_world::World;

#[test]
fn scenarios_produce_their_traces() {
    trace::check("transaction_scenarios", || {
        let mut world = World::new();
        move |command: &str| world.run(command)
    });
}
