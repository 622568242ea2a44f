//! `HostService`: what the host is, has and runs.

use super::collect::collect;
use crate::agent::Agent;
use drover_agent_core::oplog::Record;
use drover_proto::field;
use drover_proto::v1::host_service_server::HostService;
use drover_proto::v1::{GetInventoryRequest, Inventory, ReadmitHostRequest, ReadmitHostResponse};
use drover_types::{Epoch, FencingToken, IncarnationId, ServerId};
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `HostService`.
#[derive(Debug)]
pub struct Hosts {
    agent: Arc<Agent>,
}

impl Hosts {
    /// The service of this agent.
    #[must_use]
    pub fn new(agent: Arc<Agent>) -> Self {
        Self { agent }
    }
}

#[tonic::async_trait]
impl HostService for Hosts {
    async fn get_inventory(
        &self,
        _request: Request<GetInventoryRequest>,
    ) -> Result<Response<Inventory>, Status> {
        match collect(&self.agent).await {
            Ok(inventory) => Ok(Response::new(inventory)),
            Err(error) => Err(crate::operations::unwell(&error)),
        }
    }

    async fn readmit_host(
        &self,
        request: Request<ReadmitHostRequest>,
    ) -> Result<Response<ReadmitHostResponse>, Status> {
        let message = request.into_inner();
        let invalid = |error| crate::operations::invalid(&error);
        let expected: IncarnationId = field::parse("incarnation", &message.incarnation).map_err(invalid)?;
        let mut held = BTreeMap::new();
        for keep in &message.keep {
            let server: ServerId = field::parse("keep.server_id", &keep.server_id).map_err(invalid)?;
            held.insert(server, Epoch::new(keep.epoch));
        }
        let token = FencingToken::new(message.fencing_token);
        let decided = self
            .agent
            .operations
            .log()
            .transact(move |state| {
                let current = state.incarnation();
                if current != Some(expected) {
                    return (Vec::new(), Err((current, expected)));
                }
                if !state.is_void() {
                    return (Vec::new(), Ok(expected));
                }
                (vec![Record::Readmitted { token, held }], Ok(expected))
            })
            .await
            .map_err(|error| crate::operations::unwell(&error))?;
        match decided {
            Ok(incarnation) => Ok(Response::new(ReadmitHostResponse {
                incarnation: incarnation.to_string(),
            })),
            Err((current, expected)) => Err(Status::failed_precondition(format!(
                "this agent's operation log is {}, not {expected}; look at the host again",
                current.map(|life| life.to_string()).unwrap_or_default()
            ))),
        }
    }
}
