//! What a guest's cells ask, beside what is left: why a host has no place for them, in numbers.

use super::cell::Cell;
use super::fit::NumaLimits;
use super::{CpuPolicy, GuestCell, PageSize, ThreadPolicy};
use std::fmt;

/// What one cell of a guest asks, and the most that one cell of the host has of each, which need not be the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    policy: CpuPolicy,
    threads: ThreadPolicy,
    page: Option<PageSize>,
    vcpus: u64,
    memory_mib: u64,
    vcpus_left: u64,
    memory_mib_left: u64,
}

impl Shortage {
    /// Of the guest's cell with most processors, and of those the one with most memory.
    pub(super) fn of(cells: &[Cell], guest: &[GuestCell], limits: NumaLimits) -> Self {
        let largest = guest.iter().max_by_key(|cell| (cell.vcpus, cell.memory_mib));
        let largest = largest.expect("a guest without cells fits everywhere");
        let most = |left: &dyn Fn(&Cell) -> u64| cells.iter().map(left).max().unwrap_or(0);
        Self {
            policy: largest.policy,
            threads: largest.threads,
            page: largest.page,
            vcpus: largest.vcpus,
            memory_mib: largest.memory_mib,
            vcpus_left: most(&|cell| cell.vcpus_left(largest.policy, limits)),
            memory_mib_left: most(&|cell| cell.memory_mib_left(largest, limits)),
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.vcpus == 1 { "" } else { "s" };
        match self.policy {
            CpuPolicy::Shared => write!(f, "{} shared processor{plural}", self.vcpus)?,
            CpuPolicy::Dedicated => {
                write!(f, "{} processor{plural} for it alone", self.vcpus)?;
                match self.threads {
                    ThreadPolicy::Prefer => {}
                    ThreadPolicy::Require => f.write_str(", threads of one core together,")?,
                    ThreadPolicy::Isolate => f.write_str(", a whole core each,")?,
                }
            }
        }
        write!(
            f,
            " (at most {} left) and {} MiB",
            self.vcpus_left, self.memory_mib
        )?;
        match self.page {
            None => f.write_str(" of memory")?,
            Some(PageSize::Small) => f.write_str(" in small pages")?,
            Some(PageSize::Large) => f.write_str(" in large pages")?,
            Some(PageSize::Any) => f.write_str(" in pages of one size")?,
            Some(PageSize::Kib(kib)) if kib % 1024 == 0 => write!(f, " in pages of {} MiB", kib / 1024)?,
            Some(PageSize::Kib(kib)) => write!(f, " in pages of {kib} KiB")?,
        }
        write!(f, " (at most {} MiB left)", self.memory_mib_left)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Beside, Cells, CpuPolicy, GuestCell, NumaCell, NumaLimits, PageSize, Pages, ThreadPolicy};
    use drover_types::Ratio;

    fn said(guest: &[GuestCell]) -> String {
        let cell = |id: u32, used: u64| NumaCell {
            id,
            cpus: (id * 4..id * 4 + 4).collect(),
            dedicated_cpus: (id * 4..id * 4 + 4).collect(),
            siblings: vec![[id * 4, id * 4 + 1].into(), [id * 4 + 2, id * 4 + 3].into()],
            memory_mib: 4096,
            pages: vec![
                Pages {
                    size_kib: 4,
                    total: 3072 * 256,
                    used: 0,
                },
                Pages {
                    size_kib: 2048,
                    total: 512,
                    used,
                },
            ],
            pinned_cpus: [id * 4].into(),
            ..NumaCell::default()
        };
        let limits = NumaLimits {
            cpu_ratio: Ratio::NOVA_CPU,
            ram_ratio: Ratio::NOVA_RAM,
        };
        let cells = Cells::new(&[cell(0, 504), cell(1, 500)]);
        let misfit = cells.fit(guest, limits, Beside::NOTHING);
        misfit.expect_err("it does not fit").to_string()
    }

    #[test]
    fn what_is_asked_stands_beside_what_is_left() {
        let guest = |vcpus, memory_mib, page| GuestCell {
            vcpus,
            numbers: Vec::new(),
            memory_mib,
            policy: CpuPolicy::Dedicated,
            threads: ThreadPolicy::Prefer,
            page,
        };
        let alone = guest(4, 512, None);
        let isolated = GuestCell {
            threads: ThreadPolicy::Isolate,
            ..guest(3, 512, Some(PageSize::Large))
        };
        let shared = GuestCell {
            policy: CpuPolicy::Shared,
            ..guest(5, 8192, None)
        };
        let huge = guest(1, 128, Some(PageSize::Kib(2048)));
        for (guest, expected) in [
            (
                vec![alone],
                "no NUMA cell has 4 processors for it alone (at most 3 left) and 512 MiB of memory \
                 (at most 3072 MiB left)",
            ),
            (
                vec![isolated],
                "no NUMA cell has 3 processors for it alone, a whole core each, (at most 3 left) and 512 MiB in \
                 large pages (at most 24 MiB left)",
            ),
            (
                vec![shared],
                "no NUMA cell has 5 shared processors (at most 4 left) and 8192 MiB of memory (at most 3072 MiB left)",
            ),
            (
                vec![huge.clone()],
                "no NUMA cell has 1 processor for it alone (at most 3 left) and 128 MiB in pages of 2 MiB \
                 (at most 24 MiB left)",
            ),
            (
                vec![guest(1, 64, Some(PageSize::Small)), huge],
                "no 2 NUMA cells have 1 processor for it alone (at most 3 left) and 128 MiB in pages of 2 MiB \
                 (at most 24 MiB left)",
            ),
        ] {
            assert_eq!(said(&guest), expected);
        }
    }
}
