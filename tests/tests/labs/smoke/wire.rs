//! The lab's wire: its cuts, and what a capture of it shows.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use drover_tests::lab::{Etcd, Lab, Node, WAIT_LONG, last_count, poll_until, wait_for_line};

use super::start;

/// Sends one ping and waits for its answer: for so many seconds where none is expected, else until it is there.
fn answered_within(seconds: u32, from: &Node, to: Ipv4Addr) -> bool {
    let mut ping = from.network_command("busybox");
    ping.args(["ping", "-c", "1", "-W", &seconds.to_string(), &to.to_string()])
        .stdout(Stdio::null());
    ping.status().expect("busybox is installed").success()
}

fn reaches(from: &Node, to: Ipv4Addr) -> bool {
    answered_within(60, from, to)
}

fn is_cut(from: &Node, to: Ipv4Addr) -> bool {
    !answered_within(1, from, to)
}

#[test]
fn a_cut_is_a_cut_and_heal_heals() {
    let lab = start(2, Etcd::None);
    let (n1, n2, client) = (lab.host("n1"), lab.host("n2"), lab.client());
    assert!(reaches(n1, n2.ip()) && reaches(client, n1.ip()) && reaches(n2, client.ip()));

    lab.cut("n1", "n2").unwrap();
    assert!(is_cut(n1, n2.ip()) && is_cut(n2, n1.ip()));
    assert!(
        reaches(client, n1.ip()) && reaches(client, n2.ip()),
        "only that one wire is cut"
    );
    lab.heal().unwrap();
    assert!(reaches(n1, n2.ip()));

    // One way: what n1 sends is lost, what n2 sends arrives.
    lab.cut_one_way("n1", "n2").unwrap();
    let capture = lab.capture("one-way").unwrap();
    assert!(is_cut(n2, n1.ip()), "the answer is lost");
    let captured = capture.finish().unwrap();
    let from_n2 = captured
        .packets(&format!("icmp[icmptype] == icmp-echo and src {}", n2.ip()))
        .unwrap();
    let answers = captured
        .packets(&format!("icmp[icmptype] == icmp-echoreply and src {}", n1.ip()))
        .unwrap();
    assert_eq!((from_n2, answers), (1, 1), "n1 heard the request and answered it");
    lab.heal().unwrap();

    lab.cut_off("n2").unwrap();
    assert!(is_cut(client, n2.ip()) && is_cut(n1, n2.ip()) && reaches(client, n1.ip()));
    lab.heal().unwrap();
    assert!(reaches(client, n2.ip()));
}

/// Runs the lab's own program against this lab.
fn by_hand(lab: &Lab, arguments: &[&str]) -> std::process::Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_drover-lab"));
    program.args(arguments).args(["--lab", lab.id()]);
    program.output().expect("the program starts")
}

