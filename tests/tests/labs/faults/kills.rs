//! `kill -9` of drover in the middle of an apply or a destroy: the next one converges.

use crate::faults::fleet::{Fleet, TINY, WAIT, servers, start, start_on};
use crate::faults::running::{Running, journal_step, step};
use drover_tests::lab::{Etcd, Store};
use std::collections::BTreeSet;
use std::time::Duration;

const ADDRESSES: [&str; 3] = ["server.web[0]", "server.web[1]", "server.web[2]"];
const APPLY: [&str; 4] = ["apply", "--auto-approve", "--lock-timeout", "60s"];
const DESTROY: [&str; 4] = ["destroy", "--auto-approve", "--lock-timeout", "60s"];
/// So many applies are killed at a random instant that is a step of their journal.
const INSTANTS: usize = 10;
/// So many kinds of steps must be among them: where luck has left some out, more instants are tried.
const KINDS: usize = 5;
/// Some commands are faster than their killer, and are not counted.
const TRIES: u64 = 40;
/// Between the journal's writes and the agents' work.
const FAILPOINTS: [StopPoint; 5] = [
    StopPoint::after("before-commit", 0),
    StopPoint::after("before-commit", 2),
    StopPoint::after("after-commit", 1),
    StopPoint::after("before-call", 1),
    StopPoint::after("after-call", 0),
];
/// So long others go on beside what is held, before all are killed.
const SETTLE: Duration = Duration::from_millis(500);
/// What is said of a command that was faster than its killer.
const ENDED_BEFORE: &str = "ended-before";

/// SplitMix64: a seed gives the same instants again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// From the variable `DROVER_SEED`, or of this run.
fn seed() -> u64 {
    match std::env::var("DROVER_SEED") {
        Ok(text) => text.parse().expect("DROVER_SEED is a number"),
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("the clock is past 1970").as_secs()
        }
    }
}

/// Kills a command `delay` after its `at`-th step was logged (or at its end, where it takes fewer), and says
/// at which step it was.
fn kill_at(fleet: &Fleet<'_>, arguments: &[&str], at: u64, delay: Duration) -> String {
    let mut running = Running::start(fleet.logged(arguments));
    let mut steps = 0;
    while steps < at {
        match running.next(WAIT) {
            Ok(line) => steps += u64::from(step(&line).is_some()),
            Err(_) => break,
        }
    }
    running.read_for(delay);
    let ended = running.kill();
    let last = ended.seen.iter().rev().find_map(|line| journal_step(line));
    let last = if ended.code.is_some() { None } else { last };
    last.unwrap_or_else(|| ENDED_BEFORE.to_owned())
}

/// A point of an apply where every task that comes to it stops, once so many have passed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StopPoint {
    name: &'static str,
    passes: usize,
}

impl StopPoint {
    pub(crate) const fn after(name: &'static str, passes: usize) -> Self {
        Self { name, passes }
    }

    /// As the variable `FAILPOINTS` has it; nothing stays held for longer than a test takes.
    fn setting(self) -> String {
        match self.passes {
            0 => format!("{}=sleep(600000)", self.name),
            passes => format!("{}={passes}*off->sleep(600000)", self.name),
        }
    }
}

/// Kills a command that is held at a point, and says at which step it was.
pub(crate) fn kill_at_point(fleet: &Fleet<'_>, arguments: &[&str], point: StopPoint) -> String {
    let mut command = fleet.logged(arguments);
    command.env("FAILPOINTS", point.setting());
    let mut running = Running::start(command);
    let reached = format!("point=\"{}\"", point.name);
    for _ in 0..=point.passes {
        running.wait_for(&reached, WAIT);
    }
    // Steps are logged by another task than the one that is held.
    if !running.seen.iter().any(|line| journal_step(line).is_some()) {
        running.wait_for(" verb=", WAIT);
    }
    assert!(!running.read_for(SETTLE), "{point:?} did not hold it");
    let last = running.seen.iter().rev().find_map(|line| journal_step(line));
    let ended = running.kill();
    assert_eq!(ended.code, None, "{point:?} did not hold it:\n{}", ended.text());
    last.expect("a step was waited for")
}

/// Three servers of either name: to go from one to the other creates some and destroys some.
fn three(name: &str) -> (String, Vec<String>) {
    let text = format!(
        "{TINY}\nserver \"{name}\" {{\n  count  = 3\n  flavor = flavor.tiny\n  image  = image.blank\n}}\n"
    );
    let addresses = (0..3).map(|index| format!("server.{name}[{index}]"));
    (text, addresses.collect())
}

/// A fleet that goes to and fro, and is looked at whenever it was brought there.
struct Swing<'a, 'lab> {
    fleet: &'a Fleet<'lab>,
    sides: [(String, Vec<String>); 2],
    turns: usize,
}

impl Swing<'_, '_> {
    /// Declares the other side.
    fn turn(&mut self) {
        self.turns += 1;
        self.fleet.configure(&[], &self.sides[self.turns % 2].0);
    }

