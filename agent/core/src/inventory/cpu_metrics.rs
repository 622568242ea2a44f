//! What the host's processors do, as Nova's CPU monitor has it: times since the host booted, and shares of the time
//! that passed between two samples. Taking samples, and when, is the daemon's.

use drover_types::{CpuMetric, MetricName, MetricValue};
use std::collections::BTreeMap;

/// Shorter than this says nothing; Nova's monitor does not look again within a second either.
const SHORTEST_NS: u64 = 1_000_000_000;

/// What a share is taken over wherever there was the time: less of it depends on what happens at that moment.
const ENOUGH_NS: u64 = 10_000_000_000;

/// What libvirt counts of a host's processors, all of them together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuSample {
    /// Their clock in MHz; 0 where it is not known.
    pub frequency_mhz: u32,
    /// How many are online.
    pub processors: u32,
    /// What they did since the host booted.
    pub times: CpuTimes,
}

/// Time by what it was spent with, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// In user space.
    pub user_ns: u64,
    /// In the kernel.
    pub kernel_ns: u64,
    /// Nothing to do.
    pub idle_ns: u64,
    /// Nothing to do but to wait for disks.
    pub iowait_ns: u64,
}

impl CpuTimes {
    fn total_ns(self) -> u64 {
        let parts = [self.user_ns, self.kernel_ns, self.idle_ns, self.iowait_ns];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// Single counters may fall: Linux corrects its count of waiting.
    fn since(self, earlier: Self) -> Self {
        Self {
            user_ns: self.user_ns.saturating_sub(earlier.user_ns),
            kernel_ns: self.kernel_ns.saturating_sub(earlier.kernel_ns),
            idle_ns: self.idle_ns.saturating_sub(earlier.idle_ns),
            iowait_ns: self.iowait_ns.saturating_sub(earlier.iowait_ns),
        }
    }

    /// In whole percent, rounded down as by Nova, so that hosts that are about equally busy are equal.
    fn percent_of(part_ns: u64, total_ns: u64) -> u64 {
        let percent = u128::from(part_ns) * 100 / u128::from(total_ns.max(1));
        u64::try_from(percent).expect("a part is at most the whole")
    }
}

impl CpuSample {
    /// What was done since `earlier`.
    fn since(&self, earlier: &Self) -> CpuTimes {
        self.times.since(earlier.times)
    }

    /// How long that took: the processors count their time side by side.
    fn elapsed_ns(&self, earlier: &Self) -> u64 {
        self.since(earlier).total_ns() / u64::from(self.processors.max(1))
    }
}

/// The samples that new ones are compared with: the last two that were kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuHistory {
    last: Option<CpuSample>,
    before: Option<CpuSample>,
}

impl CpuHistory {
    /// Takes note of a sample; to be called from time to time. One that is too near to the last changes nothing.
    pub fn keep(&mut self, sample: CpuSample) {
        match &self.last {
            // The counters began anew.
            Some(last) if sample.times.total_ns() < last.times.total_ns() => {
                *self = Self {
                    last: Some(sample),
                    before: None,
                };
            }
            Some(last) if sample.elapsed_ns(last) < ENOUGH_NS => {}
            Some(_) | None => {
                self.before = self.last;
                self.last = Some(sample);
            }
        }
    }

    /// What is known with the sample of this moment. Shares are over the time since the last kept sample that is at
    /// least ten seconds old; with none so old, over at least one second; and not known before that.
    #[must_use]
    pub fn measure(&self, now: &CpuSample) -> BTreeMap<MetricName, MetricValue> {
        let times = now.times;
        let mut known = vec![
            (CpuMetric::UserTime, times.user_ns),
            (CpuMetric::KernelTime, times.kernel_ns),
            (CpuMetric::IdleTime, times.idle_ns),
            (CpuMetric::IowaitTime, times.iowait_ns),
        ];
        if now.frequency_mhz != 0 {
            known.push((CpuMetric::Frequency, u64::from(now.frequency_mhz)));
        }
        if let Some(lately) = self.lately(now) {
            let total_ns = lately.total_ns();
            let percent = |part_ns| CpuTimes::percent_of(part_ns, total_ns);
            known.extend([
                (CpuMetric::UserPercent, percent(lately.user_ns)),
                (CpuMetric::KernelPercent, percent(lately.kernel_ns)),
                (CpuMetric::IdlePercent, percent(lately.idle_ns)),
                (CpuMetric::IowaitPercent, percent(lately.iowait_ns)),
                (CpuMetric::Percent, percent(total_ns - lately.idle_ns)),
            ]);
        }
        let value = |number: u64| MetricValue::try_from(number as f64).expect("it is below 1e30");
        known
            .into_iter()
            .map(|(metric, number)| (metric.into(), value(number)))
            .collect()
    }

