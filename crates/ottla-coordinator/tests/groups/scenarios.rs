//! Runs the scenario files of groups (`trace` says what they are).

use crate::trace;
use crate::world::command::Scene;

#[test]
fn scenarios_produce_their_traces() {
    trace::check("scenarios", || {
        let mut scene = Scene::new();
        move |command: &str| scene.run(command)
    });
}
