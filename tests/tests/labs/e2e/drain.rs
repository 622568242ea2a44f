//! Hosts that are emptied: live, cold, and not at all where a group leaves no room.

use crate::e2e::apart::servers;
use crate::e2e::fleet::{Fleet, Server, WAIT_GUEST, events, of_type, wait_state};
use drover_tests::lab::{Host, last_count, poll_until};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DRAIN: &str = "state = \"drain\"";

/// A port that anything listens on stays open for longer.
const LOOK_EVERY: Duration = Duration::from_millis(1);

pub(crate) fn a_drain_without_room_is_blocked(fleet: &Fleet<'_>) {
    let before = fleet.lab.hosts().iter().map(|host| {
        let listed = host.virsh(&["list", "--all", "--uuid"]);
        listed.expect("libvirtd answers")
    });
    let before: Vec<String> = before.collect();
    fleet.configure(&[("n1", DRAIN)], &servers(3, ""));
    let addresses = (0..3).map(|index| format!("server.web[{index}]"));
    let mut drained = addresses.filter(|address| fleet.server(address).host == "n1");
    let drained = drained.next().expect("each host has one");
    let plan = fleet.drover(1, &["plan", "--detailed-exitcode"]);
    let told = plan.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "Blocked, and left as it is:",
        &format!("! {drained} cannot be migrated (n1 is being drained) no host can take it:"),
        "n2 ServerGroupAntiAffinityFilter: holds 1 of group group.web",
        "n3 ServerGroupAntiAffinityFilter: holds 1 of group group.web",
    ] {
        assert!(told.contains(words), "{words:?} is not in {}", plan.stdout);
    }
    // The host's new state is recorded; no server moves, and that is not a success.
    fleet.drover(5, &["apply", "--auto-approve"]);
    let after = fleet.lab.hosts().iter().map(|host| {
        let listed = host.virsh(&["list", "--all", "--uuid"]);
        listed.expect("libvirtd answers")
    });
    assert_eq!(after.collect::<Vec<String>>(), before);
}

pub(crate) fn a_drain_moves_a_running_server(fleet: &Fleet<'_>) {
    // Without the third server there is room for the one on n1.
    let kept: Vec<String> = (0..2)
        .map(|index| fleet.server(&format!("server.web[{index}]")).host)
        .collect();
    let room = fleet.server("server.web[2]").host;
    let from = kept[0].clone();
    fleet.configure(&[], &servers(2, ""));
    fleet.apply();
    fleet.expect_no_changes();

    let server = fleet.server("server.web[0]");
    assert_eq!(server.host, from);
    let before = fleet.wait_count(&from, &server, 3);
    fleet.configure(&[(&from, DRAIN)], &servers(2, ""));
    let plan = fleet.drover(2, &["plan", "--detailed-exitcode"]);
    let planned = events(&fleet.drover(0, &["plan", "--json"]));
    let moves: Vec<_> = of_type(&planned, "planned_change")
        .filter(|event| event["change"]["impact"]["class"] == "migrate")
        .collect();
    let [only] = moves.as_slice() else {
        panic!("one migration is planned: {planned:#?}")
    };
    assert_eq!(only["change"]["migration"]["to"], room.as_str(), "{only}");
    assert_eq!(only["change"]["migration"]["cold"], false, "{only}");
    assert_eq!(only["change"]["resource"]["addr"], "server.web[0]", "{only}");
    let words = format!("{from} is being drained");
    assert_eq!(only["change"]["reason"], "host_drained", "{only}");
    assert_eq!(only["change"]["words"], words.as_str(), "{only}");
    let text = plan.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = format!("# server.web[0] will be migrated to {room} # why: {words} #");
    assert!(text.contains(&told), "{told:?} is not in {text}");

    let capture = fleet.lab.capture("drain").expect("tcpdump runs");
    let watch = fleet.lab.watch_copies(&server.id);
    let before_it = watch.rounds();
    let ports = listened_meanwhile([fleet.host(&from), fleet.host(&room)], || {
        fleet.apply();
    });
    let rounds = watch.rounds() - before_it;
    let copies = watch.finish();
    let captured = capture.finish().expect("every packet was captured");
    assert_eq!(ports, [7443], "what listened during the migration");
    assert_eq!(copies.doubles, Vec::new());
    assert!(rounds > 1, "every host was asked meanwhile: {copies:?}");
    for canary in ["DROVER-MEMORY-CANARY-", "DROVER-DISK-CANARY-"] {
        let text = format!("{canary}{}", server.id);
        assert!(
            !captured.contains(&text).expect("the capture can be read"),
            "{text}"
        );
    }
    moved_whole(fleet, &server, &room, before);
    fleet.expect_no_changes();
}

