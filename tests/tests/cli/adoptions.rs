//! Adoptions that a restart of the agent or a libvirt that goes away interrupts: they are finished, taken back or not
//! begun, and whoever asked hears which.

use crate::fake_hosts::Fleet;
use crate::imports::{ID, IMPORT, SERVER, fleet, is_settled, seen};
use crate::run::{PATIENCE, Ran};
use drover_agent::hypervisor::{AdoptionCall, FakeHypervisor, Hypervisor as _};
use drover_tests::lab::poll_until;
use drover_types::ServerId;
use std::fs::File;
use std::process::{Child, Stdio};
use std::sync::Arc;

/// An apply whose adoption is held at a call.
struct Held {
    fleet: Fleet,
    child: Child,
    hypervisor: Arc<FakeHypervisor>,
}

impl Held {
    fn at(call: AdoptionCall) -> Self {
        let fleet = fleet(&[SERVER, IMPORT]);
        let hypervisor = Arc::clone(&fleet.hosts[0].hypervisor);
        hypervisor.set_autostart(server(), true).expect("set");
        hypervisor.hold_adoptions(Some(call));
        let create = |name: &str| File::create(fleet.path(name)).expect("made");
        let child = fleet
            .command(&["apply", "--auto-approve"])
            .stdout(create("stdout"))
            .stderr(create("stderr"))
            .stdin(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut one = Self {
            fleet,
            child,
            hypervisor,
        };
        let held = poll_until("the adoption's call", PATIENCE, || {
            (one.hypervisor.held() > 0).then_some(())
        });
        if let Err(error) = held {
            one.hypervisor.hold_adoptions(None);
            drop(one.child.kill());
            panic!("{error}: {}{}", one.read("stdout"), one.read("stderr"));
        }
        one
    }

    /// Stops the agent there: the call is lost.
    fn interrupted(mut self) -> Self {
        self.fleet.host_named("n1").stop();
        self.lose();
        self
    }

    fn lose(&self) {
        self.hypervisor.lose_held();
        self.hypervisor.hold_adoptions(None);
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.fleet.path(name)).expect("text")
    }

    fn autostart(&self) -> bool {
        self.hypervisor.autostart(server()).expect("an answer")
    }

    fn is_marked(&self) -> bool {
        let domain = seen(&self.fleet).expect("it is there");
        let marks = [&domain.live_xml, &domain.persistent_xml].map(|xml| {
            let xml = xml.as_ref().expect("it runs and is defined");
            xml.contains("<drover:address>server.old<")
        });
        assert_eq!(marks[0], marks[1]);
        marks[0]
    }

    /// What the host keeps of a domain that was taken over.
    fn is_kept(&self) -> bool {
        self.fleet.path(&format!("n1/imported/{ID}/server.json")).exists()
    }

    fn start(&mut self) {
        self.fleet.host_named("n1").start();
    }

    /// How the apply ended.
    fn ended(&mut self) -> Ran {
        let ended = poll_until("the end", PATIENCE, || self.child.try_wait().expect("a child"));
        let ended = ended.unwrap_or_else(|error| {
            drop(self.child.kill());
            panic!("{error}: {}{}", self.read("stdout"), self.read("stderr"));
        });
        let ran = Ran {
            status: ended.code().expect("it was not killed"),
            stdout: self.read("stdout"),
            stderr: self.read("stderr"),
        };
        self.fleet.clean(&ran)
    }
}

fn server() -> ServerId {
    ServerId::from_uuid(ID)
}

#[test]
fn one_that_had_written_its_record_is_finished_and_knows_what_was_there_before() {
    let mut one = Held::at(AdoptionCall::Mark).interrupted();
    assert!(one.is_kept() && !one.autostart() && !one.is_marked());
    one.start();
    one.ended().exits(0).says("1 imported");
    assert!(one.is_marked() && !one.autostart());
    is_settled(&one.fleet);
    // As it was found, before the first of the two agents turned it off.
    let forget = "removed {\n  from = server.old\n  lifecycle {\n    destroy = false\n  }\n}\n";
    one.fleet.write("old.hcl", forget);
    one.fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert!(one.autostart() && !one.is_marked());
}

#[test]
fn one_that_had_written_nothing_is_not_begun_and_can_be_asked_for_again() {
    let mut one = Held::at(AdoptionCall::Definition).interrupted();
    one.start();
    one.ended()
        .exits(5)
        .says("the agent was restarted before it took over server <id>; its domain is as it was");
    assert!(one.autostart() && !one.is_marked() && !one.is_kept());
    one.fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says("1 imported");
    is_settled(&one.fleet);
}

#[test]
fn one_whose_domain_was_changed_meanwhile_is_taken_back() {
    let mut one = Held::at(AdoptionCall::Mark).interrupted();
    let mut altered = seen(&one.fleet).expect("it is there");
    altered.vcpus = 2;
    one.hypervisor.put(altered);
    one.start();
    one.ended()
        .exits(5)
        .says("expected a domain of the size that was planned with");
    assert!(one.autostart() && !one.is_marked() && !one.is_kept());
}

#[test]
fn one_that_finds_no_libvirt_waits_for_it() {
    let mut one = Held::at(AdoptionCall::Mark).interrupted();
    one.hypervisor.set_away(true);
    one.start();
    // The agent is at work again by then, and has nothing to look at.
    let plan = one.fleet.drover(&["plan"]).exits(1);
    plan.says("host n1 cannot report");
    one.hypervisor.set_away(false);
    one.ended().exits(0).says("1 imported");
    assert!(one.is_marked() && !one.autostart());
    is_settled(&one.fleet);
}

#[test]
fn one_that_fails_since_libvirt_went_away_is_taken_back_once_it_is_there() {
    let mut one = Held::at(AdoptionCall::Mark);
    one.hypervisor.set_away(true);
    one.lose();
    let plan = one.fleet.drover(&["plan"]).exits(1);
    plan.says("host n1 cannot report");
    one.hypervisor.set_away(false);
    one.ended().exits(5);
    assert!(one.autostart() && !one.is_marked() && !one.is_kept());
    one.fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says("1 imported");
    is_settled(&one.fleet);
}
