//! After a restart: which part continues or undoes an operation that began and has no result.

use crate::agent::Agent;
use crate::operations::{Failure, OperationHandle, RecoverWork, WorkResult};
use crate::{image, migration, server};
use drover_agent_core::oplog::{Began, FailureCode, OperationKind};
use futures::FutureExt as _;
use std::sync::Arc;

/// The work that takes up operations of every kind.
pub(crate) fn work(agent: &Arc<Agent>) -> RecoverWork {
    let agent = agent.clone();
    Arc::new(move |began, handle| recover(agent.clone(), began, handle).boxed())
}

async fn recover(agent: Arc<Agent>, began: Began, handle: OperationHandle) -> WorkResult {
    match began.kind {
        OperationKind::FetchImage | OperationKind::RemoveImage => image::recover(agent, began, handle).await,
        OperationKind::CreateServer
        | OperationKind::DeleteServer
        | OperationKind::StartServer
        | OperationKind::StopServer
        | OperationKind::RebootServer
        | OperationKind::AdoptServer
        | OperationKind::UpdateServer => match began.server {
            Some(id) => server::recover(&agent, id, &began, &handle).await,
            None => Err(Failure::new(
                FailureCode::System,
                format!("operation {} names no server", began.operation),
            )),
        },
        OperationKind::MigrateOut | OperationKind::MigrateIn => {
            migration::recover(agent, began, handle).await
        }
    }
}
