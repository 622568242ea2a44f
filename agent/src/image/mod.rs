//! The image cache: content-addressed base files below `<data_dir>/images`.
//!
//! ```text
//!   source ─fetch, hash─► tmp file ─inspect header─► check and convert ─► whole ─► digest, sync ─► record, rename
//! ```
//!
//! A base file is named by the checksum of its source, never changes, and overlays stand on it.

mod cache;
mod client;
mod convert;
mod digest;
mod error;
mod fetch;
mod flight;
mod order;
mod service;
mod store;

pub use cache::{HeldImage, ImageCache, Report};
pub use error::ImageError;
pub use flight::WholeImage;
pub use order::{ImageOrder, ImageSource, SourceError};
pub use service::Images;
pub(crate) use service::recover;
pub use store::{ImageRecord, StoredImage};

use std::path::PathBuf;

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its directories cannot be used.
    #[error("could not open the image cache")]
    Store(#[source] ImageError),
    /// `images.extra_ca_file` cannot be read.
    #[error("could not read certificates from {}", path.display())]
    ExtraCa {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate in it is no authority.
    #[error("a certificate in {} cannot be used as an authority", path.display())]
    ExtraCaRefused {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// TLS is not available.
    #[error("could not set up TLS for image sources")]
    Tls(#[source] rustls::Error),
    /// The HTTP client cannot be built.
    #[error("could not set up the client for image sources")]
    Client(#[source] reqwest::Error),
}
