//! A guest that hears nothing: it is ended after the grace and not before. And one request's id, which is the
//! same in the command's log, in the agent's, in its list of operations and in its operation log.

use crate::e2e::calls::with_agent;
use crate::e2e::fleet::Fleet;
use drover_proto::v1::operation_event::Event;
use drover_proto::v1::operation_finished::Outcome;
use drover_proto::v1::operation_service_client::OperationServiceClient;
use drover_proto::v1::server_service_client::ServerServiceClient;
use drover_proto::v1::{ListOperationsRequest, OperationHeader, OperationSummary, RebootServerRequest};
use drover_tests::lab::{Lab, TlsFiles, WAIT_LONG, poll_until};
use drover_types::Sha256Digest;
use std::process::Stdio;
use std::time::{Duration, Instant};

const ADDRESS: &str = "server.deaf";

/// A server whose disk boots nothing.
fn blank(lab: &Lab) -> String {
    let path = lab.directory().join("blank.img");
    let bytes = vec![0; 1 << 20];
    std::fs::write(&path, &bytes).expect("the lab's directory can be written");
    format!(
        r#"image "blank" {{
  source   = "file://{}"
  checksum = "{}"
  format   = "raw"
}}

flavor "tiny" {{
  vcpus = 1
  ram   = "128MiB"
  disk  = "8MiB"
}}

server "deaf" {{
  flavor = flavor.tiny
  image  = image.blank
}}
"#,
        path.display(),
        Sha256Digest::of(&bytes)
    )
}

fn operator(lab: &Lab) -> TlsFiles {
    lab.operator().expect("the lab has an operator")
}

/// The QEMU process of a domain.
fn pid(fleet: &Fleet<'_>, host: &str, id: &str) -> Option<i32> {
    let uuid = format!("-uuid {id}");
    let processes = fleet.host(host).processes();
    let found = processes
        .iter()
        .find(|process| process.command.contains("qemu-system") && process.command.contains(&uuid))?;
    Some(found.process.pid)
}

pub(crate) fn a_deaf_guest_is_ended_after_the_grace(fleet: &Fleet<'_>) {
    fleet.configure(&[], &blank(fleet.lab));
    fleet.apply();
    let server = fleet.server(ADDRESS);
    let first = pid(fleet, &server.host, &server.id).expect("QEMU runs");
    let grace = Duration::from_secs(6);
    let request = RebootServerRequest {
        header: Some(OperationHeader {
            operation_id: "6e6f7065-0000-4000-8000-000000000009".to_owned(),
            fencing_token: 1,
            request_id: "req-6e6f7065-0000-4000-8000-000000000009".to_owned(),
            fleet: "lab".to_owned(),
            project: "default".to_owned(),
        }),
        server_id: server.id.clone(),
        epoch: 1,
        hard: false,
        grace_ms: 6_000,
    };
    let outcome = with_agent(fleet.lab, &server.host, operator(fleet.lab), |channel| async {
        let begin = Instant::now();
        let mut events = ServerServiceClient::new(channel)
            .reboot_server(request)
            .await
            .expect("admitted")
            .into_inner();
        loop {
            // The old QEMU runs until the grace is over, and is looked at all the while.
            let event = tokio::time::timeout(Duration::from_millis(100), events.message()).await;
            match event.map(|event| event.expect("no error").expect("not cut").event) {
                Ok(Some(Event::Finished(finished))) => break (finished.outcome, begin.elapsed()),
                Ok(Some(Event::Accepted(_) | Event::Progress(_)) | None) | Err(_) => {}
            }
            let now = pid(fleet, &server.host, &server.id);
            if begin.elapsed() < grace {
                assert_eq!(now.as_ref(), Some(&first), "ended within {:?}", begin.elapsed());
            }
        }
    });
    let (outcome, took) = outcome;
    assert!(matches!(outcome, Some(Outcome::Succeeded(_))), "{outcome:?}");
    assert!(took >= grace, "it took {took:?}");
    let second = pid(fleet, &server.host, &server.id).expect("QEMU runs");
    assert_ne!(first, second, "a new QEMU");
}

fn running(fleet: &Fleet<'_>, host: &str) -> Vec<OperationSummary> {
    let listed = with_agent(fleet.lab, host, operator(fleet.lab), |channel| async {
        OperationServiceClient::new(channel)
            .list_operations(ListOperationsRequest {})
            .await
            .expect("listed")
    });
    let mut all = listed.into_inner().operations;
    all.retain(|operation| operation.running);
    all
}

/// The id in brackets of a log line in the one format, and whether a place in the source ends it.
fn id_of(line: &str) -> Option<&str> {
    let (head, rest) = line.split_once(" [")?;
    let (id, rest) = rest.split_once("] ")?;
    let [time, _level, _module] = head.split(' ').collect::<Vec<_>>().try_into().ok()?;
    time.parse::<jiff::Timestamp>().ok()?;
    let (file, number) = rest.rsplit(' ').next()?.rsplit_once(':')?;
    number.parse::<u32>().ok()?;
    file.ends_with(".rs").then_some(id)
}

/// Leaves a reboot under way, for which the guest has two minutes.
pub(crate) fn one_request_id_goes_all_the_way(fleet: &Fleet<'_>) {
    let server = fleet.server(ADDRESS);
    let mut reboot = fleet.workspace.command(&["server", "reboot", ADDRESS]);
    let log = fleet.lab.directory().join("reboot.log");
    let stderr = std::fs::File::create(&log).expect("the lab's directory can be written");
    let mut reboot = reboot
        .env("DROVER_LOG", "drover=debug")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .expect("drover starts");
    let operation = poll_until("the reboot under way", WAIT_LONG, || {
        running(fleet, &server.host)
            .into_iter()
            .find(|operation| operation.kind == "reboot_server")
    })
    .unwrap_or_else(|error| panic!("{error}"));
    let id = operation.request_id.as_str();
    assert!(id.starts_with("req-"), "{operation:?}");

    let said = poll_until("a line of the command's log", WAIT_LONG, || {
        let text = std::fs::read_to_string(&log).ok()?;
        let ids: Vec<String> = text.lines().filter_map(id_of).map(str::to_owned).collect();
        (!ids.is_empty()).then_some(ids)
    });
    let said = said.unwrap_or_else(|error| panic!("{error}: {:?}", std::fs::read_to_string(&log)));
    assert!(said.iter().all(|one| one == id), "{said:?} and not {id}");

    let host = fleet.host(&server.host);
    let agents = host.agent_log().expect("the agent has a log");
    let line = agents
        .lines()
        .find(|line| id_of(line) == Some(id))
        .unwrap_or_else(|| panic!("no line of {id} in {agents}"));
    assert!(line.contains(&operation.operation_id), "{line}");

    let logged = std::fs::read(host.agent_data().join("operations.log")).expect("it is there");
    let logged = String::from_utf8_lossy(&logged).into_owned();
    let record = logged
        .lines()
        .find(|line| line.contains(&operation.operation_id))
        .unwrap_or_else(|| panic!("no record of {operation:?} in {logged}"));
    assert!(record.contains(&format!("\"{id}\"")), "{record}");
    reboot.kill().expect("drover can be killed");
    reboot.wait().expect("it ends");
}
