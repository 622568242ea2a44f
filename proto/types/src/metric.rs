//! What a host measures of itself: names and values of metrics, as Nova's monitors have them.

use crate::name::MetricName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What agents measure of a host's processors: all that Nova's CPU monitor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CpuMetric {
    /// Clock of the processors in MHz.
    Frequency,
    /// Time in user space since the host booted, of all processors together, in nanoseconds; so for the other times.
    UserTime,
    /// Time in the kernel.
    KernelTime,
    /// Time with nothing to do.
    IdleTime,
    /// Time with nothing to do but to wait for disks.
    IowaitTime,
    /// Share of the time in user space lately, in whole percent, rounded down; so for the other shares.
    UserPercent,
    /// Share of the time in the kernel.
    KernelPercent,
    /// Share of the time with nothing to do.
    IdlePercent,
    /// Share of the time waiting for disks.
    IowaitPercent,
    /// Share of the time that was not idle: the first two shares and the one of waiting.
    Percent,
}

impl CpuMetric {
    /// All.
    pub const ALL: [Self; 10] = [
        Self::Frequency,
        Self::UserTime,
        Self::KernelTime,
        Self::IdleTime,
        Self::IowaitTime,
        Self::UserPercent,
        Self::KernelPercent,
        Self::IdlePercent,
        Self::IowaitPercent,
        Self::Percent,
    ];

    /// Nova's name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Frequency => "cpu.frequency",
            Self::UserTime => "cpu.user.time",
            Self::KernelTime => "cpu.kernel.time",
            Self::IdleTime => "cpu.idle.time",
            Self::IowaitTime => "cpu.iowait.time",
            Self::UserPercent => "cpu.user.percent",
            Self::KernelPercent => "cpu.kernel.percent",
            Self::IdlePercent => "cpu.idle.percent",
            Self::IowaitPercent => "cpu.iowait.percent",
            Self::Percent => "cpu.percent",
        }
    }
}

impl fmt::Display for CpuMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<CpuMetric> for MetricName {
    fn from(metric: CpuMetric) -> Self {
        metric.as_str().parse().expect("each is a name")
    }
}

/// What was measured: a number whose products with any ratio stay finite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct MetricValue(f64);

// None of them is NaN.
impl Eq for MetricValue {}

/// Why a number is no metric.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("a metric must be a number between -1e30 and 1e30, not {0}")]
pub struct MetricValueError(pub f64);

impl MetricValue {
    /// As a number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for MetricValue {
    type Error = MetricValueError;
    fn try_from(number: f64) -> Result<Self, MetricValueError> {
        // Not within for what is no number.
        if (-1e30..=1e30).contains(&number) {
            Ok(Self(number))
        } else {
            Err(MetricValueError(number))
        }
    }
}

impl From<MetricValue> for f64 {
    fn from(value: MetricValue) -> f64 {
        value.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_processors_has_a_name() {
        for metric in CpuMetric::ALL {
            assert_eq!(MetricName::from(metric).as_str(), metric.as_str());
        }
    }

    #[test]
    fn what_is_no_number_or_could_overflow_is_refused() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -1e31] {
            assert!(MetricValue::try_from(bad).is_err(), "{bad} was accepted");
        }
        for good in [0.0, -0.5, 1.8e19] {
            assert_eq!(MetricValue::try_from(good).map(MetricValue::get), Ok(good));
        }
        assert!(serde_json::from_str::<MetricValue>("1e31").is_err());
    }
}
