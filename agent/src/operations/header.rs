//! What every changing request carries, checked; and the answers to requests that may not begin.

use super::failure::chain;
use crate::oplog::AppendError;
use drover_agent_core::oplog::Refusal;
use drover_proto::field::{self, FieldError};
use drover_proto::v1;
use drover_types::{FencingToken, FleetName, OperationId, ProjectName, RequestId};
use tonic::{Code, Status};

/// Metadata key of the kind of a refusal: the agent's own word that nothing was done.
pub(super) const REFUSAL: &str = "drover-refusal";
/// Metadata key of the operation that is in the way, where the refusal is `busy`.
pub(super) const OPERATION: &str = "drover-operation";

/// What every changing request carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The operation.
    pub operation: OperationId,
    /// Who applies.
    pub token: FencingToken,
    /// The command that sent it.
    pub request_id: RequestId,
    /// The project it belongs to.
    pub project: ProjectName,
}

impl Header {
    /// Reads a header of our fleet.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` naming the field; `PERMISSION_DENIED` for another fleet.
    pub fn read(header: Option<v1::OperationHeader>, ours: &FleetName) -> Result<Self, Status> {
        let header = field::required("header", header).map_err(|error| invalid(&error))?;
        let fleet: FleetName =
            field::parse("header.fleet", &header.fleet).map_err(|error| invalid(&error))?;
        if &fleet != ours {
            return Err(Status::permission_denied(format!(
                "this agent belongs to fleet {ours}, the request is for {fleet}"
            )));
        }
        Ok(Self {
            operation: field::parse("header.operation_id", &header.operation_id)
                .map_err(|error| invalid(&error))?,
            token: FencingToken::new(header.fencing_token),
            request_id: RequestId::from_untrusted(&header.request_id),
            project: field::parse("header.project", &header.project).map_err(|error| invalid(&error))?,
        })
    }
}

/// A field that does not hold what it must, as `INVALID_ARGUMENT`.
#[must_use]
pub(crate) fn invalid(error: &FieldError) -> Status {
    Status::invalid_argument(chain(error))
}

/// A refusal, as a status whose metadata names its kind.
pub(super) fn refused(refusal: &Refusal) -> Status {
    let (code, kind) = match refusal {
        Refusal::StaleToken { .. } => (Code::FailedPrecondition, "stale_token"),
        Refusal::OtherRequestSameId(_) => (Code::AlreadyExists, "other_request_same_id"),
        Refusal::Withdrawn(_) => (Code::FailedPrecondition, "withdrawn"),
        Refusal::Acknowledged(_) => (Code::FailedPrecondition, "acknowledged"),
        Refusal::Busy { .. } => (Code::Aborted, "busy"),
        Refusal::HandingOver { .. } => (Code::Aborted, "handing_over"),
        Refusal::StaleGeneration { .. } => (Code::FailedPrecondition, "stale_generation"),
        Refusal::NotHolder { .. } => (Code::FailedPrecondition, "not_holder"),
        Refusal::Holder { .. } => (Code::FailedPrecondition, "holder"),
        Refusal::EpochMismatch { .. } => (Code::FailedPrecondition, "epoch_mismatch"),
        Refusal::EpochUsed { .. } => (Code::FailedPrecondition, "epoch_used"),
        Refusal::VoidEpochs => (Code::FailedPrecondition, "void_epochs"),
        Refusal::OtherIncarnation { .. } => (Code::FailedPrecondition, "other_incarnation"),
        Refusal::NotOpen => (Code::Unavailable, "not_open"),
    };
    let mut status = Status::new(code, refusal.to_string());
    let metadata = status.metadata_mut();
    metadata.insert(REFUSAL, tonic::metadata::MetadataValue::from_static(kind));
    if let Refusal::Busy { operation, .. } | Refusal::HandingOver { operation, .. } = refusal
        && let Ok(operation) = operation.to_string().parse()
    {
        metadata.insert(OPERATION, operation);
    }
    status
}

/// A log that took no records, as a status: nothing was done.
pub(super) fn not_logged(error: &AppendError) -> Status {
    let code = match error {
        AppendError::NoRoom(_) => Code::ResourceExhausted,
        AppendError::Encode(_) => Code::InvalidArgument,
        AppendError::Refused(_) => Code::Internal,
        AppendError::Write(_) | AppendError::Broken | AppendError::Closed => Code::Unavailable,
    };
    marked(Status::new(code, chain(error)))
}

/// The agent is there and cannot answer, for example because its libvirt is away.
pub(crate) fn unwell(error: &(dyn std::error::Error + 'static)) -> Status {
    marked(Status::unavailable(chain(error)))
}

/// The agent's own word, which a caller tells by it from a connection that broke.
fn marked(mut status: Status) -> Status {
    status.metadata_mut().insert(
        "drover-agent",
        tonic::metadata::MetadataValue::from_static("unwell"),
    );
    status
}
