//! Why an image is not in the cache, and what that means for an operation.

use super::order::ImageSource;
use crate::operations::Failure;
use drover_agent_core::image_header::{HeaderError, ImageFormat};
use drover_agent_core::oplog::FailureCode;
use drover_types::{ByteSize, Sha256Digest};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why an image is not in the cache.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The source did not answer, or broke off.
    #[error("could not fetch {from}")]
    Web {
        /// The source.
        from: ImageSource,
        /// Why not.
        source: reqwest::Error,
    },
    /// The source answered with something else than the image.
    #[error("{from} answered {status}")]
    Answer {
        /// The source.
        from: ImageSource,
        /// What it answered.
        status: http::StatusCode,
    },
    /// It took too long in all.
    #[error("fetching {from} took longer than {} seconds", limit.as_secs())]
    TooSlow {
        /// The source.
        from: ImageSource,
        /// `images.total_timeout`.
        limit: Duration,
    },
    /// It is not below a directory that sources may be in.
    #[error("{from} is not below one of the directories in images.file_roots")]
    OutsideRoots {
        /// The source.
        from: ImageSource,
    },
    /// The file cannot be read.
    #[error("could not read {from}")]
    File {
        /// The source.
        from: ImageSource,
        /// Why not.
        source: io::Error,
    },
    /// It is not a file.
    #[error("{from} is not a regular file")]
    NotAFile {
        /// The source.
        from: ImageSource,
    },
    /// It is larger than this host takes.
    #[error("{from} is larger than {} MiB", limit.mib_floor())]
    TooLarge {
        /// The source.
        from: ImageSource,
        /// `images.max_size`.
        limit: ByteSize,
    },
    /// Its bytes have another digest.
    #[error("{from} has checksum {found}, not {expected}")]
    Checksum {
        /// The source.
        from: ImageSource,
        /// What its bytes have.
        found: Sha256Digest,
        /// What was ordered.
        expected: Sha256Digest,
    },
    /// Its header was refused.
    #[error("image {checksum} was refused")]
    Header {
        /// The image.
        checksum: Sha256Digest,
        /// Why.
        source: HeaderError,
    },
    /// It has another format.
    #[error("image {checksum} is {}, not {}", found.as_str(), expected.as_str())]
    Format {
        /// The image.
        checksum: Sha256Digest,
        /// What its header says.
        found: ImageFormat,
        /// What was ordered.
        expected: ImageFormat,
    },
    /// qemu-img found it damaged.
    #[error("image {checksum} is damaged, says qemu-img check: {said}")]
    Damaged {
        /// The image.
        checksum: Sha256Digest,
        /// The end of what it said.
        said: String,
    },
    /// qemu-img failed.
    #[error("qemu-img could not convert image {checksum}: {said}")]
    Convert {
        /// The image.
        checksum: Sha256Digest,
        /// The end of what it said.
        said: String,
    },
    /// The host's file system failed.
    #[error("could not {attempt} {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Servers use it.
    #[error("image {checksum} is used by {servers} server(s) of this host")]
    InUse {
        /// The image.
        checksum: Sha256Digest,
        /// How many; those being made count too.
        servers: usize,
    },
    /// Who uses it is not known.
    #[error("could not find out which servers use image {checksum}")]
    UsersUnknown {
        /// The image.
        checksum: Sha256Digest,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ImageError {
    /// As the end of an operation.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let (code, hint) = self.classified();
        Failure::from_error(code, self).hint(hint)
    }

    fn classified(&self) -> (FailureCode, &'static str) {
        match self {
            Self::Web { .. } | Self::Answer { .. } => (
                FailureCode::Fetch,
                "check the image's source from this host, then apply again",
            ),
            Self::TooSlow { .. } => (
                FailureCode::Fetch,
                "use a nearer source, or raise images.total_timeout in agent.hcl",
            ),
            Self::OutsideRoots { .. } => (
                FailureCode::Fetch,
                "move the file, or add its directory to images.file_roots in agent.hcl",
            ),
            Self::File { .. } | Self::NotAFile { .. } => (
                FailureCode::Fetch,
                "file sources are read on every host that needs them: check that the file is there",
            ),
            Self::TooLarge { .. } => (
                FailureCode::ImageRefused,
                "raise images.max_size in agent.hcl if the image is what it should be",
            ),
            Self::Checksum { .. } => (
                FailureCode::Checksum,
                "the source changed or was damaged on its way: correct the image's checksum or source",
            ),
            Self::Header { .. } => (FailureCode::ImageRefused, ""),
            Self::Format { .. } => (
                FailureCode::ImageRefused,
                "correct the image's format, or leave it out",
            ),
            Self::Damaged { .. } => (
                FailureCode::ImageRefused,
                "make the image anew, with its new checksum",
            ),
            Self::Convert { said, .. } if said.contains("No space left") => {
                (FailureCode::NoRoom, "free space below the agent's data directory")
            }
            Self::Convert { .. } => (
                FailureCode::ImageRefused,
                "try `qemu-img convert -O raw` on the image where it was made",
            ),
            Self::Io { source, .. } if is_full(source) => {
                (FailureCode::NoRoom, "free space below the agent's data directory")
            }
            Self::Io { .. } | Self::UsersUnknown { .. } => {
                (FailureCode::System, "look at the host's disk and its agent's log")
            }
            Self::InUse { .. } => (FailureCode::Conflict, "remove these servers first"),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
