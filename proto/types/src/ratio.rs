//! Allocation ratios.

use serde::{Deserialize, Serialize};

/// How many times a resource may be promised: above zero and at most a million.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Ratio(f64);

// None of them is NaN.
impl Eq for Ratio {}

/// Why a number is no allocation ratio.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("an allocation ratio must be above 0 and at most 1000000, not {0}")]
pub struct RatioError(pub f64);

impl Ratio {
    /// No overcommit.
    pub const ONE: Self = Self(1.0);
    /// Nova's default for processors.
    pub const NOVA_CPU: Self = Self(16.0);
    /// Nova's default for memory.
    pub const NOVA_RAM: Self = Self(1.5);

    /// As a number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Ratio {
    type Error = RatioError;
    fn try_from(number: f64) -> Result<Self, RatioError> {
        // The upper bound keeps every product finite; no real host is overcommitted so.
        if number.is_finite() && number > 0.0 && number <= 1e6 {
            Ok(Self(number))
        } else {
            Err(RatioError(number))
        }
    }
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> f64 {
        ratio.0
    }
}
