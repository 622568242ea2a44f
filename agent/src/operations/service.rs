//! `OperationService`: operations by id.

use super::OperationStream;
use super::header::{Header, invalid, not_logged, refused};
use crate::agent::Agent;
use crate::oplog::OperationLog;
use drover_agent_core::oplog::{OperationState, Record, State, Withdrawal, withdraw};
use drover_proto::field;
use drover_proto::v1::operation_service_server::OperationService;
use drover_proto::v1::{
    AcknowledgeOperationsRequest, AcknowledgeOperationsResponse, ListOperationsRequest,
    ListOperationsResponse, OperationSummary, WatchOperationRequest, WithdrawOperationRequest,
    WithdrawOperationResponse,
};
use drover_types::{FencingToken, OperationId};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `OperationService`.
#[derive(Debug)]
pub struct OperationQueries {
    agent: Arc<Agent>,
}

impl OperationQueries {
    /// The service of this agent.
    #[must_use]
    pub fn new(agent: Arc<Agent>) -> Self {
        Self { agent }
    }

    fn log(&self) -> &OperationLog {
        self.agent.operations.log()
    }
}

fn summaries(state: &State) -> Vec<OperationSummary> {
    let summary = |(operation, known): (OperationId, &OperationState)| {
        let (began, running) = match known {
            OperationState::Running(began) => (began, true),
            OperationState::Finished { began, .. } => (began, false),
            OperationState::Withdrawn { .. } => {
                return OperationSummary {
                    operation_id: operation.to_string(),
                    kind: "withdrawn".to_owned(),
                    ..OperationSummary::default()
                };
            }
        };
        OperationSummary {
            operation_id: operation.to_string(),
            kind: began.kind.as_str().to_owned(),
            server_id: began.server.map(|id| id.to_string()).unwrap_or_default(),
            running,
            request_id: began.request_id.to_string(),
        }
    };
    state.operations().map(summary).collect()
}

/// What to forget of these operations: those that ended. A higher token is recorded first.
fn acknowledge(
    state: &State,
    token: FencingToken,
    operations: &[OperationId],
) -> (Vec<Record>, Result<(), Status>) {
    if token < state.highest_token() {
        let stale = drover_agent_core::oplog::Refusal::StaleToken {
            sent: token,
            seen: state.highest_token(),
        };
        return (Vec::new(), Err(refused(&stale)));
    }
    let mut records = Vec::new();
    if token > state.highest_token() {
        records.push(Record::TokenSeen { token });
    }
    let mut ended: Vec<OperationId> = operations
        .iter()
        .copied()
        .filter(|operation| {
            matches!(
                state.operation(*operation),
                Some(OperationState::Finished { .. } | OperationState::Withdrawn { .. })
            )
        })
        .collect();
    ended.sort_unstable();
    ended.dedup();
    if !ended.is_empty() {
        records.push(Record::Acknowledged { operations: ended });
    }
    (records, Ok(()))
}

#[tonic::async_trait]
impl OperationService for OperationQueries {
    type WatchOperationStream = OperationStream;

    async fn watch_operation(
        &self,
        request: Request<WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        let operation = field::parse("operation_id", &request.into_inner().operation_id)
            .map_err(|error| invalid(&error))?;
        self.agent.operations.watch(operation).await.map(Response::new)
    }

    async fn list_operations(
        &self,
        _request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        let operations = self
            .log()
            .read(summaries)
            .await
            .map_err(|error| not_logged(&error))?;
        Ok(Response::new(ListOperationsResponse { operations }))
    }

    async fn acknowledge_operations(
        &self,
        request: Request<AcknowledgeOperationsRequest>,
    ) -> Result<Response<AcknowledgeOperationsResponse>, Status> {
        let request = request.into_inner();
        let token = FencingToken::new(request.fencing_token);
        let operations = request
            .operation_ids
            .iter()
            .map(|id| field::parse("operation_ids", id))
            .collect::<Result<Vec<OperationId>, _>>()
            .map_err(|error| invalid(&error))?;
        self.log()
            .transact(move |state| acknowledge(state, token, &operations))
            .await
            .map_err(|error| not_logged(&error))??;
        Ok(Response::new(AcknowledgeOperationsResponse {}))
    }

    async fn withdraw_operation(
        &self,
        request: Request<WithdrawOperationRequest>,
    ) -> Result<Response<WithdrawOperationResponse>, Status> {
        let header = Header::read(request.into_inner().header, &self.agent.config.fleet)?;
        let (operation, token) = (header.operation, header.token);
        let answer = self
            .log()
            .transact(move |state| match withdraw(state, operation, token) {
                Withdrawal::Withdrawn { append } => (append, Ok((true, false))),
                Withdrawal::Running(_) => (Vec::new(), Ok((false, true))),
                Withdrawal::Finished(_) => (Vec::new(), Ok((false, false))),
                Withdrawal::Refused(refusal) => (Vec::new(), Err(refused(&refusal))),
            })
            .await
            .map_err(|error| not_logged(&error))?;
        let (withdrawn, running) = answer?;
        tracing::info!(request = %header.request_id, %operation, withdrawn, "asked to withdraw");
        Ok(Response::new(WithdrawOperationResponse { withdrawn, running }))
    }
}
