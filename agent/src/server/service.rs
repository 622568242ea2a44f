//! `ServerService`: requests parsed, admitted as operations, and handed to the work.

use super::adopt::{self, Adoption};
use super::change::Deletion;
use super::domain::ServerHere;
use super::failure::WorkError;
use super::request::{self, WantedServer};
use super::{change, console, create};
use crate::agent::Agent;
use crate::operations::{Header, NewOperation, OperationHandle, OperationStream, WorkResult, chain, invalid};
use drover_agent_core::oplog::{EpochClaim, OperationKind};
use drover_agent_core::power::WantedPower;
use drover_proto::field;
use drover_proto::v1::operation_result::Result as Success;
use drover_proto::v1::server_service_server::ServerService;
use drover_proto::v1::{
    AdoptServerRequest, ConsoleLogChunk, CreateServerRequest, DeleteServerRequest, GetConsoleLogRequest,
    RebootServerRequest, ServerResult, SetPowerRequest, UpdateServerRequest,
};
use drover_types::{Epoch, Generation, ServerId};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status};

/// Serves `ServerService`.
#[derive(Debug)]
pub struct Servers {
    agent: Arc<Agent>,
}

impl Servers {
    /// The service of this agent.
    #[must_use]
    pub fn new(agent: Arc<Agent>) -> Self {
        Self { agent }
    }

    async fn run<M, F, W>(
        &self,
        header: Header,
        kind: OperationKind,
        claim: EpochClaim,
        message: &M,
        work: F,
    ) -> Result<Response<OperationStream>, Status>
    where
        M: Serialize,
        F: FnOnce(Arc<Agent>, OperationHandle) -> W + Send + 'static,
        W: Future<Output = Result<ServerResult, WorkError>> + Send + 'static,
    {
        let new = NewOperation::new(header, kind, claim, message)?;
        let agent = Arc::clone(&self.agent);
        let work = move |handle| async move { as_result(work(agent, handle).await) };
        Ok(Response::new(self.agent.operations.run(new, work).await?))
    }

    /// The generation that the log knows, for requests that carry none: they belong to the present one.
    async fn generation(&self, server: ServerId) -> Result<Generation, Status> {
        let known = self
            .agent
            .operations
            .log()
            .read(move |state| state.generation(server))
            .await;
        let known = known.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(known.unwrap_or_default())
    }

    async fn held(&self, server: ServerId) -> Result<Option<Epoch>, Status> {
        let held = self
            .agent
            .operations
            .log()
            .read(move |state| state.held_epoch(server))
            .await;
        held.map_err(|error| Status::unavailable(error.to_string()))
    }
}

fn as_result(done: Result<ServerResult, WorkError>) -> WorkResult {
    Ok(Success::Server(done?))
}

fn server_id(text: &str) -> Result<ServerId, Status> {
    field::parse("server_id", text).map_err(|error| invalid(&error))
}

#[tonic::async_trait]
impl ServerService for Servers {
    type CreateServerStream = OperationStream;

    async fn create_server(
        &self,
        request: Request<CreateServerRequest>,
    ) -> Result<Response<Self::CreateServerStream>, Status> {
        let mut message = request.into_inner();
        let header = Header::read(message.header.take(), &self.agent.config.fleet)?;
        let server = field::required("server", message.server.clone()).map_err(|error| invalid(&error))?;
        let wanted = WantedServer::parse(self.agent.config.fleet.clone(), header.project.clone(), server)
            .map_err(|error| invalid(&error))?;
        let (epoch, adopt) = (Epoch::new(message.epoch), message.adopt);
        let claim = EpochClaim::Grant {
            server: wanted.id,
            epoch,
            generation: wanted.generation,
        };
        self.run(
            header,
            OperationKind::CreateServer,
            claim,
            &message,
            move |agent, handle| async move {
                if adopt {
                    create::adopt(&agent, wanted, epoch, &handle).await
                } else {
                    create::create(&agent, wanted, epoch, &handle).await
                }
            },
        )
        .await
    }

    type AdoptServerStream = OperationStream;

    async fn adopt_server(
        &self,
        request: Request<AdoptServerRequest>,
    ) -> Result<Response<Self::AdoptServerStream>, Status> {
        let mut message = request.into_inner();
        let header = Header::read(message.header.take(), &self.agent.config.fleet)?;
        let wanted = Adoption::parse(self.agent.config.fleet.clone(), header.project.clone(), &message)
            .map_err(|error| invalid(&error))?;
        let claim = EpochClaim::Grant {
            server: wanted.mark.id,
            epoch: wanted.mark.epoch,
            generation: wanted.mark.generation,
        };
        self.run(
            header,
            OperationKind::AdoptServer,
            claim,
            &message,
            move |agent, handle| async move { adopt::adopt(&agent, wanted, &handle).await },
        )
        .await
    }

