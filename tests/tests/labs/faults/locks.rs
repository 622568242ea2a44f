//! Two that want to change one fleet, and plans that are no longer true.

use crate::faults::fleet::{Fleet, WAIT, servers, start_on, wait};
use crate::faults::running::Running;
use drover_tests::lab::Store;

fn two_applies_at_once_and_a_stale_plan(store: Store) {
    let lab = start_on(store, 3);
    let fleet = Fleet::new(&lab, store);

    // The first holds the lock while its first operation is held.
    let held = fleet.hold_agents("after-began", 0);
    fleet.configure(&[], &servers(1, ""));
    fleet.drover(0, &["plan", "--out", "one.bin"]);
    let mut first = Running::start(fleet.logged(&["apply", "one.bin"]));
    first.wait_for("step=", WAIT);

    let second = fleet.drover(3, &["apply", "--auto-approve"]);
    for words in ["locked", "has held the lock for apply since", "--lock-timeout"] {
        assert!(second.stderr.contains(words), "{words}: {}", second.stderr);
    }
    // Reading needs no lock.
    fleet.drover(0, &["state", "list"]);
    let waiting = Running::start(fleet.logged(&["apply", "--auto-approve", "--lock-timeout", "60s"]));
    drop(held);
    first.finish(WAIT).expect(0);
    waiting.finish(WAIT).expect(0);
    fleet.expect_settled(&["server.web[0]"]);

    // A plan made before somebody else's change is refused, and so is one that was changed itself.
    fleet.configure(&[], &servers(2, ""));
    fleet.drover(0, &["plan", "--out", "two.bin"]);
    fleet.configure(&[], &servers(3, ""));
    fleet.apply();
    fleet.configure(&[], &servers(2, ""));
    let keys = fleet.keys();
    let stale = fleet.drover(4, &["apply", "two.bin"]);
    assert!(stale.stderr.contains("stale"), "{}", stale.stderr);
    let path = fleet.workspace.directory().join("two.bin");
    let mut bytes = std::fs::read(&path).expect("the plan is there");
    let last = bytes.len() / 2;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).expect("the plan can be written");
    fleet.drover(4, &["apply", "two.bin"]);
    assert_eq!(fleet.keys(), keys, "a refused plan changes nothing");
    wait("the domains of all three", || {
        (fleet.domain_count() == 3).then_some(())
    });
}

#[test]
fn two_applies_at_once_and_a_stale_plan_in_etcd() {
    two_applies_at_once_and_a_stale_plan(Store::Etcd);
}

#[test]
fn two_applies_at_once_and_a_stale_plan_in_the_embedded_store() {
    two_applies_at_once_and_a_stale_plan(Store::Local);
}
