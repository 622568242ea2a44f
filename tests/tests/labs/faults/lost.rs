//! The store, or the lock, lost in the middle of an apply.

use crate::faults::fleet::{Fleet, WAIT, servers, start_on, wait};
use crate::faults::running::Running;
use drover_tests::lab::{Hold, Store};
use nix::sys::signal::Signal;
use std::time::Duration;

const ADDRESS: &str = "server.web[0]";

/// Every agent's next create goes on when it is let go; the image comes before it.
fn held_creates(fleet: &Fleet<'_>) -> Vec<Hold> {
    fleet.hold_agents("after-began", 1)
}

#[test]
fn a_store_that_is_lost_in_mid_apply() {
    let lab = start_on(Store::Etcd, 3);
    let fleet = Fleet::new(&lab, Store::Etcd);
    fleet.configure(&[], &servers(1, ""));
    let held = held_creates(&fleet);
    let mut running = Running::start(fleet.logged(&["apply", "--auto-approve"]));
    running.wait_for("verb=\"create\"", WAIT);
    running.wait_for("step=\"running\"", WAIT);
    lab.etcd().stop_member(1).expect("etcd can be killed");
    // The create is held for longer than a lock lives without its store.
    let ended = running.finish(WAIT).expect(5);
    let text = ended.text();
    for words in [
        "Error: the lock was lost (the store does not answer: it could not be renewed for 15 s)",
        "run `drover plan` to see what is left",
    ] {
        assert!(
            text.to_lowercase().contains(&words.to_lowercase()),
            "{words}: {text}"
        );
    }
    drop(held);
    wait("the agent's own end of what it had begun", || {
        (fleet.domain_count() == 1).then_some(())
    });
    // Without a store nothing is known, and nothing is done.
    let plan = fleet.drover(1, &["plan"]);
    assert!(plan.stderr.contains("etcd"), "{}", plan.stderr);

    lab.etcd().start_member(1).expect("etcd comes back");
    fleet.apply();
    fleet.expect_settled(&[ADDRESS]);
}

#[test]
fn a_lock_that_is_lost_in_mid_apply() {
    let lab = start_on(Store::Etcd, 3);
    let fleet = Fleet::new(&lab, Store::Etcd);
    fleet.configure(&[], &servers(2, ""));
    let held = held_creates(&fleet);
    let mut first = Running::start(fleet.logged(&["apply", "--auto-approve", "--parallelism", "1"]));
    first.wait_for("verb=\"create\"", WAIT);
    first.wait_for("step=\"running\"", WAIT);
    // Frozen for longer than its lease lives, as a laptop that sleeps.
    first.signal(Signal::SIGSTOP);
    drop(held);
    let second = fleet.apply();
    assert!(
        second.took > Duration::from_secs(5),
        "it waited for the lease: {:?}",
        second.took
    );
    fleet.expect_settled(&["server.web[0]", "server.web[1]"]);
    let before: Vec<_> = lab.hosts().iter().map(crate::faults::fleet::domains).collect();
    let keys = fleet.keys();

    first.signal(Signal::SIGCONT);
    let ended = first.finish(WAIT).expect(5);
    assert!(ended.text().contains("the lock was lost"), "{}", ended.text());
    assert_eq!(fleet.keys(), keys, "it wrote nothing more");
    let after: Vec<_> = lab.hosts().iter().map(crate::faults::fleet::domains).collect();
    assert_eq!(after, before, "it made nothing more");
    fleet.expect_settled(&["server.web[0]", "server.web[1]"]);
}
