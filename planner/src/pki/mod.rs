//! The fleet's own certificate authority: a root, an intermediate that signs, and certificates whose one URI
//! says who holds them.
//!
//! ```text
//! DIR/root-key.pem           the root's key: keep it offline
//! DIR/root.pem               the root: what everybody trusts (ca_file)
//! DIR/intermediate-key.pem   what `issue` signs with
//! DIR/intermediate.pem
//! ```

mod authority;
mod show;

pub use authority::{Authority, Issued, IssuedFiles, PkiError};
pub use show::{CertificateSummary, summary};
