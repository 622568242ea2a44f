//! Ctrl-C once and twice, and an agent that dies or has no room in the middle of a create.

use crate::faults::fleet::{Fleet, WAIT, domains, files, servers, start, start_on, wait};
use crate::faults::running::Running;
use drover_tests::lab::{Etcd, Store};
use nix::sys::signal::Signal;

const ADDRESSES: [&str; 3] = ["server.web[0]", "server.web[1]", "server.web[2]"];

fn one_interrupt_stops_and_two_detach(store: Store) {
    let lab = start_on(store, 3);
    let fleet = Fleet::new(&lab, store);
    let apply = ["apply", "--auto-approve", "--parallelism", "1"];

    // The image is on every host before; the first create on each is held.
    fleet.configure(&[], &servers(3, ""));
    fleet.apply();
    let held = fleet.hold_agents("after-began", 0);
    fleet.configure(&[], &servers(6, ""));
    let mut running = Running::start(fleet.logged(&apply));
    running.wait_for_step("create/running", WAIT);
    running.signal(Signal::SIGINT);
    running.wait_for("Stopping: nothing new is begun", WAIT);
    drop(held);
    let ended = running.finish(WAIT).expect(5);
    for words in [
        "Interrupted: what had begun was finished and recorded",
        "Not begun:",
        "server.web[5]: the apply was stopped",
    ] {
        assert!(ended.text().contains(words), "{words}: {}", ended.text());
    }
    assert_eq!(fleet.domain_count(), 4, "what had begun was finished");

    // The second does not wait for the agent, which goes on.
    let held = fleet.hold_agents("after-began", 0);
    let mut running = Running::start(fleet.logged(&apply));
    running.wait_for_step("create/running", WAIT);
    running.signal(Signal::SIGINT);
    running.wait_for("Stopping", WAIT);
    running.signal(Signal::SIGINT);
    let ended = running.finish(WAIT).expect(5);
    assert_eq!(fleet.domain_count(), 4, "it did not wait for the agent");
    assert!(
        ended
            .text()
            .contains("Detached: the agent goes on with 1 operation"),
        "{}",
        ended.text()
    );
    drop(held);
    wait("the agent's own end of the create", || {
        (fleet.domain_count() == 5).then_some(())
    });
    fleet.apply();
    let addresses: Vec<String> = (0..6).map(|index| format!("server.web[{index}]")).collect();
    fleet.expect_settled(&addresses.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn one_interrupt_stops_and_two_detach_in_etcd() {
    one_interrupt_stops_and_two_detach(Store::Etcd);
}

#[test]
fn one_interrupt_stops_and_two_detach_in_the_embedded_store() {
    one_interrupt_stops_and_two_detach(Store::Local);
}

fn an_agent_killed_in_a_create_finishes_it_when_it_is_back(store: Store) {
    let lab = start_on(store, 3);
    let fleet = Fleet::new(&lab, store);
    let n1 = lab.host("n1");
    fleet.configure(&[], &servers(3, ""));
    for failpoint in ["after-began", "before-finished"] {
        n1.stop_agent().expect("the agent ends when asked to");
        let held = n1.hold(failpoint, 1).expect("the lab can be written");
        n1.start_agent_held(&[&held]).expect("the agent is back");
        let mut running = Running::start(fleet.logged(&["apply", "--auto-approve"]));
        // One on each host; that of n1 is held.
        for _ in 0..3 {
            running.wait_for_step("create/running", WAIT);
        }
        n1.kill_agent().expect("the agent can be killed");
        n1.start_agent().expect("the agent is back");
        held.let_go();
        let ended = running.finish(WAIT);
        println!(
            "{failpoint}: drover ended with {:?}\n{}",
            ended.code,
            ended.text()
        );
        // It asks the agent that is back, and hears how the create ended.
        assert!(matches!(ended.code, Some(0 | 5)), "it ends by itself");
        fleet.apply();
        fleet.expect_settled(&ADDRESSES);
        fleet.destroy();
        fleet.expect_nothing_left();
    }
}

#[test]
fn an_agent_killed_in_a_create_finishes_it_when_it_is_back_in_etcd() {
    an_agent_killed_in_a_create_finishes_it_when_it_is_back(Store::Etcd);
}

#[test]
fn an_agent_killed_in_a_create_finishes_it_when_it_is_back_in_the_embedded_store() {
    an_agent_killed_in_a_create_finishes_it_when_it_is_back(Store::Local);
}

#[test]
fn a_full_disk_is_named_and_nothing_stays_half_done() {
    let lab = start(1, Etcd::None);
    let fleet = Fleet::new(&lab, Store::Local);
    let n1 = lab.host("n1");
    fleet.configure(&[], &servers(2, ""));
    n1.stop_agent().expect("the agent ends when asked to");
    let data = "/var/lib/libvirt/drover";
    n1.run("mount", ["-t", "tmpfs", "-o", "size=64m", "tmpfs", data])
        .expect("tmpfs can be mounted");
    n1.start_agent().expect("the agent is back");
    fleet.drover(0, &["plan", "--out", "plan.bin"]);
    // Full between plan and apply: a planner that knew would not have chosen the host.
    n1.run("sh", ["-c", &format!("cat /dev/zero > {data}/ballast || true")])
        .expect("the ballast can be written");
    let ended = fleet.drover(5, &["apply", "plan.bin"]);
    let said = ended.stderr.to_lowercase();
    assert!(
        said.contains("no space left") || said.contains("room"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("n1"), "{}", ended.stderr);
    assert!(domains(n1).is_empty());
    let left = n1
        .run(
            "find",
            [
                &format!("{data}/images"),
                &format!("{data}/servers"),
                "-type",
                "f",
            ],
        )
        .expect("find runs");
    assert_eq!(left.trim(), "", "files of what failed");

    n1.run("rm", [&format!("{data}/ballast")])
        .expect("the ballast can be removed");
    fleet.drover(0, &["apply", "--auto-approve", "--retry-all"]);
    fleet.expect_no_changes();
    assert_eq!(domains(n1).len(), 2);
    assert!(
        files(n1, "servers").is_empty(),
        "the data is on the tmpfs, not seen from outside"
    );
    n1.stop_agent().expect("the agent ends when asked to");
}
