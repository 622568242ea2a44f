//! How work ends, and how its end stands in the log and on the wire.

use drover_agent_core::oplog::{FailureCode, Outcome};
use drover_proto::v1;
use drover_proto::v1::operation_finished::Outcome as Wire;
use drover_proto::v1::operation_result::Result as Success;

/// What a piece of work ends with.
pub type WorkResult = Result<Success, Failure>;

/// Why an operation failed: for programs, for people, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For programs.
    pub code: FailureCode,
    /// What happened, on which object.
    pub message: String,
    /// What to do next; empty where that is not known.
    pub hint: String,
}

impl Failure {
    /// A failure in words.
    #[must_use]
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: String::new(),
        }
    }

    /// A failure because of an error, with all its causes.
    #[must_use]
    pub fn from_error(code: FailureCode, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(code, chain(error))
    }

    /// The same, with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// As it is kept in the log.
pub(super) fn to_log(result: &WorkResult) -> Outcome {
    match result {
        Ok(success) => {
            let result = v1::OperationResult {
                result: Some(success.clone()),
            };
            match serde_json::to_value(result) {
                Ok(value) => Outcome::Succeeded(value),
                Err(error) => Outcome::Failed {
                    code: FailureCode::System,
                    message: format!("the work was done, but its result cannot be written: {error}"),
                    hint: String::new(),
                },
            }
        }
        Err(failure) => Outcome::Failed {
            code: failure.code,
            message: failure.message.clone(),
            hint: failure.hint.clone(),
        },
    }
}

/// As it goes over the wire.
pub(super) fn to_wire(outcome: &Outcome) -> v1::OperationFinished {
    let outcome = match outcome {
        Outcome::Succeeded(value) => match serde_json::from_value(value.clone()) {
            Ok(result) => Wire::Succeeded(result),
            Err(error) => Wire::Failed(v1::OperationFailure {
                code: v1::FailureCode::System.into(),
                message: format!("the work was done, but its stored result cannot be read: {error}"),
                hint: String::new(),
            }),
        },
        Outcome::Failed { code, message, hint } => Wire::Failed(v1::OperationFailure {
            code: wire_code(*code).into(),
            message: message.clone(),
            hint: hint.clone(),
        }),
    };
    v1::OperationFinished {
        outcome: Some(outcome),
    }
}

const fn wire_code(code: FailureCode) -> v1::FailureCode {
    match code {
        FailureCode::NoRoom => v1::FailureCode::NoRoom,
        FailureCode::Checksum => v1::FailureCode::Checksum,
        FailureCode::ImageRefused => v1::FailureCode::ImageRefused,
        FailureCode::Fetch => v1::FailureCode::Fetch,
        FailureCode::Hypervisor => v1::FailureCode::Hypervisor,
        FailureCode::Conflict => v1::FailureCode::Conflict,
        FailureCode::NotHolder => v1::FailureCode::NotHolder,
        FailureCode::MigrationAborted => v1::FailureCode::MigrationAborted,
        FailureCode::Incompatible => v1::FailureCode::Incompatible,
        FailureCode::Withdrawn => v1::FailureCode::Withdrawn,
        FailureCode::System => v1::FailureCode::System,
        FailureCode::GuestTimeout => v1::FailureCode::GuestTimeout,
        FailureCode::CutShort => v1::FailureCode::CutShort,
    }
}
