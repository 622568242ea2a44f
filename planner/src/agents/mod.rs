//! The agents as the planner sees them: connections, inventories, and the calls that change a host.

mod call;
mod connection;
mod inventory;
mod wire;

pub use call::{Caller, Events};
pub(crate) use connection::chain;
pub use connection::{Agents, CallError, FAN_OUT};
