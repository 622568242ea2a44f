//! The executor against a model of store and agents: lost replies, duplicates, delays, refusals, and a CLI that
//! is killed at any step and plans again. The planner and the executor are the real ones.

mod fake_agent;
mod fake_store;
mod imports;
mod joins;
mod lifecycle;
mod moves;
mod renames;
mod run;
mod scenarios;
mod tests;
mod updates;

/// A small generator with a seed (xorshift), so that a failing run can be repeated.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % limit.max(1) as u64).expect("below a usize")
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