    /// Whoever was killed: applying again converges.
    fn converge(&self) {
        self.fleet.forget_dead_holder();
        self.fleet.apply();
        let addresses: Vec<&str> = self.sides[self.turns % 2].1.iter().map(String::as_str).collect();
        self.fleet.expect_settled(&addresses);
    }
}

/// The steps that were hit, whatever the action.
fn kinds(hit: &BTreeSet<String>) -> BTreeSet<&str> {
    let kinds = hit.iter().filter_map(|hit| Some(hit.split_once('/')?.1));
    kinds.collect()
}

fn a_killed_apply_converges_whatever_its_instant(store: Store) {
    let lab = start_on(store, 3);
    let fleet = Fleet::new(&lab, store);
    let seed = seed();
    let mut hit = BTreeSet::new();
    let mut swing = Swing {
        fleet: &fleet,
        sides: [three("web"), three("db")],
        turns: 0,
    };
    swing.turn();
    fleet.apply();
    swing.turn();
    // How many steps it takes when nobody disturbs it.
    let ended = Running::start(fleet.logged(&APPLY)).finish(WAIT).expect(0);
    let steps = ended.seen.iter().filter(|line| step(line).is_some()).count() as u64;
    println!("an apply takes {steps} steps");
    assert!(steps >= 10, "steps are logged");
    swing.converge();

    for failpoint in FAILPOINTS {
        swing.turn();
        let hit_step = kill_at_point(&fleet, &APPLY, failpoint);
        println!("instant: {failpoint:?}, apply killed at {hit_step}");
        hit.insert(hit_step);
        swing.converge();
    }
    let mut instants = 0;
    for round in 0..TRIES {
        if instants >= INSTANTS && kinds(&hit).len() >= KINDS {
            break;
        }
        let seed = seed.wrapping_add(round);
        let mut random = Random(seed);
        swing.turn();
        // The one that settles what the first left is killed, too.
        for (what, among) in [("apply", steps), ("second apply", steps / 3)] {
            if what == "second apply" && random.below(3) > 0 {
                continue;
            }
            // At the very step as often as some time after it, while agents work.
            let at = 1 + random.below(among);
            let delay = if random.below(2) == 0 {
                0
            } else {
                random.below(120)
            };
            fleet.forget_dead_holder();
            let hit_step = kill_at(&fleet, &APPLY, at, Duration::from_millis(delay));
            println!("instant: seed {seed}, {what} killed {delay} ms after step {at}: at {hit_step}");
            if hit_step != ENDED_BEFORE {
                instants += 1;
                hit.insert(hit_step);
            }
        }
        swing.converge();
    }
    assert!(
        instants >= INSTANTS,
        "only {instants} of {TRIES} kills hit a step"
    );

    println!("{instants} random instants; steps hit: {hit:?}");
    let distinct = kinds(&hit);
    assert!(distinct.len() >= KINDS, "only these steps were hit: {distinct:?}");

    let hit_step = kill_at(
        &fleet,
        &DESTROY,
        1 + Random(seed).below(steps / 2),
        Duration::ZERO,
    );
    println!("instant: seed {seed}, destroy killed at {hit_step}");
    fleet.forget_dead_holder();
    fleet.destroy();
    fleet.expect_nothing_left();
    // Applies that nobody kills leave the agents nothing to remember.
    fleet.apply();
    fleet.destroy();
    for host in lab.hosts() {
        let left = fleet.operations(host);
        assert!(left.is_empty(), "operations on {}: {left:?}", host.name());
    }
}

#[test]
fn a_killed_apply_converges_whatever_its_instant_in_etcd() {
    a_killed_apply_converges_whatever_its_instant(Store::Etcd);
}

#[test]
fn a_killed_apply_converges_whatever_its_instant_in_the_embedded_store() {
    a_killed_apply_converges_whatever_its_instant(Store::Local);
}

#[test]
fn a_killed_apply_converges_with_the_records_in_etcd() {
    let lab = start(2, Etcd::Three);
    let fleet = Fleet::new(&lab, Store::Etcd);
    fleet.configure(&[], &servers(3, ""));
    // The lock outlives its holder until its lease ends, and the next apply waits for that.
    let hit = kill_at_point(&fleet, &APPLY, StopPoint::after("after-commit", 3));
    println!("instant: apply killed at {hit}");
    fleet.apply();
    fleet.expect_settled(&ADDRESSES);

    // A member is lost while an apply runs; the two others carry it on.
    let mut running = Running::start(fleet.logged(&DESTROY));
    running.wait_for("step=", WAIT);
    lab.etcd().stop_member(1).expect("etcd1 can be killed");
    running.finish(WAIT).expect(0);
    fleet.expect_nothing_left();
    fleet.apply();
    fleet.expect_settled(&ADDRESSES);
    lab.etcd().start_member(1).expect("etcd1 comes back");
}