    fn lately(&self, now: &CpuSample) -> Option<CpuTimes> {
        let least_old = |sample: Option<CpuSample>, least_ns| {
            sample.filter(|earlier| now.elapsed_ns(earlier) >= least_ns)
        };
        let earlier = least_old(self.last, ENOUGH_NS)
            .or_else(|| least_old(self.before, ENOUGH_NS))
            .or_else(|| least_old(self.last, SHORTEST_NS))?;
        Some(now.since(&earlier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    /// Two processors after so many seconds, a quarter of the time in user space and an eighth waiting.
    fn at(seconds: u64) -> CpuSample {
        let total = 2 * seconds * SECOND;
        CpuSample {
            frequency_mhz: 2400,
            processors: 2,
            times: CpuTimes {
                user_ns: total / 4,
                kernel_ns: 0,
                idle_ns: total / 8 * 5,
                iowait_ns: total / 8,
            },
        }
    }

    fn value(known: &BTreeMap<MetricName, MetricValue>, metric: CpuMetric) -> Option<f64> {
        known.get(&MetricName::from(metric)).map(|value| value.get())
    }

    fn percents(known: &BTreeMap<MetricName, MetricValue>) -> [Option<f64>; 5] {
        [
            CpuMetric::UserPercent,
            CpuMetric::KernelPercent,
            CpuMetric::IdlePercent,
            CpuMetric::IowaitPercent,
            CpuMetric::Percent,
        ]
        .map(|metric| value(known, metric))
    }

    #[test]
    fn times_are_since_boot_and_shares_since_the_last_sample() {
        let mut history = CpuHistory::default();
        let first = history.measure(&at(100));
        assert_eq!(value(&first, CpuMetric::UserTime), Some(50e9));
        assert_eq!(value(&first, CpuMetric::IdleTime), Some(125e9));
        assert_eq!(value(&first, CpuMetric::Frequency), Some(2400.0));
        assert_eq!(percents(&first), [None; 5]);

        history.keep(at(100));
        // From here on the kernel has both processors, for 20 seconds.
        let mut busy = at(100);
        busy.times.kernel_ns += 40 * SECOND;
        let lately = history.measure(&busy);
        assert_eq!(lately.len(), CpuMetric::ALL.len());
        assert_eq!(value(&lately, CpuMetric::UserTime), Some(50e9));
        assert_eq!(percents(&lately), [0.0, 100.0, 0.0, 0.0, 100.0].map(Some));
    }

    #[test]
    fn waiting_counts_as_used_and_shares_are_rounded_down() {
        let mut history = CpuHistory::default();
        history.keep(at(0));
        assert_eq!(
            percents(&history.measure(&at(60))),
            // Exactly 25, 0, 62.5, 12.5 and 37.5.
            [25.0, 0.0, 62.0, 12.0, 37.0].map(Some)
        );
    }

    #[test]
    fn shares_are_over_at_least_ten_seconds_where_there_were_as_many() {
        let mut history = CpuHistory::default();
        history.keep(at(100));
        // Nothing else is known yet.
        assert_eq!(percents(&history.measure(&at(100)))[4], None);
        let mut second = at(100);
        second.times.idle_ns += 2 * SECOND;
        assert_eq!(percents(&history.measure(&second))[4], Some(0.0));
        // One that comes too early is not compared with.
        history.keep(second);
        assert_eq!(history.last, Some(at(100)));

        history.keep(at(160));
        let mut busy = at(160);
        busy.times.user_ns += 4 * SECOND;
        // Over 62 seconds, not over the last two.
        assert_eq!(percents(&history.measure(&busy))[4], Some(39.0));
        busy.times.user_ns += 36 * SECOND;
        assert_eq!(percents(&history.measure(&busy))[4], Some(100.0));
    }

    #[test]
    fn counters_that_begin_anew_and_those_that_fall_alone_do_no_harm() {
        let mut history = CpuHistory::default();
        history.keep(at(1000));
        assert_eq!(percents(&history.measure(&at(5))), [None; 5]);
        history.keep(at(5));
        assert_eq!(percents(&history.measure(&at(65)))[4], Some(37.0));

        let mut fallen = at(65);
        fallen.times.iowait_ns = 0;
        let [user, _, idle, iowait, used] = percents(&history.measure(&fallen));
        assert_eq!(
            (user, idle, iowait, used),
            (Some(28.0), Some(71.0), Some(0.0), Some(28.0))
        );
    }

    #[test]
    fn a_clock_that_is_not_known_is_not_reported() {
        let unknown = CpuSample {
            frequency_mhz: 0,
            ..at(100)
        };
        let known = CpuHistory::default().measure(&unknown);
        assert_eq!(value(&known, CpuMetric::Frequency), None);
    }

    proptest! {
        /// Whatever the counters do, every share is between 0 and 100, and used and idle make at most 100.
        #[test]
        fn shares_are_shares(samples in prop::collection::vec(any::<[u64; 4]>(), 1..6), processors in 0_u32..300) {
            let mut history = CpuHistory::default();
            for [user_ns, kernel_ns, idle_ns, iowait_ns] in samples {
                let sample = CpuSample {
                    frequency_mhz: 0,
                    processors,
                    times: CpuTimes { user_ns, kernel_ns, idle_ns, iowait_ns },
                };
                let known = percents(&history.measure(&sample));
                prop_assert!(known.iter().flatten().all(|share| (0.0..=100.0).contains(share)), "{known:?}");
                if let (Some(idle), Some(used)) = (known[2], known[4]) {
                    prop_assert!((99.0..=100.0).contains(&(idle + used)), "{known:?}");
                }
                history.keep(sample);
            }
        }
    }
}
