//! What happens on a terminal only: the question, colour, and progress.

use crate::fake_hosts::Fleet;
use nix::pty::openpty;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

/// Runs drover on a terminal of its own, types `input`, and returns the status and all that it showed.
pub(crate) fn on_terminal(
    fleet: &Fleet,
    arguments: &[&str],
    environment: &[(&str, &str)],
    input: &str,
) -> (i32, String) {
    run(fleet, arguments, environment, input, |_| ())
}

/// The same without input, with a look at all that it has shown so far whenever that is more.
pub(crate) fn watched_on_terminal(
    fleet: &Fleet,
    arguments: &[&str],
    look: impl FnMut(&str),
) -> (i32, String) {
    run(fleet, arguments, &[], "", look)
}

fn run(
    fleet: &Fleet,
    arguments: &[&str],
    environment: &[(&str, &str)],
    input: &str,
    mut look: impl FnMut(&str),
) -> (i32, String) {
    let pty = openpty(None, None).expect("a terminal");
    let (mut master, slave) = (File::from(pty.master), pty.slave);
    let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
    let mut command = fleet.command(arguments);
    command
        .env("TERM", "xterm")
        .stdin(end())
        .stdout(end())
        .stderr(end());
    command.envs(environment.iter().copied());
    let mut child = command.spawn().expect("the binary starts");
    drop((command, slave));
    master.write_all(input.as_bytes()).expect("typed");
    let mut shown = Vec::new();
    // The end of the last process on a terminal is an error to its reader.
    let mut piece = [0; 4096];
    while let Ok(length) = master.read(&mut piece) {
        if length == 0 {
            break;
        }
        shown.extend_from_slice(&piece[..length]);
        look(&String::from_utf8_lossy(&shown));
    }
    let status = child.wait().expect("a child").code().expect("it was not killed");
    (status, String::from_utf8_lossy(&shown).into_owned())
}

fn fleet() -> Fleet {
    let fleet = Fleet::start(&[4096]);
    fleet.write(
        "web.hcl",
        "server \"web\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n",
    );
    fleet
}

#[test]
fn only_yes_is_a_yes() {
    let fleet = fleet();
    for answer in ["no\n", "y\n", "\n", "YES\n", "\u{4}"] {
        let (status, shown) = on_terminal(&fleet, &["apply"], &[], answer);
        assert!(
            shown.contains("Only \"yes\" is taken as a yes"),
            "{answer:?}: {shown}"
        );
        assert!(shown.contains("Nothing was changed."), "{answer:?}: {shown}");
        assert_eq!(status, 1, "{answer:?}: {shown}");
    }
    assert!(fleet.hosts[0].hypervisor.all().is_empty(), "nothing was begun");
    let (status, shown) = on_terminal(&fleet, &["apply"], &[], "yes\n");
    assert!(shown.contains("Apply complete!"), "{shown}");
    assert_eq!((status, fleet.hosts[0].hypervisor.all().len()), (0, 1), "{shown}");
}

#[test]
fn colour_is_for_terminals_and_can_be_refused() {
    let fleet = fleet();
    let escape = |shown: &str| shown.contains('\u{1b}');
    let (_, shown) = on_terminal(&fleet, &["plan"], &[], "");
    assert!(escape(&shown), "{shown:?}");
    let (_, shown) = on_terminal(&fleet, &["plan", "--no-color"], &[], "");
    assert!(!escape(&shown), "{shown:?}");
    let (_, shown) = on_terminal(&fleet, &["plan"], &[("NO_COLOR", "1")], "");
    assert!(!escape(&shown), "{shown:?}");
    assert!(!escape(&fleet.drover(&["plan"]).stdout));
    fleet.write("bad.hcl", "servr \"x\" {}\n");
    let (_, shown) = on_terminal(&fleet, &["validate"], &[], "");
    assert!(escape(&shown), "{shown:?}");
    let (_, shown) = on_terminal(&fleet, &["validate", "--no-color"], &[], "");
    assert!(!escape(&shown), "{shown:?}");
}
