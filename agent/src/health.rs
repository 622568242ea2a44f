//! `grpc.health.v1`: which services can do their work now, for load balancers, probes and people with grpcurl.
//!
//! Inventory, servers and migrations need libvirt, and serve while it answers; images, operations and the talk
//! of agents need only this process. The agent as a whole (the empty name) serves while all of them do.

use crate::agent::Agent;
use crate::operations::chain;
use drover_proto::v1::host_service_server::HostServiceServer;
use drover_proto::v1::image_service_server::ImageServiceServer;
use drover_proto::v1::migration_service_server::MigrationServiceServer;
use drover_proto::v1::operation_service_server::OperationServiceServer;
use drover_proto::v1::peer_service_server::PeerServiceServer;
use drover_proto::v1::server_service_server::ServerServiceServer;
use std::sync::Arc;
use std::time::Duration;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// How long a libvirt that went away without a word may still count as there.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The whole agent.
const WHOLE: &str = "";

/// What does its work through libvirt.
const THROUGH_LIBVIRT: [&str; 3] = [
    <HostServiceServer<crate::inventory::Hosts> as NamedService>::NAME,
    <ServerServiceServer<crate::server::Servers> as NamedService>::NAME,
    <MigrationServiceServer<crate::migration::Migrations> as NamedService>::NAME,
];

/// What needs only the agent.
const BY_ITSELF: [&str; 3] = [
    <ImageServiceServer<crate::image::Images> as NamedService>::NAME,
    <OperationServiceServer<crate::operations::OperationQueries> as NamedService>::NAME,
    <PeerServiceServer<crate::migration::Peers> as NamedService>::NAME,
];

async fn set(health: &HealthReporter, names: &[&'static str], status: ServingStatus) {
    for &name in names {
        health.set_service_status(name, status).await;
    }
}

/// Reports what serves, again and again; to be aborted.
pub(crate) async fn run(agent: Arc<Agent>, health: HealthReporter) {
    set(&health, &BY_ITSELF, ServingStatus::Serving).await;
    let mut changes = agent.hypervisor.inner().changes();
    let mut before = None;
    loop {
        changes.mark_unchanged();
        let answer = agent
            .hypervisor
            .run("looking whether libvirt answers", |hypervisor| hypervisor.host())
            .await;
        let now = match &answer {
            Ok(_) => ServingStatus::Serving,
            Err(_) => ServingStatus::NotServing,
        };
        if before != Some(now) {
            match &answer {
                Ok(_) => tracing::info!("libvirt answers"),
                Err(error) => tracing::warn!("libvirt does not answer: {}", chain(error)),
            }
            set(&health, &THROUGH_LIBVIRT, now).await;
            set(&health, &[WHOLE], now).await;
            before = Some(now);
        }
        // Every arm only waits, so dropping any of them loses nothing.
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Nothing serves any more.
pub(crate) async fn stop(health: &HealthReporter) {
    for names in [&THROUGH_LIBVIRT[..], &BY_ITSELF, &[WHOLE]] {
        set(health, names, ServingStatus::NotServing).await;
    }
}
