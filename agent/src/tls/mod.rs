//! The one port's outer layer: accepts TCP, does the TLS handshake within limits, and gives tonic
//! connections that know who is at their other end.
//!
//! tonic's own TLS server asks for no client certificate by default and has no limits or reloading; so the
//! acceptor is ours and tonic gets a stream of finished connections.

mod accept;
mod reload;

pub use accept::{Acceptor, Connection, Peer};
pub use reload::{LoadError, LoadedCredentials, Reloader};
