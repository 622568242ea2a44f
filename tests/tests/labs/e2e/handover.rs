//! Hand-overs in which a part breaks: at most one copy runs at any time, and in the end one does.

use crate::e2e::apart::servers;
use crate::e2e::drain::moved_whole;
use crate::e2e::fleet::{Fleet, Server, wait_state};
use crate::e2e::strangers;
use drover_tests::lab::{Hold, WAIT_LONG, poll_until};
use nix::sys::signal::Signal;
use std::process::{Child, Stdio};

pub(crate) const ADDRESS: &str = "server.web[0]";

pub(crate) fn one_server_runs(fleet: &Fleet<'_>) {
    fleet.configure(&[], &servers(1, ""));
    fleet.apply();
    fleet.wait_ready(ADDRESS, &fleet.server(ADDRESS));
}

/// The source's agent is to wait here.
pub(crate) fn hold(fleet: &Fleet<'_>, server: &Server, point: &str) -> Hold {
    let hold = fleet.host(&server.host).hold(point, 0);
    hold.expect("the lab can be written")
}

/// Drains the server's host, whose agent waits where it is told to.
pub(crate) fn begin(fleet: &Fleet<'_>, server: &Server, holds: &[&Hold]) -> Child {
    let source = fleet.host(&server.host);
    source.stop_agent().expect("the agent ends");
    source.start_agent_held(holds).expect("the agent starts");
    fleet.configure(&[(&server.host, "state = \"drain\"")], &servers(1, ""));
    let mut apply = fleet.workspace.command(&["apply", "--auto-approve"]);
    apply
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("drover starts")
}

pub(crate) fn end(apply: Child, code: i32) {
    let output = apply.wait_with_output().expect("drover ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    println!(
        "$ drover apply --auto-approve # {:?}\n{stdout}{stderr}",
        output.status.code()
    );
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
}

