//! `MigrationService`: the planner's side of a migration.

use super::prepare::{Incoming, Outgoing, await_end, finish_or_undo, hand_over, prepare};
use crate::agent::Agent;
use crate::operations::{
    Failure, Header, NewOperation, OperationHandle, OperationStream, WorkResult, invalid,
};
use crate::server::{WantedServer, WorkError};
use drover_agent_core::handover::HandoverMode;
use drover_agent_core::oplog::{Began, EpochClaim, FailureCode, OperationKind};
use drover_proto::field;
use drover_proto::v1::migration_service_server::MigrationService;
use drover_proto::v1::operation_result::Result as Success;
use drover_proto::v1::{MigrateServerRequest, MigrationResult, PrepareMigrationRequest};
use drover_types::{Epoch, ServerId};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `MigrationService`.
#[derive(Debug)]
pub struct Migrations {
    agent: Arc<Agent>,
}

impl Migrations {
    /// The service of this agent.
    #[must_use]
    pub fn new(agent: Arc<Agent>) -> Self {
        Self { agent }
    }
}

const fn mode(cold: bool) -> HandoverMode {
    if cold {
        HandoverMode::Cold
    } else {
        HandoverMode::Live
    }
}

#[tonic::async_trait]
impl MigrationService for Migrations {
    type PrepareMigrationStream = OperationStream;

    async fn prepare_migration(
        &self,
        request: Request<PrepareMigrationRequest>,
    ) -> Result<Response<Self::PrepareMigrationStream>, Status> {
        let bad = |error| invalid(&error);
        let mut message = request.into_inner();
        let header = Header::read(message.header.take(), &self.agent.config.fleet)?;
        let server = field::required("server", message.server.clone()).map_err(bad)?;
        let fleet = self.agent.config.fleet.clone();
        let incoming = Incoming {
            wanted: WantedServer::parse(fleet, header.project.clone(), server).map_err(bad)?,
            epoch: Epoch::new(message.epoch),
            source: field::parse("source_host", &message.source_host).map_err(bad)?,
            source_address: message.source_address.clone(),
            mode: mode(message.cold),
        };
        let claim = EpochClaim::Takeover {
            server: incoming.wanted.id,
            epoch: incoming.epoch,
            generation: incoming.wanted.generation,
        };
        let new = NewOperation::new(header, OperationKind::MigrateIn, claim, &message)?;
        let agent = Arc::clone(&self.agent);
        let work = move |handle: OperationHandle| async move {
            let prepared = prepare(&agent, incoming, &handle).await?;
            Ok(Success::Prepared(prepared))
        };
        Ok(Response::new(self.agent.operations.run(new, work).await?))
    }

    type MigrateServerStream = OperationStream;

    async fn migrate_server(
        &self,
        request: Request<MigrateServerRequest>,
    ) -> Result<Response<Self::MigrateServerStream>, Status> {
        let bad = |error| invalid(&error);
        let mut message = request.into_inner();
        let header = Header::read(message.header.take(), &self.agent.config.fleet)?;
        let server: ServerId = field::parse("server_id", &message.server_id).map_err(bad)?;
        let generation = self
            .agent
            .operations
            .log()
            .read(move |state| state.generation(server))
            .await;
        let generation = generation.map_err(|error| Status::unavailable(error.to_string()))?;
        let outgoing = Outgoing {
            server,
            new_epoch: Epoch::new(message.new_epoch),
            fallback: Epoch::new(message.fallback_epoch),
            destination: field::parse("destination_host", &message.destination_host).map_err(bad)?,
            destination_address: message.destination_address.clone(),
            mode: mode(message.cold),
            max_downtime_ms: message.max_downtime_ms,
            bandwidth_mib_per_second: Some(message.bandwidth_mib_per_second).filter(|limit| *limit > 0),
        };
        if outgoing.fallback <= outgoing.new_epoch || outgoing.new_epoch <= Epoch::new(message.epoch) {
            return Err(Status::invalid_argument(
                "epoch, new_epoch and fallback_epoch must rise: each is used once and never again",
            ));
        }
        let claim = EpochClaim::Held {
            server,
            epoch: Epoch::new(message.epoch),
            generation: generation.unwrap_or_default(),
        };
        let new = NewOperation::new(header, OperationKind::MigrateOut, claim, &message)?;
        let agent = Arc::clone(&self.agent);
        let work = move |handle: OperationHandle| async move {
            let moved = hand_over(&agent, outgoing, &handle).await?;
            Ok(Success::Migration(moved))
        };
        Ok(Response::new(self.agent.operations.run(new, work).await?))
    }
}

/// Ends an interrupted migration: the hand-over itself goes on by its own, this waits for how it ends.
///
/// # Errors
/// Why the server was not handed over.
pub(crate) async fn recover(agent: Arc<Agent>, began: Began, handle: OperationHandle) -> WorkResult {
    let Some(server) = began.server else {
        let message = format!("operation {} names no server", began.operation);
        return Err(Failure::new(FailureCode::System, message));
    };
    match began.kind {
        OperationKind::MigrateIn => Ok(Success::Prepared(
            finish_or_undo(&agent, server, began.operation).await?,
        )),
        OperationKind::MigrateOut => Ok(Success::Migration(
            finish_outgoing(&agent, server, &began, &handle).await?,
        )),
        OperationKind::FetchImage
        | OperationKind::RemoveImage
        | OperationKind::CreateServer
        | OperationKind::DeleteServer
        | OperationKind::StartServer
        | OperationKind::StopServer
        | OperationKind::RebootServer
        | OperationKind::AdoptServer
        | OperationKind::UpdateServer => {
            let message = format!("{} is no migration", began.kind.as_str());
            Err(Failure::new(FailureCode::System, message))
        }
    }
}

async fn finish_outgoing(
    agent: &Arc<Agent>,
    server: ServerId,
    began: &Began,
    handle: &OperationHandle,
) -> Result<MigrationResult, Failure> {
    let operation = began.operation;
    let request: MigrateServerRequest = serde_json::from_value(began.request.clone()).map_err(|error| {
        let message = format!("the interrupted migration {operation} cannot be read back: {error}");
        Failure::new(FailureCode::System, message)
    })?;
    let new_epoch = Epoch::new(request.new_epoch);
    let attended = super::registry::attend(agent, server, operation, false).await;
    let attended = attended.map_err(|error| Failure::from_error(FailureCode::System, &error))?;
    if let Some(desk) = attended {
        return Ok(await_end(&desk, server, new_epoch, handle).await?);
    }
    // Settled, or never offered: whether it is still held tells which.
    let log = agent.operations.log();
    let held = log
        .read(move |state| state.held_epoch(server))
        .await
        .map_err(WorkError::Log)?;
    match held {
        None => Ok(MigrationResult {
            server_id: server.to_string(),
            epoch: new_epoch.get(),
            ..MigrationResult::default()
        }),
        Some(_) => {
            super::destination::tidy(&agent.config.data_dir, operation);
            let reason = "the agent was restarted before it could be handed over".to_owned();
            Err(WorkError::Aborted { server, reason }.into())
        }
    }
}
