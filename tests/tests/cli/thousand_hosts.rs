//! A simulated fleet of a thousand hosts: real agents behind gRPC and mutual TLS, all in this process, each with a
//! hypervisor in memory. What they cost as they become more is measured by `make bench`.

use crate::fake_hosts::Fleet;
use crate::run::{command, finish};
use drover_types::PowerState;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::process::Command;

const HOSTS: usize = 1000;

/// So many of them have room for servers.
const LARGE: usize = 40;

const SERVERS: &str = r#"
group "apart" {
  count  = 20
  policy = "anti-affinity"
}
server "grouped" {
  count  = 200
  flavor = flavor.small
  image  = image.guest
  group  = group.apart[floor(count.index / 10)]
}
"#;

/// Every agent has a listener, a log, files and connections.
fn many_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raised");
}

fn running(fleet: &Fleet) -> Vec<usize> {
    let hosts = fleet.hosts.iter();
    hosts
        .map(|host| {
            let all = host.hypervisor.all();
            all.iter()
                .filter(|domain| domain.state.power == PowerState::Running)
                .count()
        })
        .collect()
}

#[test]
fn a_thousand_hosts_are_asked_and_given_work() {
    many_files();
    let mut memory = vec![256; HOSTS];
    memory[..LARGE].fill(8192);
    let fleet = Fleet::start(&memory);
    fleet.write("web.hcl", SERVERS);
    fleet
        .drover(&["apply", "--auto-approve", "--parallelism", "100"])
        .exits(0)
        .says("Apply complete! 200 created, 0 updated, 0 destroyed.");
    let on_each = running(&fleet);
    assert_eq!(on_each[..LARGE], [200 / LARGE; LARGE]);
    assert_eq!(on_each.iter().sum::<usize>(), 200);
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes.");
    let listed = fleet.drover(&["host", "list", "--json"]).exits(0).json();
    assert_eq!(listed.as_object().expect("hosts by name").len(), HOSTS);
    fleet
        .drover(&["destroy", "--auto-approve", "--parallelism", "100"])
        .exits(0)
        .says("200 destroyed");
    assert_eq!(running(&fleet).iter().sum::<usize>(), 0);
}

/// Shells often allow 1,024 open files; a program that needs more is expected to raise that itself.
#[test]
fn more_hosts_than_files_may_be_open_at_first() {
    many_files();
    let fleet = Fleet::start(&[256; 150]);
    let drover: Command = command(&fleet.project(), &["plan"]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -S -n 100 && exec \"$0\" \"$@\""])
        .arg(drover.get_program())
        .args(drover.get_args())
        .current_dir(fleet.project());
    finish(limited).exits(0).says("152 records to write");
}
