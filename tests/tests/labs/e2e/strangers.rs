//! An agent that is not named in a hand-over, with a certificate as good as theirs, while the two wait for
//! each other: whatever it asks or tells is refused, and nothing changes.

use crate::e2e::calls::with_agent;
use crate::e2e::fleet::{Fleet, Server};
use drover_proto::v1::operation_service_client::OperationServiceClient;
use drover_proto::v1::peer_service_client::PeerServiceClient;
use drover_proto::v1::tunnel_frame::Frame;
use drover_proto::v1::{
    HandoverRecord, HandoverRequest, ListOperationsRequest, TellHandoverRequest, TunnelChannel, TunnelFrame,
    TunnelOpen,
};
use drover_tests::lab::TlsFiles;
use tonic::{Code, Status};

/// The hand-over that a host has open.
fn operation(fleet: &Fleet<'_>, host: &str, server: &Server) -> String {
    let operator = fleet.lab.operator().expect("the lab has an operator");
    let listed = with_agent(fleet.lab, host, operator, |channel| async {
        OperationServiceClient::new(channel)
            .list_operations(ListOperationsRequest {})
            .await
            .expect("listed")
    });
    let all = listed.into_inner().operations;
    let found = all
        .iter()
        .find(|operation| operation.kind.starts_with("migrate_") && operation.server_id == server.id);
    found
        .unwrap_or_else(|| panic!("no migration of {} on {host}: {all:?}", server.id))
        .operation_id
        .clone()
}

/// What a host keeps of the hand-over: its log, and the server's files with their sizes.
fn kept(fleet: &Fleet<'_>, host: &str, server: &Server) -> (Vec<u8>, Vec<(String, u64)>) {
    let log = std::fs::read(fleet.host(host).agent_data().join("operations.log")).expect("it is there");
    let mut files: Vec<(String, u64)> = std::fs::read_dir(fleet.directory(host, server))
        .expect("the server has a directory")
        .flatten()
        .map(|entry| {
            let size = entry.metadata().expect("a file has a size").len();
            (entry.file_name().to_string_lossy().into_owned(), size)
        })
        .collect();
    files.sort();
    (log, files)
}

/// Every call of `PeerService` on one host, as the agent `name`, about the hand-over that is open there.
fn calls(
    fleet: &Fleet<'_>,
    host: &str,
    files: &TlsFiles,
    handover: &HandoverRequest,
) -> Vec<(String, Status)> {
    with_agent(fleet.lab, host, files.clone(), |channel| async {
        let mut client = PeerServiceClient::new(channel);
        let mut refused = Vec::new();
        let mut expect = |call: String, answer: Result<String, Status>| match answer {
            Ok(said) => panic!("{call} on {host} was answered: {said}"),
            Err(status) => refused.push((call, status)),
        };
        for asked_by_source in [true, false] {
            let handover = HandoverRequest {
                asked_by_source,
                ..handover.clone()
            };
            let answer = client.get_handover(handover.clone()).await;
            expect(
                "GetHandover".to_owned(),
                answer.map(|answer| format!("{answer:?}")),
            );
            let answer = client.confirm_ready(handover.clone()).await;
            expect(
                "ConfirmReady".to_owned(),
                answer.map(|answer| format!("{answer:?}")),
            );
            let records = if asked_by_source {
                [HandoverRecord::Released, HandoverRecord::Aborted]
            } else {
                [HandoverRecord::Acquired, HandoverRecord::Declined]
            };
            for record in records {
                let tell = TellHandoverRequest {
                    handover: Some(handover.clone()),
                    record: record.into(),
                    power_state: "running".to_owned(),
                };
                let answer = client.tell_handover(tell).await;
                expect(
                    format!("TellHandover {record:?}"),
                    answer.map(|answer| format!("{answer:?}")),
                );
            }
        }
        for channel in [
            TunnelChannel::Control,
            TunnelChannel::Memory,
            TunnelChannel::Disk,
            TunnelChannel::ColdDisk,
        ] {
            let open = TunnelFrame {
                frame: Some(Frame::Open(TunnelOpen {
                    operation_id: handover.operation_id.clone(),
                    channel: channel.into(),
                })),
            };
            let frames = futures::stream::iter([open]);
            let answer = client.tunnel(frames).await;
            expect(
                format!("Tunnel {channel:?}"),
                answer.map(|_| "a stream".to_owned()),
            );
        }
        refused
    })
}

/// While the source has let go and the destination has not heard of it.
pub(crate) fn change_nothing(fleet: &Fleet<'_>, server: &Server, to: &str) {
    let third = fleet
        .lab
        .hosts()
        .iter()
        .map(|host| host.name())
        .find(|name| *name != server.host && *name != to)
        .expect("the lab has a third host");
    let pki = fleet.lab.pki().expect("the lab has an authority");
    let files = pki.issue("agent", third).expect("a certificate");
    let handover = HandoverRequest {
        operation_id: operation(fleet, &server.host, server),
        server_id: server.id.clone(),
        // The one reserved for the destination: the highest that either knows.
        epoch: u64::MAX,
        asked_by_source: true,
    };
    for host in [server.host.as_str(), to] {
        let before = kept(fleet, host, server);
        let refused = calls(fleet, host, &files, &handover);
        assert_eq!(refused.len(), 12, "{refused:?}");
        for (call, status) in refused {
            assert_eq!(
                status.code(),
                Code::PermissionDenied,
                "{call} on {host}: {status}"
            );
        }
        assert_eq!(
            kept(fleet, host, server),
            before,
            "{third} changed something on {host}"
        );
    }
    assert_eq!(
        fleet.lab.running_on(&server.id).expect("every libvirtd answers"),
        Vec::<String>::new(),
        "nobody runs it on a stranger's word"
    );
}
