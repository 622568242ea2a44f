//! Moving a server to another host, and taking one over.
//!
//! ```text
//!   service ─► prepare ─► log: offered / prepared ─► registry: one driver per open hand-over
//!                                                      source ◄── words over the peers' port ──► destination
//!                                                        │ transfer: libvirt, or cold: the disk
//!   libvirtd, QEMU ─► sockets ─► relay ══ Tunnel ══► peer ─► relay ─► libvirtd, QEMU of the destination
//! ```
//!
//! What each side does next is decided by the tables of `drover_agent_core::handover`.

mod cold;
mod desk;
mod destination;
mod file;
mod link;
mod own_process;
mod paths;
mod peer;
mod place;
mod prepare;
mod registry;
mod relay;
mod service;
mod sockets;
mod source;
mod transfer;
mod words;

pub use file::HandoverFileError;
pub use peer::Peers;
pub use registry::Handovers;
pub use service::Migrations;

pub(crate) use service::recover;