/// The host that the server is on its way to.
pub(crate) fn destination(fleet: &Fleet<'_>, server: &Server) -> String {
    poll_until("a paused guest at the destination", WAIT_LONG, || {
        let mut hosts = fleet.lab.hosts().iter();
        let found = hosts.find(|host| {
            host.name() != server.host
                && host
                    .domain_state(&server.id)
                    .is_ok_and(|state| state.as_deref() == Some("paused"))
        });
        found.map(|host| host.name().to_owned())
    })
    .unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until the source has the destination's word and is about to let go.
pub(crate) fn wait_transferred(fleet: &Fleet<'_>, server: &Server) {
    wait_logged(fleet, server, "the destination is ready");
    assert!(
        fleet.host(&server.host).qemu_processes(&server.id).is_empty(),
        "its own QEMU is gone before it lets go"
    );
}

/// Waits for a line of the source's agent, of its present life.
fn wait_logged(fleet: &Fleet<'_>, server: &Server, text: &str) {
    let source = fleet.host(&server.host);
    poll_until(
        format!("{text:?} in the log of {}", server.host),
        WAIT_LONG,
        || {
            let log = source.agent_log().ok()?;
            let begun = log.rfind("serving")?;
            log[begun..].contains(text).then_some(())
        },
    )
    .unwrap_or_else(|error| panic!("{error}"));
}

pub(crate) fn the_sources_libvirtd_dies_after_the_transfer(fleet: &Fleet<'_>) {
    let server = fleet.server(ADDRESS);
    let before = fleet.wait_count(&server.host, &server, 2);
    let watch = fleet.lab.watch_copies(&server.id);
    let released = hold(fleet, &server, "before-released");
    let apply = begin(fleet, &server, &[&released]);
    let to = destination(fleet, &server);
    wait_transferred(fleet, &server);
    let source = fleet.host(&server.host);
    source.kill_libvirtd().expect("libvirtd can be killed");
    released.let_go();
    println!("libvirtd on {} is dead; {to} has a paused guest", server.host);
    source.start_libvirtd().expect("libvirtd starts");
    end(apply, 0);
    assert_eq!(watch.finish().doubles, Vec::new());
    moved_whole(fleet, &server, &to, before);
    fleet.expect_no_changes();
}

pub(crate) fn the_agents_are_cut_after_the_release(fleet: &Fleet<'_>) {
    let server = fleet.server(ADDRESS);
    let before = fleet.wait_count(&server.host, &server, 2);
    let watch = fleet.lab.watch_copies(&server.id);
    let released = hold(fleet, &server, "before-released");
    let apply = begin(fleet, &server, &[&released]);
    let to = destination(fleet, &server);
    wait_transferred(fleet, &server);
    fleet
        .lab
        .cut_one_way(&server.host, &to)
        .expect("a wire can be cut");
    println!("{} is not heard on {to} any more", server.host);
    released.let_go();
    // It decides by itself, and undefines its domain once it has.
    wait_state(fleet.host(&server.host), &server, None);
    fleet.nobody_runs_it(&server);
    strangers::change_nothing(fleet, &server, &to);
    fleet.lab.heal().expect("wires can be healed");
    end(apply, 0);
    assert_eq!(watch.finish().doubles, Vec::new());
    moved_whole(fleet, &server, &to, before);
    fleet.expect_no_changes();
}

/// The other way round: the destination hears the release over the connection that stands, acts on it, and nobody
/// hears the destination.
pub(crate) fn the_destinations_word_is_lost_after_the_release(fleet: &Fleet<'_>) {
    let server = fleet.server(ADDRESS);
    let before = fleet.wait_count(&server.host, &server, 2);
    let watch = fleet.lab.watch_copies(&server.id);
    let released = hold(fleet, &server, "before-released");
    let apply = begin(fleet, &server, &[&released]);
    let to = destination(fleet, &server);
    wait_transferred(fleet, &server);
    fleet
        .lab
        .cut_one_way(&to, &server.host)
        .expect("a wire can be cut");
    println!("{to} is not heard on {} any more", server.host);
    released.let_go();
    wait_state(fleet.host(&server.host), &server, None);
    wait_state(fleet.host(&to), &server, Some("running"));
    let own_disk = fleet.directory(&server.host, &server);
    assert!(
        own_disk.exists(),
        "the source keeps its disk until the destination has said that it acquired"
    );
    fleet.lab.heal().expect("wires can be healed");
    end(apply, 0);
    assert_eq!(watch.finish().doubles, Vec::new());
    moved_whole(fleet, &server, &to, before);
    fleet.expect_no_changes();
}

/// The release is in the source's log and nobody has heard of it yet.
pub(crate) fn the_agents_are_cut_with_the_release_logged(fleet: &Fleet<'_>) {
    let server = fleet.server(ADDRESS);
    let before = fleet.wait_count(&server.host, &server, 2);
    let watch = fleet.lab.watch_copies(&server.id);
    let before_released = hold(fleet, &server, "before-released");
    let after_released = hold(fleet, &server, "after-released");
    let apply = begin(fleet, &server, &[&before_released, &after_released]);
    let to = destination(fleet, &server);
    wait_transferred(fleet, &server);
    // It asks by itself, too, and would hear of the release before the wire is cut.
    let agent = fleet.host(&to);
    agent.kill("agent", Signal::SIGSTOP).expect("it can be frozen");
    before_released.let_go();
    wait_logged(fleet, &server, "the server is released");
    fleet.lab.cut(&server.host, &to).expect("a wire can be cut");
    agent.kill("agent", Signal::SIGCONT).expect("it can go on");
    println!("{} and {to} are cut, the release is logged", server.host);
    after_released.let_go();
    wait_state(fleet.host(&server.host), &server, None);
    fleet.nobody_runs_it(&server);
    // Not even a source that is started anew takes back what it has released.
    let source = fleet.host(&server.host);
    source.kill_agent().expect("the agent can be killed");
    source.start_agent().expect("the agent is back");
    fleet.nobody_runs_it(&server);
    fleet.lab.heal().expect("wires can be healed");
    // The command asks the agent that is back, and hears how it ended.
    end(apply, 0);
    assert_eq!(watch.finish().doubles, Vec::new());
    moved_whole(fleet, &server, &to, before);
    fleet.expect_no_changes();
}
