//! Mutual TLS between planner and agents, and between agents: credentials, who a peer is, and connections.
//!
//! TLS 1.3 only, client certificates mandatory, identities in one URI SAN. A caller checks that it reached
//! the very host it meant, not just somebody with a certificate of the same authority. Accepting
//! connections, limits and reloading are the agent's.

mod connect;
mod credentials;
mod identity;
mod refusal;

pub use connect::{ConnectError, Timeouts, connect};
pub use credentials::{CredentialFiles, Credentials, CredentialsError};
pub use identity::{PeerIdentityError, peer_identity};
