//! All tests that need labs, in one program: two labs are up at a time from the first test to the last.
//!
//! Needs root and the packages of `scripts/setup lab`. Programs must be built with their failpoints, as
//! `make lab-test` does.

mod agents;
mod e2e;
mod faults;
mod smoke;
