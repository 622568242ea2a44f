//! Hosts that answer and cannot, and hosts that do not answer.

use crate::faults::fleet::{Fleet, TINY, domains, files, servers, start_on};
use drover_tests::lab::{BROKEN_QEMU, Host, Lab, Store};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;

fn two(first: &str, second: &str) -> String {
    let server =
        |name: &str| format!("server \"{name}\" {{\n  flavor = flavor.tiny\n  image  = image.blank\n}}\n");
    let second = if second.is_empty() {
        String::new()
    } else {
        server(second)
    };
    format!("{TINY}\n{}\n{second}", server(first))
}

fn a_host_whose_qemu_does_not_start_is_passed_over(store: Store) {
    let lab = start_on(store, 3);
    let fleet = Fleet::new(&lab, store);
    let n1 = lab.host("n1");
    n1.break_qemu().expect("qemu can be broken");
    fleet.configure(&[], &two("one", ""));
    let plan = fleet.drover(0, &["plan"]);
    assert!(plan.stdout.contains("will be created on n1"), "{}", plan.stdout);

    // The alternate of the plan.
    let applied = fleet.apply();
    assert!(applied.stderr.contains("n1 could not"), "{}", applied.stderr);
    assert!(applied.stderr.contains("trying n2"), "{}", applied.stderr);
    assert!(applied.stderr.contains(BROKEN_QEMU), "{}", applied.stderr);
    assert_eq!(fleet.server("server.one").1, "n2");
    assert_eq!(domains(n1), BTreeSet::new(), "nothing stays on n1");
    assert_eq!(files(n1, "servers"), BTreeSet::new(), "nothing stays on n1");
    fleet.expect_no_changes();

    // Where there is no alternate the server is recorded as tried, and the next plan says so.
    let disabled = "state = \"disabled\"";
    fleet.configure(&[("n2", disabled), ("n3", disabled)], &two("one", "two"));
    fleet.drover(5, &["apply", "--auto-approve"]);
    let plan = fleet.drover(1, &["plan", "--explain", "--detailed-exitcode"]);
    for words in ["RetryFilter", "n1", "server.two"] {
        assert!(plan.stdout.contains(words), "{words}: {}", plan.stdout);
    }
    // With all hosts again the one that failed is avoided; of the others n3 has more room.
    fleet.configure(&[], &two("one", "two"));
    let plan = fleet.drover(0, &["plan", "--explain"]);
    assert!(
        plan.stdout.contains("server.two will be created on n3"),
        "{}",
        plan.stdout
    );
    assert!(
        plan.stdout.contains("n1  retry: refused this server before"),
        "{}",
        plan.stdout
    );
    fleet.apply();
    assert_eq!(fleet.server("server.two").1, "n3");
    fleet.expect_no_changes();
}

#[test]
fn a_host_whose_qemu_does_not_start_is_passed_over_in_etcd() {
    a_host_whose_qemu_does_not_start_is_passed_over(Store::Etcd);
}

#[test]
fn a_host_whose_qemu_does_not_start_is_passed_over_in_the_embedded_store() {
    a_host_whose_qemu_does_not_start_is_passed_over(Store::Local);
}

/// Why a host does not answer.
#[derive(Debug, Clone, Copy)]
enum Silence {
    /// Its agent was killed: connections are refused.
    Killed,
    /// Its agent is frozen: connections are taken and nothing is said on them.
    Frozen,
    /// Nothing it sends or is sent arrives.
    CutOff,
}

impl Silence {
    fn begin(self, lab: &Lab, host: &Host) {
        match self {
            Self::Killed => host.kill_agent(),
            Self::Frozen => host.kill("agent", Signal::SIGSTOP),
            Self::CutOff => lab.cut_off(host.name()),
        }
        .expect("a host can be silenced");
    }

    fn end(self, lab: &Lab, host: &Host) {
        match self {
            Self::Killed => host.start_agent(),
            Self::Frozen => host.kill("agent", Signal::SIGCONT),
            Self::CutOff => lab.heal(),
        }
        .expect("a host can speak again");
    }
}

fn nothing_is_planned_on_a_host_that_does_not_answer(store: Store) {
    let lab = start_on(store, 3);
    let fleet = Fleet::new(&lab, store);
    fleet.configure(&[], &servers(3, ""));
    fleet.apply();
    let addresses = ["server.web[0]", "server.web[1]", "server.web[2]"];
    fleet.expect_settled(&addresses);
    let found = addresses
        .into_iter()
        .find(|address| fleet.server(address).1 == "n2");
    let silent = found.expect("one server on each host");
    let n2 = lab.host("n2");

    for silence in [Silence::Killed, Silence::Frozen, Silence::CutOff] {
        fleet.configure(&[], &servers(3, ""));
        println!("--- {silence:?}");
        silence.begin(&lab, n2);
        // All is as declared, as far as it can be seen, and that is not enough for a success.
        let plan = fleet.drover(1, &["plan", "--detailed-exitcode"]);
        let said = format!("{}{}", plan.stdout, plan.stderr);
        assert!(
            said.contains("n2") && said.contains("--allow-unreachable"),
            "{silence:?}: {said}"
        );
        fleet.drover(1, &["apply", "--auto-approve"]);
        let accepted = fleet.drover(0, &["plan", "--detailed-exitcode", "--allow-unreachable", "n2"]);
        assert!(accepted.stdout.contains("No changes"), "{}", accepted.stdout);

        // New servers go elsewhere; what is there stays, even where the host is to be drained.
        fleet.configure(&[("n2", "state = \"drain\"")], &servers(5, ""));
        let plan = fleet.drover(0, &["plan", "--allow-unreachable", "n2"]);
        assert!(
            plan.stdout.contains("server.web[4] will be created on"),
            "{}",
            plan.stdout
        );
        assert!(!plan.stdout.contains("created on n2"), "{}", plan.stdout);
        assert!(
            !plan.stdout.contains(&format!("{silent} will")),
            "{}",
            plan.stdout
        );
        silence.end(&lab, n2);
        fleet.configure(&[], &servers(3, ""));
        fleet.expect_no_changes();
    }

    lab.cut_off("n2").expect("a host can be cut off");
    fleet.configure(&[], &servers(5, ""));
    fleet.drover(5, &["apply", "--auto-approve"]);
    for address in ["server.web[3]", "server.web[4]"] {
        assert_ne!(fleet.server(address).1, "n2");
    }
    assert_eq!(fleet.server(silent).1, "n2", "it stays where it is");
    assert_eq!(domains(n2).len(), 1);
    lab.heal().expect("wires can be healed");
    fleet.expect_no_changes();
}

#[test]
fn nothing_is_planned_on_a_host_that_does_not_answer_in_etcd() {
    nothing_is_planned_on_a_host_that_does_not_answer(Store::Etcd);
}

#[test]
fn nothing_is_planned_on_a_host_that_does_not_answer_in_the_embedded_store() {
    nothing_is_planned_on_a_host_that_does_not_answer(Store::Local);
}