#[test]
fn cuts_and_kills_can_be_made_by_hand() {
    let lab = start(3, Etcd::None);
    let (n1, n2, n3) = (lab.host("n1"), lab.host("n2"), lab.host("n3"));
    let done = |arguments: &[&str]| {
        let output = by_hand(&lab, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    done(&["cut", "n1", "n2"]);
    done(&["cut", "n1", "n2"]);
    done(&["cut", "n2", "n3", "--one-way"]);
    assert!(is_cut(n1, n2.ip()) && is_cut(n2, n1.ip()) && reaches(n1, n3.ip()));
    let capture = lab.capture("one-way-by-hand").unwrap();
    assert!(is_cut(n3, n2.ip()), "the answer is lost");
    let captured = capture.finish().unwrap();
    let answers = captured
        .packets(&format!("icmp[icmptype] == icmp-echoreply and src {}", n2.ip()))
        .unwrap();
    assert_eq!(answers, 1, "n2 heard the request and answered it");

    done(&["heal", "n2", "n1"]);
    assert!(reaches(n1, n2.ip()), "both cuts are healed");
    assert!(is_cut(n3, n2.ip()), "the other wire stays cut");
    done(&["heal", "n2", "n3"]);
    assert!(reaches(n3, n2.ip()));

    done(&["kill", "n2", "libvirtd"]);
    assert!(!n2.runs("libvirtd") && n1.runs("libvirtd") && n2.runs("virtlogd"));
    for (arguments, words) in [
        (["cut", "n1", "n9"], "n9"),
        (["kill", "n9", "agent"], "n9"),
        (["kill", "n1", "agent"], "agent"),
    ] {
        let output = by_hand(&lab, &arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_capture_sees_what_crosses_the_bridge() {
    let lab = start(2, Etcd::None);
    let (n1, n2) = (lab.host("n1"), lab.host("n2"));
    let mut server = Command::new("busybox");
    server.args(["nc", "-l", "-p", "9000"]);
    n2.spawn_daemon("server", &server).unwrap();
    poll_until("the listener", WAIT_LONG, || {
        n2.listening_tcp_ports().unwrap().contains(&9000).then_some(())
    })
    .unwrap();

    let capture = lab.capture("clear").unwrap();
    let address = SocketAddr::from((n2.ip(), 9000));
    // The machine itself is outside. Whatever may answer there at such an address, it is not the lab.
    if let Ok(mut outside) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        drop(outside.write_all(b"from-outside\n"));
    }
    n1.inside_network(|| {
        TcpStream::connect(address)
            .unwrap()
            .write_all(b"in-the-clear\n")
            .unwrap();
    })
    .unwrap();
    wait_for_line(&n2.log("server"), "in-the-clear", WAIT_LONG).unwrap();
    let captured = capture.finish().unwrap();
    assert!(captured.contains("in-the-clear").unwrap());
    assert!(!captured.contains("from-outside").unwrap());
}

/// The absence of a text proves something only where no packet was missed.
#[test]
fn a_capture_misses_nothing_while_tcpdump_has_no_turn() {
    const SENT: usize = 100 << 20;
    let lab = start(2, Etcd::None);
    let (n1, n2) = (lab.host("n1"), lab.host("n2"));
    let mut server = Command::new("busybox");
    server.args(["sh", "-c", "nc -l -p 9000 | wc -c"]);
    n2.spawn_daemon("server", &server).unwrap();
    poll_until("the listener", WAIT_LONG, || {
        n2.listening_tcp_ports().unwrap().contains(&9000).then_some(())
    })
    .unwrap();

    let capture = lab.capture("burst").unwrap();
    capture.pause().unwrap();
    let address = SocketAddr::from((n2.ip(), 9000));
    n1.inside_network(|| {
        let mut wire = TcpStream::connect(address).unwrap();
        wire.write_all(&vec![b'.'; SENT]).unwrap();
    })
    .unwrap();
    wait_for_line(&n2.log("server"), &SENT.to_string(), WAIT_LONG).unwrap();
    capture.resume().unwrap();
    let captured = capture.finish().unwrap();
    let written = std::fs::metadata(captured.path()).unwrap().len();
    assert!(written > SENT as u64, "{written} bytes were captured");
}

/// The control of every test that says Drover's migrations show nothing: without Drover they do.
#[test]
fn a_plain_migration_works_and_shows_the_canaries_on_the_wire() {
    let lab = start(2, Etcd::None);
    let (n1, n2) = (lab.host("n1"), lab.host("n2"));
    let guest = lab.start_plain_guest(n1, "mover").unwrap();
    wait_for_line(&guest.console(n1), "drover-guest: count=2 ", WAIT_LONG).unwrap();

    let capture = lab.capture("plain-migration").unwrap();
    let took = lab.migrate_plain_guest(&guest, n1, n2).unwrap();
    println!("virsh took {:.1} s", took.as_secs_f64());
    let captured = capture.finish().unwrap();
    for canary in ["DROVER-MEMORY-CANARY-", "DROVER-DISK-CANARY-"] {
        assert!(
            captured.contains(&format!("{canary}{}", guest.uuid)).unwrap(),
            "{canary}"
        );
    }

    let before = last_count(&guest.console(n1)).unwrap();
    let after = poll_until("a count on n2", WAIT_LONG, || last_count(&guest.console(n2))).unwrap();
    assert!(
        after > before,
        "the guest went on counting: {before} on n1, {after} on n2"
    );
    assert_eq!(lab.running_on(&guest.uuid).unwrap(), ["n2"]);
    assert_ne!(guest.disk(n1), guest.disk(n2));
}
