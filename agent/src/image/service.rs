//! `ImageService`: the image cache on the wire, and its interrupted work after a restart.

use super::cache::HeldImage;
use super::order::ImageOrder;
use crate::agent::Agent;
use crate::operations::{
    Failure, Header, NewOperation, OperationHandle, OperationStream, WorkResult, invalid,
};
use crate::server;
use drover_agent_core::oplog::{Began, EpochClaim, FailureCode, OperationKind};
use drover_proto::field;
use drover_proto::v1::image_service_server::ImageService;
use drover_proto::v1::operation_result::Result as Success;
use drover_proto::v1::{DeleteImageRequest, EnsureImageRequest, ImageResult, OperationProgress};
use drover_types::Sha256Digest;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `ImageService`.
#[derive(Debug)]
pub struct Images {
    agent: Arc<Agent>,
}

impl Images {
    /// The service of this agent.
    #[must_use]
    pub fn new(agent: Arc<Agent>) -> Self {
        Self { agent }
    }
}

impl Agent {
    /// Sees to it that an image is in the cache, reports progress on the operation, and keeps the image there
    /// until the answer is dropped.
    ///
    /// # Errors
    /// Why it is not there.
    pub async fn ensure_image(
        &self,
        order: &ImageOrder,
        operation: &OperationHandle,
    ) -> Result<HeldImage, Failure> {
        self.images.ensure(order, &reporter(operation)).await
    }
}

fn reporter(operation: &OperationHandle) -> impl Fn(&'static str, u64, u64) + Send + Sync + 'static {
    let operation = operation.clone();
    move |phase, done_bytes, total_bytes| {
        operation.progress(OperationProgress {
            phase: phase.to_owned(),
            done_bytes,
            total_bytes,
            ..OperationProgress::default()
        });
    }
}

async fn ensure(agent: &Agent, order: &ImageOrder, operation: &OperationHandle) -> WorkResult {
    let (image, cached) = agent.images.fetched(order, &reporter(operation)).await?;
    Ok(Success::Image(ImageResult {
        checksum: image.checksum.to_string(),
        virtual_size: image.virtual_size,
        disk_size: image.disk_size,
        cached,
    }))
}

async fn delete(agent: &Agent, checksum: Sha256Digest) -> WorkResult {
    let (images, servers) = (agent.images.clone(), agent.config.servers_dir());
    images.settled(checksum).await;
    let removed = tokio::task::spawn_blocking(move || {
        images.remove(checksum, || server::count_users(&servers, checksum))
    })
    .await
    .map_err(|fault| Failure::new(FailureCode::System, format!("image cache: {fault}")))?;
    removed.map_err(|error| error.failure())?;
    Ok(Success::Image(ImageResult {
        checksum: checksum.to_string(),
        ..ImageResult::default()
    }))
}

/// Takes up image work that a restart interrupted: both kinds are done again from the start, since neither
/// leaves anything half-done.
pub(crate) async fn recover(agent: Arc<Agent>, began: Began, handle: OperationHandle) -> WorkResult {
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        Failure::from_error(FailureCode::System, error).hint("plan again")
    };
    match began.kind {
        OperationKind::RemoveImage => {
            let request: DeleteImageRequest = stored(&began)?;
            let checksum = field::parse("checksum", &request.checksum).map_err(|error| unreadable(&error))?;
            delete(&agent, checksum).await
        }
        OperationKind::FetchImage
        | OperationKind::CreateServer
        | OperationKind::DeleteServer
        | OperationKind::StartServer
        | OperationKind::StopServer
        | OperationKind::RebootServer
        | OperationKind::AdoptServer
        | OperationKind::UpdateServer
        | OperationKind::MigrateOut
        | OperationKind::MigrateIn => {
            let request: EnsureImageRequest = stored(&began)?;
            let image = field::required("image", request.image).map_err(|error| unreadable(&error))?;
            let order = ImageOrder::read(&image).map_err(|error| unreadable(&error))?;
            ensure(&agent, &order, &handle).await
        }
    }
}

fn stored<M: DeserializeOwned>(began: &Began) -> Result<M, Failure> {
    serde_json::from_value(began.request.clone())
        .map_err(|error| Failure::from_error(FailureCode::System, &error).hint("plan again"))
}

#[tonic::async_trait]
impl ImageService for Images {
    type EnsureImageStream = OperationStream;

    async fn ensure_image(
        &self,
        request: Request<EnsureImageRequest>,
    ) -> Result<Response<Self::EnsureImageStream>, Status> {
        let mut request = request.into_inner();
        let header = Header::read(request.header.take(), &self.agent.config.fleet)?;
        let image = field::required("image", request.image.as_ref()).map_err(|error| invalid(&error))?;
        let order = ImageOrder::read(image).map_err(|error| invalid(&error))?;
        let new = NewOperation::new(header, OperationKind::FetchImage, EpochClaim::Host, &request)?;
        let agent = self.agent.clone();
        let stream = self
            .agent
            .operations
            .run(new, |handle| async move { ensure(&agent, &order, &handle).await })
            .await?;
        Ok(Response::new(stream))
    }

    type DeleteImageStream = OperationStream;

    async fn delete_image(
        &self,
        request: Request<DeleteImageRequest>,
    ) -> Result<Response<Self::DeleteImageStream>, Status> {
        let mut request = request.into_inner();
        let header = Header::read(request.header.take(), &self.agent.config.fleet)?;
        let checksum = field::parse("checksum", &request.checksum).map_err(|error| invalid(&error))?;
        let new = NewOperation::new(header, OperationKind::RemoveImage, EpochClaim::Host, &request)?;
        let agent = self.agent.clone();
        let stream = self
            .agent
            .operations
            .run(new, move |_| async move { delete(&agent, checksum).await })
            .await?;
        Ok(Response::new(stream))
    }
}
