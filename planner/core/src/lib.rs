//! Model, diff, placement, plan and the executor's state machine of Drover, without effects.
//!
//! Everything here is a function of its arguments: no file, clock, random source, network or runtime. The
//! `drover` crate reads files, the store and the agents, calls these functions, and carries out the commands
//! that the executor's state machine gives back.

pub mod diff;
pub mod executor;
pub mod graph;
pub mod model;
pub mod placement;
pub mod plan;
pub mod record;
#[cfg(test)]
mod testing;
