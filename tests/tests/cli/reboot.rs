//! Reboots: what the command asks for, and what the agent does with a guest that does not listen.

use crate::apply::applied;
use crate::fake_hosts::{AGENTS, FLEET, Fleet};
use drover_agent::hypervisor::PowerTurn;
use drover_proto::transport::{CredentialFiles, Credentials, Timeouts, connect};
use drover_proto::v1::operation_event::Event;
use drover_proto::v1::operation_finished::Outcome;
use drover_proto::v1::server_service_client::ServerServiceClient;
use drover_proto::v1::{OperationHeader, RebootServerRequest};
use drover_tests::lab::{WAIT_LONG, poll_until};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The only server of host n1.
const ADDRESS: &str = "server.web[0]";

/// The turns of n1's guest since it was first started.
fn turns(fleet: &Fleet) -> Vec<(Instant, PowerTurn)> {
    let turns = fleet.hosts[0].hypervisor.turns();
    assert_eq!(turns[0].1, PowerTurn::Started);
    turns[1..].to_vec()
}

fn words(turns: &[(Instant, PowerTurn)]) -> Vec<PowerTurn> {
    turns.iter().map(|(_, turn)| *turn).collect()
}

#[test]
fn a_soft_reboot_gives_the_guest_two_minutes_and_a_hard_one_nothing() {
    let fleet = applied();
    fleet.drover(&["server", "reboot", ADDRESS]).exits(0);
    assert_eq!(words(&turns(&fleet)), [PowerTurn::Asked, PowerTurn::Started]);
    fleet.drover(&["server", "reboot", "--hard", ADDRESS]).exits(0);
    assert_eq!(words(&turns(&fleet)[2..]), [PowerTurn::Ended, PowerTurn::Started]);
    let log = std::fs::read(fleet.hosts[0].config.operation_log()).expect("the agent has a log");
    let log = String::from_utf8_lossy(&log);
    let asked: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("\"reboot_server\""))
        .collect();
    assert_eq!(asked.len(), 2, "{log}");
    for (line, hard) in asked.iter().zip(["\"hard\":false", "\"hard\":true"]) {
        assert!(
            line.contains("\"grace_ms\":120000") && line.contains(hard),
            "{line}"
        );
    }
}

/// Reboots n1's server over the agent's port, with a grace of the test's choice.
fn reboot(fleet: &Fleet, grace: Duration) -> Outcome {
    let shown = fleet.drover(&["server", "show", ADDRESS, "--json"]).exits(0);
    let id = raw_id(fleet);
    assert_eq!(shown.json()["observed_on"], "n1");
    let tls = fleet.project().join(".drover/tls");
    let credentials = Credentials::load(&CredentialFiles {
        ca_file: tls.join("ca.pem"),
        cert_file: tls.join("cert.pem"),
        key_file: tls.join("key.pem"),
    })
    .expect("the operator's credentials");
    let agent = format!("spiffe://{FLEET}/agent/n1").parse().expect("an identity");
    let port = fleet.hosts[0].address.port();
    let request = RebootServerRequest {
        header: Some(OperationHeader {
            operation_id: "6e6f7065-0000-4000-8000-000000000009".to_owned(),
            fencing_token: 1_000,
            request_id: "req-6e6f7065-0000-4000-8000-000000000009".to_owned(),
            fleet: FLEET.to_owned(),
            project: "default".to_owned(),
        }),
        server_id: id,
        epoch: 1,
        hard: false,
        grace_ms: grace.as_millis().try_into().expect("short"),
    };
    AGENTS.block_on(async {
        let channel = connect("127.0.0.1", port, &agent, &credentials, Timeouts::default())
            .await
            .expect("connected");
        let mut events = ServerServiceClient::new(channel)
            .reboot_server(request)
            .await
            .expect("admitted")
            .into_inner();
        loop {
            match events.message().await.expect("no error").expect("not cut").event {
                Some(Event::Finished(finished)) => return finished.outcome.expect("an outcome"),
                Some(Event::Accepted(_) | Event::Progress(_)) | None => {}
            }
        }
    })
}

fn raw_id(fleet: &Fleet) -> String {
    let domains = fleet.hosts[0].hypervisor.all();
    domains[0].uuid.to_string()
}

#[test]
fn one_reboots_a_server_at_a_time_and_a_dead_claim_is_in_nobodys_way() {
    let fleet = applied();
    let hypervisor = &fleet.hosts[0].hypervisor;
    hypervisor.hold_starts(true);
    let mut command = fleet.command(&["server", "reboot", ADDRESS]);
    let mut first = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("drover starts");
    let asked = poll_until("a guest that is asked", WAIT_LONG, || {
        turns(&fleet).first().copied()
    });
    asked.expect("the agent is at work");
    for command in [
        &["server", "reboot", ADDRESS][..],
        &["server", "reboot", "--hard", ADDRESS],
    ] {
        fleet
            .drover(command)
            .exits(3)
            .says(&format!("Error: {ADDRESS} is claimed: reboot by "));
    }
    fleet
        .drover(&["plan", "--replace", ADDRESS])
        .says("nothing is planned on it: it is claimed: reboot by ");
    first.kill().expect("our child can be killed");
    first.wait().expect("our child can be waited for");
    hypervisor.hold_starts(false);
    // Its agent ends what it was asked for, and nobody gives the claim back.
    let settled = poll_until("a reboot after the dead one", WAIT_LONG, || {
        let ran = fleet.drover(&["server", "reboot", "--hard", ADDRESS]);
        println!("{}", ran.text());
        (ran.status == 0).then_some(())
    });
    settled.expect("a claim of a dead command is settled");
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes");
}

#[test]
fn a_guest_that_does_not_listen_is_ended_after_the_grace_and_not_before() {
    let fleet = applied();
    fleet.hosts[0].hypervisor.ignore_shutdown();
    let grace = Duration::from_secs(2);
    let outcome = reboot(&fleet, grace);
    assert!(matches!(outcome, Outcome::Succeeded(_)), "{outcome:?}");
    let turns = turns(&fleet);
    assert_eq!(
        words(&turns),
        [PowerTurn::Asked, PowerTurn::Ended, PowerTurn::Started]
    );
    let waited = turns[1].0 - turns[0].0;
    assert!(waited >= grace, "ended after {waited:?}");
    assert!(waited < grace + WAIT_LONG, "ended after {waited:?}");
}
