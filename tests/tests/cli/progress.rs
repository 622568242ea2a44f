//! How an apply goes on, and how it is interrupted: while an operation takes its time, on a terminal and without one.

use crate::fake_hosts::Fleet;
use crate::run::{PATIENCE, Ran};
use drover_tests::lab::poll_until;
use drover_types::PowerState;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::process::{Child, Stdio};

const SERVERS: &str = r#"
server "first" {
  flavor = flavor.small
  image  = image.guest
}
server "second" {
  flavor     = flavor.small
  image      = image.guest
  depends_on = [server.first]
}
"#;

/// An apply whose first start does not end until it may.
struct Held {
    fleet: Fleet,
    child: Child,
}

/// Where a test fails in the middle: nobody waits for a command or a start that never ends.
fn end_all(fleet: &Fleet, child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
    fleet.hosts[0].hypervisor.hold_starts(false);
}

impl Held {
    fn start(arguments: &[&str]) -> Self {
        let fleet = Fleet::start(&[4096]);
        fleet.write("servers.hcl", SERVERS);
        fleet.hosts[0].hypervisor.hold_starts(true);
        let create = |name: &str| File::create(fleet.path(name)).expect("made");
        let child = fleet
            .command(arguments)
            .stdout(create("stdout"))
            .stderr(create("stderr"))
            .stdin(Stdio::null())
            .spawn()
            .expect("the binary starts");
        Self { fleet, child }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.fleet.path(name)).expect("text")
    }

    fn wait_for(&self, name: &str, text: &str) {
        let seen = poll_until(format!("{text:?} in {name}"), PATIENCE, || {
            self.read(name).contains(text).then_some(())
        });
        self.or_end(seen);
    }

    /// The agent has the request and is at the start of the guest: only then does it go on without a command.
    fn wait_for_agent(&self) {
        let there = || (!self.fleet.hosts[0].hypervisor.all().is_empty()).then_some(());
        self.or_end(poll_until("the agent's start of the guest", PATIENCE, there));
    }

    fn or_end<E: std::fmt::Display>(&self, seen: Result<(), E>) {
        if let Err(error) = seen {
            self.let_go();
            panic!("{error}: {}{}", self.read("stdout"), self.read("stderr"));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("it runs");
    }

    fn let_go(&self) {
        self.fleet.hosts[0].hypervisor.hold_starts(false);
    }

    fn end(mut self) -> (Fleet, Ran) {
        let ended = poll_until("the end", PATIENCE, || self.child.try_wait().expect("a child"));
        let ended = ended.unwrap_or_else(|error| {
            end_all(&self.fleet, &mut self.child);
            panic!("{error}: {}{}", self.read("stdout"), self.read("stderr"));
        });
        let ran = Ran {
            status: ended.code().expect("it was not killed"),
            stdout: self.read("stdout"),
            stderr: self.read("stderr"),
        };
        // Whatever still waits must not wait for ever.
        self.let_go();
        let ran = self.fleet.clean(&ran);
        (self.fleet, ran)
    }
}

fn settles(fleet: &Fleet) {
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes.");
    assert_eq!(fleet.hosts[0].hypervisor.all().len(), 2);
}

#[test]
fn what_takes_long_is_mentioned_every_ten_seconds() {
    let held = Held::start(&["apply", "--auto-approve", "--json-into", "events"]);
    held.wait_for("stderr", "server.first: Creating on n1...");
    // It is looked at once a second whether ten have passed.
    held.wait_for("stderr", "server.first: Still creating... [1");
    held.wait_for("stderr", "s elapsed, host=n1");
    held.wait_for("project/events", "\"apply_progress\"");
    held.let_go();
    let (_, ran) = held.end();
    let ran = ran.exits(0);
    let lines: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("server.first: Creation complete after "))
        .collect();
    let [complete] = lines.as_slice() else {
        panic!("{}", ran.text());
    };
    let (_, took) = complete.split_once(" after ").expect("as asked for");
    assert_ne!(
        took.chars().nth(1),
        Some('s'),
        "not less than ten: {}",
        ran.text()
    );
}