    type UpdateServerStream = OperationStream;

    async fn update_server(
        &self,
        request: Request<UpdateServerRequest>,
    ) -> Result<Response<Self::UpdateServerStream>, Status> {
        let mut message = request.into_inner();
        let header = Header::read(message.header.take(), &self.agent.config.fleet)?;
        let server = field::required("server", message.server.clone()).map_err(|error| invalid(&error))?;
        let wanted = WantedServer::parse(self.agent.config.fleet.clone(), header.project.clone(), server)
            .map_err(|error| invalid(&error))?;
        let (epoch, restart) = (Epoch::new(message.epoch), change::Restart::of(&message));
        let claim = EpochClaim::Held {
            server: wanted.id,
            epoch,
            generation: wanted.generation,
        };
        self.run(
            header,
            OperationKind::UpdateServer,
            claim,
            &message,
            move |agent, handle| async move { change::update(&agent, wanted, epoch, restart, &handle).await },
        )
        .await
    }

    type SetPowerStream = OperationStream;

    async fn set_power(
        &self,
        request: Request<SetPowerRequest>,
    ) -> Result<Response<Self::SetPowerStream>, Status> {
        let mut message = request.into_inner();
        let header = Header::read(message.header.take(), &self.agent.config.fleet)?;
        let server = server_id(&message.server_id)?;
        let power = request::power(&message.power).map_err(|error| invalid(&error))?;
        let (epoch, grace) = (Epoch::new(message.epoch), Duration::from_millis(message.grace_ms));
        let kind = match power {
            WantedPower::On | WantedPower::Paused => OperationKind::StartServer,
            WantedPower::Off => OperationKind::StopServer,
        };
        let generation = Generation::new(message.generation);
        let claim = EpochClaim::Held {
            server,
            epoch,
            generation,
        };
        self.run(header, kind, claim, &message, move |agent, handle| async move {
            change::set_power(&agent, server, epoch, power, grace, &handle).await
        })
        .await
    }

    type RebootServerStream = OperationStream;

    async fn reboot_server(
        &self,
        request: Request<RebootServerRequest>,
    ) -> Result<Response<Self::RebootServerStream>, Status> {
        let mut message = request.into_inner();
        let header = Header::read(message.header.take(), &self.agent.config.fleet)?;
        let server = server_id(&message.server_id)?;
        let epoch = Epoch::new(message.epoch);
        let grace = (!message.hard).then(|| Duration::from_millis(message.grace_ms));
        let generation = self.generation(server).await?;
        let claim = EpochClaim::Held {
            server,
            epoch,
            generation,
        };
        self.run(
            header,
            OperationKind::RebootServer,
            claim,
            &message,
            move |agent, handle| async move { change::reboot(&agent, server, epoch, grace, &handle).await },
        )
        .await
    }

    type DeleteServerStream = OperationStream;

    async fn delete_server(
        &self,
        request: Request<DeleteServerRequest>,
    ) -> Result<Response<Self::DeleteServerStream>, Status> {
        let mut message = request.into_inner();
        let header = Header::read(message.header.take(), &self.agent.config.fleet)?;
        let server = server_id(&message.server_id)?;
        let epoch = Epoch::new(message.epoch);
        let generation = self.generation(server).await?;
        let held = self.held(server).await?;
        let what = Deletion::of(&message);
        // Who names the very epoch held here knows of it: it is given up with what is left.
        let claim = if held.is_some() && (what != Deletion::Leftover || held == Some(epoch)) {
            EpochClaim::Held {
                server,
                epoch,
                generation,
            }
        } else {
            EpochClaim::Remains { server, generation }
        };
        self.run(
            header,
            OperationKind::DeleteServer,
            claim,
            &message,
            move |agent, handle| async move { change::delete(&agent, server, held, what, &handle).await },
        )
        .await
    }

    type GetConsoleLogStream = BoxStream<'static, Result<ConsoleLogChunk, Status>>;

    async fn get_console_log(
        &self,
        request: Request<GetConsoleLogRequest>,
    ) -> Result<Response<Self::GetConsoleLogStream>, Status> {
        let message = request.into_inner();
        let server = server_id(&message.server_id)?;
        let kept = match ServerHere::new(&self.agent, server).kept().await {
            Ok(Some(kept)) => kept,
            Ok(None) => return Err(Status::not_found(format!("this host has no server {server}"))),
            Err(error) => return Err(Status::unavailable(chain(&error))),
        };
        let path = kept.console_log().ok_or_else(|| {
            Status::failed_precondition(format!(
                "server {server} was taken over as it was found, and its first serial port goes to no file"
            ))
        })?;
        Ok(Response::new(
            console::read(path, message.offset, message.follow).boxed(),
        ))
    }
}
