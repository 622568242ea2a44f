//! Sets of processors or cells, as libvirt and people write them: `0-3,6`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// No machine has more processors; longer lists are not read.
const MOST: u32 = 65_536;

/// A set of numbers, none of them above 65,535.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuSet(pub BTreeSet<u32>);

/// Why a text is no set of processors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no list of processors; write for example \"0-3,6\"")]
pub struct CpuSetError(String);

impl FromStr for CpuSet {
    type Err = CpuSetError;
    /// Numbers and ranges separated by commas; `^` takes one away.
    fn from_str(text: &str) -> Result<Self, CpuSetError> {
        let bad = || CpuSetError(text.chars().take(80).collect());
        let mut set = BTreeSet::new();
        for part in text.split(',').map(str::trim) {
            let (without, range) = match part.strip_prefix('^') {
                Some(rest) => (true, rest),
                None => (false, part),
            };
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| -> Option<u32> {
                let number = text.trim().parse().ok()?;
                (number < MOST).then_some(number)
            };
            let (from, to) = number(from).zip(number(to)).ok_or_else(bad)?;
            if from > to {
                return Err(bad());
            }
            if without {
                set.retain(|cpu| !(from..=to).contains(cpu));
            } else {
                set.extend(from..=to);
            }
        }
        Ok(Self(set))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while let Some(next) = cpus.next_if(|next| *next == last + 1) {
                last = next;
            }
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

impl TryFrom<String> for CpuSet {
    type Error = CpuSetError;
    fn try_from(text: String) -> Result<Self, CpuSetError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        text.parse()
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> String {
        set.to_string()
    }
}
