//! What an agent decides, apart from what it does: the operation log and who may run a server, the hand-over
//! between two agents, domain XML, image headers and host inventory.
//!
//! Everything here is a function of its arguments: no file, clock, network or random source. The daemon
//! (`drover-agent`) looks, asks this crate what follows, writes the records it is given to its log, and only
//! then acts. The fault tests run these very functions.

pub mod domain;
pub mod handover;
pub mod image_header;
pub mod inventory;
pub mod oplog;
pub mod power;
