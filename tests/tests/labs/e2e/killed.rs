//! `kill -9` of drover in the middle of a live migration: the agents finish it, and the next plan adopts what
//! they did.

use crate::e2e::drain::moved_whole;
use crate::e2e::fleet::{Fleet, Server, WAIT_GUEST, events, of_type};
use crate::e2e::handover::{ADDRESS, begin, destination, hold, wait_transferred};
use drover_tests::lab::{WAIT_LONG, poll_until};
use std::process::Child;

/// Slow enough that a guest's memory takes several seconds.
const SLOW_MEGABITS: u32 = 40;
/// Faster than any copy here: no limit.
const FAST_MEGABITS: u32 = 10_000;

fn kill(mut apply: Child) {
    apply.kill().expect("our child can be killed");
    let status = apply.wait().expect("our child can be waited for");
    assert_eq!(status.code(), None, "it was killed before it had ended");
}

/// With no command alive the server runs on in one place, and the next plan finds it there.
fn finished_alone(fleet: &Fleet<'_>, server: &Server, to: &str, before: u64) {
    poll_until(
        format!("{} running on {to} alone, with no command alive", server.id),
        WAIT_GUEST,
        || (fleet.lab.running_on(&server.id).ok()? == [to]).then_some(()),
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let seen = events(&fleet.drover(0, &["plan", "--json"]));
    let moves =
        of_type(&seen, "planned_change").filter(|event| event["change"]["impact"]["class"] == "migrate");
    assert_eq!(moves.count(), 0, "it is there already: {seen:#?}");
    let settled = of_type(&seen, "planned_host_action").find(|event| {
        event["change"]["action"] == "settle" && event["change"]["resource"]["addr"] == ADDRESS
    });
    let why = settled.and_then(|event| event["change"]["words"].as_str());
    assert!(
        why.is_some_and(|why| why.starts_with("its migrate was left open: ")),
        "{seen:#?}"
    );
    fleet.drover(0, &["apply", "--auto-approve", "--lock-timeout", "60s"]);
    let adopted = fleet.server(ADDRESS);
    assert_eq!((&adopted.id, adopted.host.as_str()), (&server.id, to));
    moved_whole(fleet, server, to, before);
    fleet.expect_no_changes();
}

pub(crate) fn drover_is_killed_before_the_release(fleet: &Fleet<'_>) {
    let server = fleet.server(ADDRESS);
    let before = fleet.wait_count(&server.host, &server, 2);
    let watch = fleet.lab.watch_copies(&server.id);
    let released = hold(fleet, &server, "before-released");
    let apply = begin(fleet, &server, &[&released]);
    let to = destination(fleet, &server);
    wait_transferred(fleet, &server);
    kill(apply);
    println!(
        "drover is dead; {} has not released, {to} has a paused guest",
        server.host
    );
    assert_eq!(
        fleet.lab.running_on(&server.id).expect("every libvirtd answers"),
        Vec::<String>::new(),
        "it was killed before the release"
    );
    released.let_go();
    finished_alone(fleet, &server, &to, before);
    let copies = watch.finish();
    assert_eq!(copies.doubles, Vec::new());
    assert!(copies.rounds > 3, "{copies:?}");
}

pub(crate) fn drover_is_killed_during_the_copy(fleet: &Fleet<'_>) {
    let server = fleet.server(ADDRESS);
    let before = fleet.wait_count(&server.host, &server, 2);
    let watch = fleet.lab.watch_copies(&server.id);
    fleet
        .lab
        .limit_rate(&server.host, SLOW_MEGABITS)
        .expect("a wire can be slow");
    let apply = begin(fleet, &server, &[]);
    let to = destination(fleet, &server);
    poll_until("memory on its way", WAIT_LONG, || {
        memory_left(fleet, &server).filter(|left| *left > 0)
    })
    .unwrap_or_else(|error| panic!("{error}"));
    kill(apply);
    assert!(
        memory_left(fleet, &server).is_some_and(|left| left > 0),
        "it was killed during the copy"
    );
    assert_eq!(
        fleet.lab.running_on(&server.id).expect("every libvirtd answers"),
        [server.host.as_str()],
        "the guest runs at the source while it is copied"
    );
    println!(
        "drover is dead; the memory of {} is being copied to {to}",
        server.id
    );
    fleet
        .lab
        .limit_rate(&server.host, FAST_MEGABITS)
        .expect("a wire can be fast");
    finished_alone(fleet, &server, &to, before);
    assert_eq!(watch.finish().doubles, Vec::new());
}

/// What libvirt says is left of the guest's memory to copy, once that has begun.
pub(crate) fn memory_left(fleet: &Fleet<'_>, server: &Server) -> Option<u64> {
    let info = fleet
        .host(&server.host)
        .virsh(&["domjobinfo", &server.id, "--rawstats"])
        .ok()?;
    let number = |name: &str| {
        let line = info.lines().find(|line| line.trim_start().starts_with(name))?;
        line.rsplit(':').next()?.trim().parse::<u64>().ok()
    };
    number("memory_processed").filter(|processed| *processed > 0)?;
    number("memory_remaining")
}
