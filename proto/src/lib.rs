//! The wire contract between planner and agents: generated types and services, and the reading of checked
//! values out of them; and the mutual TLS beneath it.

pub mod field;
mod method;
pub mod transport;

pub use method::Method;

/// `drover.agent.v1`, generated from `proto/drover/agent/v1/*.proto`, where each message and method is
/// documented.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("drover.agent.v1");

    /// The encoded `FileDescriptorSet` of this package: what lists every method for the table of roles.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("drover.agent.v1");
}