#[test]
fn the_first_interrupt_finishes_what_runs() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let held = Held::start(&["apply", "--auto-approve"]);
        held.wait_for("stderr", "server.first: Creating on n1...");
        held.signal(signal);
        held.wait_for("stderr", "Stopping: nothing new is begun");
        held.let_go();
        let (fleet, ran) = held.end();
        let ran = ran.exits(5);
        let told = ran.stderr.split("Creation complete").nth(1).unwrap_or_default();
        assert!(told.contains("Not begun:\n  server.second"), "{}", ran.text());
        let shown = ran
            .stderr
            .split_once("Not begun:")
            .map(|(_, rest)| rest)
            .unwrap_or_default();
        if signal == Signal::SIGINT {
            insta::assert_snapshot!(format!("{}\n---{}", ran.stdout.trim(), shown), @r#"
            Drover will perform the following actions. They are marked so:
              + create

              # server.first will be created on n1
              # host: n1, the only host that fits
              + server "first" {
                  + disk           = "8MiB"
                  + flavor         = "flavor.small"
                  + host           = "n1"
                  + id             = "<id>"
                  + image          = "image.guest"
                  + image_checksum = "sha256:631b84027d6b…"
                  + name           = "first"
                  + power          = "on"
                  + ram            = "512MiB"
                  + vcpus          = 1
                }

              # server.second will be created on n1
              # host: n1, the only host that fits
              + server "second" {
                  + disk           = "8MiB"
                  + flavor         = "flavor.small"
                  + host           = "n1"
                  + id             = "<id>"
                  + image          = "image.guest"
                  + image_checksum = "sha256:631b84027d6b…"
                  + name           = "second"
                  + power          = "on"
                  + ram            = "512MiB"
                  + vcpus          = 1
                }

              # image.guest will be fetched to n1

              # written down, no host is touched:
              + host.n1
              + flavor.small
              + image.guest

            Plan: 2 to create, 0 to update, 0 to destroy. 3 records to write.

            Apply ended in part. 1 created, 0 updated, 0 destroyed.
            ---
              server.second: the apply was stopped

            Interrupted: what had begun was finished and recorded.

            What is done is recorded. Run `drover plan` to see what is left, and `drover apply` to go on.
            "#);
        }
        settles(&fleet);
    }
}

#[test]
fn the_second_interrupt_detaches() {
    let held = Held::start(&["apply", "--auto-approve"]);
    held.wait_for("stderr", "server.first: Creating on n1...");
    // Said when the request is sent; one that is detached from before it arrived is for the next apply to settle.
    held.wait_for_agent();
    held.signal(Signal::SIGINT);
    held.wait_for("stderr", "Stopping: nothing new is begun");
    held.signal(Signal::SIGINT);
    let (fleet, ran) = held.end();
    let ran = ran.exits(5).says("Detached: the agent goes on with 1 operation");
    let told = ran.stderr.find("Stopping:").map(|at| &ran.stderr[at..]);
    insta::assert_snapshot!(told.unwrap_or_default());
    let went_on = poll_until("the agent's own end", PATIENCE, || {
        let all = fleet.hosts[0].hypervisor.all();
        all.iter()
            .any(|domain| domain.state.power == PowerState::Running)
            .then_some(())
    });
    went_on.expect("it started the guest without a command");
    settles(&fleet);
}

/// The text with who began the apply and when hidden, and in one line: names are of different lengths.
fn begun_hidden(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let joined = words.join(" ");
    let (before, rest) = joined.split_once("left open: apply by ").expect("who it was");
    let (_, after) = rest.split_once(", begun ").expect("since when");
    let first = before.find("# server.first").expect("what it is about");
    format!("{}left open: apply by <who>, begun {after}", &before[first..])
}

#[test]
fn one_that_was_killed_is_gone_on_with() {
    let held = Held::start(&["apply", "--auto-approve"]);
    held.wait_for("stderr", "server.first: Creating on n1...");
    held.signal(Signal::SIGKILL);
    let Held { fleet, mut child } = held;
    child.wait().expect("a child");
    fleet.hosts[0].hypervisor.hold_starts(false);
    // The lock of the embedded store dies with its process; the journal knows what was begun.
    let ran = fleet.drover(&["plan"]).exits(0);
    insta::assert_snapshot!(begun_hidden(&ran.stdout));
    settles(&fleet);
}

#[test]
fn bars_on_a_terminal() {
    let fleet = Fleet::start(&[4096]);
    fleet.write("servers.hcl", SERVERS);
    fleet.hosts[0].hypervisor.hold_starts(true);
    let shown = std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let hypervisor = &fleet.hosts[0].hypervisor;
        scope.spawn(move || {
            // Where no bar is shown the test must end, too.
            let _ = told.recv_timeout(PATIENCE);
            hypervisor.hold_starts(false);
        });
        crate::terminal::watched_on_terminal(&fleet, &["apply", "--auto-approve"], |shown| {
            if shown.contains("Still creating... [") {
                // Whoever holds the start hears the first.
                let _ = tell.send(());
            }
        })
    });
    let (status, shown) = shown;
    assert_eq!(status, 0, "{shown}");
    for text in [
        "server.first: Creating on n1...",
        "server.first: Still creating... [",
        "server.first: Creation complete after ",
        "Apply complete! 2 created",
    ] {
        assert!(shown.contains(text), "{text:?}: {shown:?}");
    }
}
