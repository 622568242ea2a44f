//! What must still be true when parts of Drover are killed, cut off, filled up or told lies: applying again
//! converges, nothing runs twice, and whoever asks is told what happened.
//!
//! Needs root and the packages of `scripts/setup lab`. Programs must be built with their failpoints, as
//! `make lab-test` does.

mod certificates;
mod delayed;
mod download;
mod fleet;
mod hosts;
mod interrupts;
mod kills;
mod locks;
mod lost;
mod running;
