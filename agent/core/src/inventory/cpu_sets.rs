//! Which of a host's processors serve whom, as the agent's settings say.

use drover_numa::{CpuSet, NumaCell};
use std::collections::BTreeSet;

/// As Nova's `cpu_shared_set` and `cpu_dedicated_set`: with neither, every processor serves both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuSets {
    /// For servers that share processors.
    pub shared: Option<CpuSet>,
    /// To pin servers to.
    pub dedicated: Option<CpuSet>,
}

/// Processors that the settings name and the host does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{set} in the cpus block names processors that this host does not have: {unknown}")]
pub struct UnknownCpus {
    set: &'static str,
    unknown: CpuSet,
}

impl CpuSets {
    /// Processors that stand in both.
    #[must_use]
    pub fn overlap(&self) -> CpuSet {
        match (&self.shared, &self.dedicated) {
            (Some(CpuSet(shared)), Some(CpuSet(dedicated))) => {
                CpuSet(shared.intersection(dedicated).copied().collect())
            }
            (Some(_) | None, _) => CpuSet::default(),
        }
    }

    /// A host's cells, as capabilities list them, with their processors divided. Where one set alone is given the
    /// other is empty.
    ///
    /// # Errors
    /// When a set names a processor that no cell has.
    pub fn divide(&self, cells: &[NumaCell]) -> Result<Vec<NumaCell>, UnknownCpus> {
        if self.shared.is_none() && self.dedicated.is_none() {
            return Ok(cells.to_vec());
        }
        let all: BTreeSet<u32> = cells.iter().flat_map(|cell| cell.cpus.iter().copied()).collect();
        for (set, given) in [("shared", &self.shared), ("dedicated", &self.dedicated)] {
            let given = given.iter().flat_map(|CpuSet(cpus)| cpus);
            let unknown: BTreeSet<u32> = given.copied().filter(|cpu| !all.contains(cpu)).collect();
            if !unknown.is_empty() {
                let unknown = CpuSet(unknown);
                return Err(UnknownCpus { set, unknown });
            }
        }
        let within = |cell: &NumaCell, set: &Option<CpuSet>| -> BTreeSet<u32> {
            let given = set.iter().flat_map(|CpuSet(cpus)| cpus);
            given.copied().filter(|cpu| cell.cpus.contains(cpu)).collect()
        };
        let divided = cells.iter().map(|cell| NumaCell {
            cpus: within(cell, &self.shared),
            dedicated_cpus: within(cell, &self.dedicated),
            ..cell.clone()
        });
        Ok(divided.collect())
    }

    /// The processors of a host with these cells on which servers without cells run: the shared ones, or where there
    /// are none those that nobody is pinned to. Nothing: on any.
    #[must_use]
    pub fn of_others(&self, cells: &[NumaCell]) -> Option<CpuSet> {
        match (&self.shared, &self.dedicated) {
            (None, None) => None,
            (Some(shared), _) => Some(shared.clone()),
            (None, Some(CpuSet(dedicated))) => {
                let all = cells.iter().flat_map(|cell| cell.cpus.iter().copied());
                Some(CpuSet(all.filter(|cpu| !dedicated.contains(cpu)).collect()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> Vec<NumaCell> {
        let cell = |id: u32, cpus: std::ops::Range<u32>| NumaCell {
            id,
            cpus: cpus.clone().collect(),
            dedicated_cpus: cpus.collect(),
            ..NumaCell::default()
        };
        vec![cell(0, 0..4), cell(1, 4..8)]
    }

    fn sets(shared: &str, dedicated: &str) -> CpuSets {
        let set = |text: &str| (!text.is_empty()).then(|| text.parse().expect("a set"));
        CpuSets {
            shared: set(shared),
            dedicated: set(dedicated),
        }
    }

    #[test]
    fn processors_serve_both_or_as_they_are_divided() {
        let shown = |sets: &CpuSets| -> Vec<(String, String)> {
            let divided = sets.divide(&cells()).expect("known processors");
            let show = |cpus: &BTreeSet<u32>| CpuSet(cpus.clone()).to_string();
            (divided.iter())
                .map(|cell| (show(&cell.cpus), show(&cell.dedicated_cpus)))
                .collect()
        };
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        let both = sets("", "");
        assert_eq!(shown(&both), [pair("0-3", "0-3"), pair("4-7", "4-7")]);
        assert_eq!(both.of_others(&cells()), None);
        let divided = sets("0,4", "1-3,5-7");
        assert_eq!(shown(&divided), [pair("0", "1-3"), pair("4", "5-7")]);
        assert_eq!(divided.of_others(&cells()), Some("0,4".parse().expect("a set")));
        let pinned = sets("", "2-7");
        assert_eq!(shown(&pinned), [pair("", "2-3"), pair("", "4-7")]);
        assert_eq!(pinned.of_others(&cells()), Some("0-1".parse().expect("a set")));
    }

    #[test]
    fn unknown_and_doubled_processors_are_told() {
        let error = sets("0", "7-9").divide(&cells()).expect_err("there is no 8");
        assert_eq!(
            error.to_string(),
            "dedicated in the cpus block names processors that this host does not have: 8-9"
        );
        assert_eq!(sets("0-3", "2-7").overlap().to_string(), "2-3");
        assert_eq!(sets("0-3", "").overlap(), CpuSet::default());
    }
}
