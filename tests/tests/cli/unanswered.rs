//! Hosts that do not answer: nothing is planned on them, and the exit status is not 0.

use crate::fake_hosts::Fleet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

const WEB: &str = "server \"web\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n";

fn fleet() -> Fleet {
    let fleet = Fleet::start(&[4096, 2048]);
    fleet.write("web.hcl", WEB);
    fleet
}

#[test]
fn an_agent_that_is_down() {
    let mut fleet = fleet();
    fleet.host_named("n1").stop();
    let ran = fleet.drover(&["plan"]);
    insta::assert_snapshot!(ran.text(), @r#"
    exit 1
    --- stdout
    Error: host n1 does not answer: nothing answers at <n1>: Connection
    refused (os error 111)
      No server is recorded there; nothing is planned on it or away from it.
      hint: bring its agent back, or accept it with --allow-unreachable n1

    Drover will perform the following actions. They are marked so:
      + create

      # server.web will be created on n2
      # host: n2, the only host that fits
      + server "web" {
          + disk           = "8MiB"
          + flavor         = "flavor.small"
          + host           = "n2"
          + id             = "<id>"
          + image          = "image.guest"
          + image_checksum = "sha256:631b84027d6b…"
          + name           = "web"
          + power          = "on"
          + ram            = "512MiB"
          + vcpus          = 1
        }

      # image.guest will be fetched to n2

      # written down, no host is touched:
      + host.n1
      + host.n2
      + flavor.small
      + image.guest

    Plan: 1 to create, 0 to update, 0 to destroy. 4 records to write.

    The plan was not saved, so `drover apply` makes a new one. To apply exactly this
    one, save it with --out FILE.
    "#);
    let ran = fleet.drover(&["plan", "--json"]).exits(1);
    assert_eq!(ran.event("diagnostic")["unobserved_host"]["host"], "n1");
    assert_eq!(ran.event("change_summary")["complete"], false);
    fleet.drover(&["plan", "--detailed-exitcode"]).exits(1);
    fleet.host_named("n1").start();
    fleet.drover(&["plan"]).exits(0).says("will be created on n1");
}

#[test]
fn a_libvirt_that_is_away() {
    let fleet = fleet();
    fleet.hosts[0].hypervisor.set_away(true);
    let ran = fleet
        .drover(&["plan"])
        .exits(1)
        .says("Error: host n1 cannot report:");
    ran.says("check that libvirtd runs on this host")
        .says("will be created on n2");
    fleet.hosts[0].hypervisor.set_away(false);
    fleet.drover(&["plan"]).exits(0).says("will be created on n1");
}

#[test]
fn no_host_answers() {
    let mut fleet = fleet();
    fleet.host_named("n1").stop();
    fleet.host_named("n2").stop();
    let ran = fleet.drover(&["plan"]).exits(1);
    assert!(!ran.stdout.contains("will be created"), "{}", ran.text());
    let ran = fleet.drover(&["apply", "--auto-approve"]).exits(5);
    assert!(!ran.stdout.contains("will be created"), "{}", ran.text());
}

#[test]
fn another_host_at_an_address() {
    let fleet = fleet();
    let (n1, n2) = (
        fleet.hosts[0].address.to_string(),
        fleet.hosts[1].address.to_string(),
    );
    let base = fleet.base().replace(&n1, &n2);
    fleet.write("drover.hcl", &base);
    let ran = fleet.drover(&["plan"]);
    insta::assert_snapshot!(ran.text(), @r#"
    exit 1
    --- stdout
    Error: host.n2: its address is <n2>, and so is that of host n1
      hint: give each host the address of its own agent

    Error: host n1 is not trusted: <n2> is not trusted as
    spiffe://test/agent/n1, or does not trust us: this is spiffe://test/agent/n2,
    not spiffe://test/agent/n1
      No server is recorded there; nothing is planned on it or away from it.
      hint: compare its address and the two certificates (drover pki show FILE), or
            accept it with --allow-unreachable n1

    Drover will perform the following actions. They are marked so:
      + create

      # server.web will be created on n2
      # host: n2, the only host that fits
      + server "web" {
          + disk           = "8MiB"
          + flavor         = "flavor.small"
          + host           = "n2"
          + id             = "<id>"
          + image          = "image.guest"
          + image_checksum = "sha256:631b84027d6b…"
          + name           = "web"
          + power          = "on"
          + ram            = "512MiB"
          + vcpus          = 1
        }

      # image.guest will be fetched to n2

      # written down, no host is touched:
      + host.n1
      + host.n2
      + flavor.small
      + image.guest

    Plan: 1 to create, 0 to update, 0 to destroy. 4 records to write.

    The plan was not saved, so `drover apply` makes a new one. To apply exactly this
    one, save it with --out FILE.
    "#);
}

#[test]
fn something_else_listens_at_an_address() {
    let fleet = fleet();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2\r\n").expect("written");
    });
    fleet.write(
        "drover.hcl",
        &fleet
            .base()
            .replace(&fleet.hosts[0].address.to_string(), &address),
    );
    let ran = fleet.drover(&["plan"]).exits(1).says("host n1");
    assert!(!ran.stdout.contains("created on n1"), "{}", ran.text());
    answer.join().expect("it answered");
}

/// How much later than the first the second of these hosts was asked. They take connections and say nothing, so that each
/// costs the time that a connection may take, 5 s.
fn between_two(fleet: &Fleet, silent: &[TcpListener; 2], parallelism: &str) -> Duration {
    std::thread::scope(|scope| {
        let accept = |listener: &TcpListener| {
            let connection = listener.accept().expect("a client");
            (Instant::now(), connection)
        };
        let asked = silent
            .each_ref()
            .map(|listener| scope.spawn(move || accept(listener)));
        fleet
            .drover(&["plan", "--parallelism", parallelism])
            .exits(1)
            .says("no answer in time");
        let [one, other] = asked.map(|asked| asked.join().expect("it does not panic"));
        one.0.max(other.0) - one.0.min(other.0)
    })
}

#[test]
fn so_many_hosts_are_asked_at_a_time() {
    let fleet = fleet();
    let silent = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let mut base = fleet.base();
    for (host, listener) in fleet.hosts.iter().zip(&silent) {
        let at = listener.local_addr().expect("it is bound");
        base = base.replace(&host.address.to_string(), &at.to_string());
    }
    fleet.write("drover.hcl", &base);
    let begin = Instant::now();
    between_two(&fleet, &silent, "1");
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(10), "one after the other: {took:?}");
    let between = between_two(&fleet, &silent, "2");
    assert!(between < Duration::from_secs(5), "both at a time: {between:?}");
    fleet.drover(&["plan", "--parallelism", "0"]).exits(1);
}
