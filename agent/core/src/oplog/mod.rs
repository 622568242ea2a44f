//! The operation log of one agent: its records, how they lie in the file, the state they add up to, and
//! what a new request may do given that state.
//!
//! ```text
//!   request ──admit(state)──► Admission { append, verdict }
//!                                  │ append + fsync, then State::apply each
//!                                  ▼
//!   Began ──────────────► Finished ──Acknowledged──► retired id ──higher token──► forgotten
//!   (never began) ──────► Withdrawn ──Acknowledged──►     "
//! ```
//!
//! The daemon owns the file: it appends the bytes of [`encode`], syncs, applies the same record to its
//! [`State`], and only then acts. At start it gives the whole file to [`decode`] and replays.

mod admission;
mod codec;
mod compact;
mod handovers;
mod record;
mod state;

pub use admission::{Admission, EpochClaim, Incoming, Refusal, Verdict, Withdrawal, admit, withdraw};
pub use codec::{Damage, DamageKind, Decoded, EncodeError, MAX_RECORD_BYTES, Tail, decode, encode};
pub use compact::compact;
pub use record::{
    Began, Carried, FORMAT, FailureCode, OperationKind, OperationState, Outcome, Record, ServerLog,
    UnixMillis,
};
pub use state::{ApplyError, State, replay};

#[cfg(test)]
mod tests;
