//! What one client can ask of the agent's port at most.

use std::time::Duration;

/// Limits on connections and on the requests in them. They keep a client that errs, or that has no
/// certificate at all, from keeping others out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, unfinished handshakes included.
    pub connections: usize,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// HTTP/2 streams, that is requests, at once on one connection. A client waits with more.
    pub streams: u32,
    /// How long a request may take until it is answered, or its stream begins.
    pub request: Duration,
    /// A request's headers, in bytes as HTTP/2 counts them: names, values, and 32 for each.
    pub header_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            handshake: Duration::from_secs(10),
            streams: 256,
            request: Duration::from_secs(60),
            header_bytes: 16 << 10,
        }
    }
}