/// The server is on `to` alone, its guest never stopped counting, and its disk came with it.
pub(crate) fn moved_whole(fleet: &Fleet<'_>, server: &Server, to: &str, before: u64) {
    wait_state(fleet.host(to), server, Some("running"));
    wait_state(fleet.host(&server.host), server, None);
    assert_eq!(
        fleet.lab.running_on(&server.id).expect("every libvirtd answers"),
        [to]
    );
    assert!(
        fleet.host(&server.host).qemu_processes(&server.id).is_empty(),
        "a QEMU is left at the source"
    );
    let left = fleet.directory(&server.host, server);
    assert!(!left.exists(), "{} is left", left.display());

    let console = fleet.console(to, server);
    let after = poll_until("the guest's count after its move", WAIT_GUEST, || {
        last_count(&console).filter(|count| *count > before)
    });
    let after = after.unwrap_or_else(|error| panic!("{error}"));
    let written = std::fs::read(&console).expect("the console log can be read");
    let written = String::from_utf8_lossy(&written);
    assert!(
        !written.contains("drover-guest: ready"),
        "the guest was booted anew:\n{written}"
    );
    println!("{} counted {before} before and {after} after its move", server.id);
    let disk = disk_counter(fleet.host(to), server);
    assert!(
        disk >= before,
        "the disk at {to} holds count {disk}, it was {before}"
    );
}

/// The counter on the server's root disk, beside the canary that was written once, at the first boot.
pub(crate) fn disk_counter(host: &Host, server: &Server) -> u64 {
    let overlay = format!("/var/lib/libvirt/drover/servers/{}/disk.qcow2", server.id);
    let raw = Path::new("/var/lib/libvirt/disk-copy.raw");
    let arguments = [
        "convert",
        "-U",
        "-f",
        "qcow2",
        "-O",
        "raw",
        &overlay,
        "/var/lib/libvirt/disk-copy.raw",
    ];
    host.run("qemu-img", arguments).expect("the overlay can be read");
    let copy = host.outside(raw);
    let bytes = std::fs::read(&copy).expect("the copy can be read");
    std::fs::remove_file(&copy).expect("the copy can be removed");
    const MIB: usize = 1 << 20;
    let canary = format!("DROVER-DISK-CANARY-{}", server.id);
    let bulk = String::from_utf8_lossy(&bytes[49 * MIB..50 * MIB]);
    assert_eq!(
        bulk.matches(&canary).count(),
        MIB / (canary.len() + 1),
        "the canary on the disk is whole"
    );
    let line = String::from_utf8_lossy(&bytes[48 * MIB..48 * MIB + 512]);
    line.strip_prefix(&format!("{canary} count="))
        .and_then(|rest| rest.split_whitespace().next()?.trim_matches('\0').parse().ok())
        .unwrap_or_else(|| panic!("no counter on the disk: {line:?}"))
}

/// Every port that any of these hosts listened on while `work` ran.
fn listened_meanwhile(hosts: [&Host; 2], work: impl FnOnce()) -> Vec<u16> {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut ports = std::collections::BTreeSet::new();
            while !ended.load(Ordering::Relaxed) {
                for host in hosts {
                    ports.extend(host.listening_tcp_ports().expect("its network is there"));
                }
                // Not all the time, which the guests would lack.
                std::thread::sleep(LOOK_EVERY);
            }
            ports
        });
        // A failure of the work must end the watch too, or the scope never ends.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        ended.store(true, Ordering::Relaxed);
        let ports = watch.join().expect("the watch does not panic");
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
        ports.into_iter().collect()
    })
}

pub(crate) fn a_server_that_is_off_moves_cold(fleet: &Fleet<'_>) {
    fleet.configure(&[], &servers(2, "  power = \"off\"\n"));
    fleet.apply();
    fleet.expect_no_changes();
    let server = fleet.server("server.web[0]");
    wait_state(fleet.host(&server.host), &server, Some("shut off"));
    let before = disk_counter(fleet.host(&server.host), &server);

    fleet.configure(&[(&server.host, DRAIN)], &servers(2, "  power = \"off\"\n"));
    let planned = events(&fleet.drover(0, &["plan", "--json"]));
    let change = of_type(&planned, "planned_change")
        .find(|event| event["change"]["resource"]["addr"] == "server.web[0]")
        .unwrap_or_else(|| panic!("a move is planned: {planned:#?}"));
    assert_eq!(change["change"]["migration"]["cold"], true, "{change}");
    fleet.apply();
    let moved = fleet.server("server.web[0]");
    assert_ne!(moved.host, server.host);
    wait_state(fleet.host(&moved.host), &moved, Some("shut off"));
    wait_state(fleet.host(&server.host), &server, None);
    assert!(!fleet.directory(&server.host, &server).exists());
    assert_eq!(disk_counter(fleet.host(&moved.host), &moved), before);
    fleet.expect_no_changes();

    // It boots from the disk that came along.
    fleet.configure(&[(&server.host, DRAIN)], &servers(2, ""));
    fleet.apply();
    let line = format!("drover-guest: disk previous={before}");
    drover_tests::lab::wait_for_line(&fleet.console(&moved.host, &moved), &line, WAIT_GUEST)
        .unwrap_or_else(|error| panic!("{error}"));
    fleet.expect_no_changes();
}
