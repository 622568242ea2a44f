//! Carries a plan out, as one pure function: events in, commands out.
//!
//! Every decision of an apply is made here: what is written when, what is sent where, what follows from an
//! answer or from none. The `drover` crate carries commands out and reports what happened.

mod answer;
mod begin;
mod commit;
mod event;
mod journal;
mod node;
mod precondition;
mod records;
mod request;
#[cfg(test)]
mod simulation;
mod state;
mod write;

pub use event::{
    ActionFailure, Command, Ending, Event, HeldLock, JournalStep, Progress, ProgressEvent, Summary, Ticket,
};
pub use journal::Journaled;
pub use request::{
    AgentRequest, AgentResult, Deletion, DeviceOrder, FailureCode, ImageOrder, NumaOrder, ServerOrder,
};
pub use state::{Limits, State, step};
