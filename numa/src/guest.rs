//! What a guest asks: its cells, and how their processors and pages are to be.

use drover_types::UnknownWord;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Whether processors are shared or each server's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CpuPolicy {
    /// Shared with others.
    Shared,
    /// Each virtual processor pinned to one of the host's.
    Dedicated,
}

/// How pinned processors relate to the threads of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThreadPolicy {
    /// Threads of one core together where that is possible.
    Prefer,
    /// Only threads of one core together.
    Require,
    /// One thread of a core each, its siblings idle.
    Isolate,
}

/// The pages that a server's memory is to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PageSize {
    /// The smallest.
    Small,
    /// Any but the smallest, the largest first.
    Large,
    /// Any, the largest first.
    Any,
    /// Of this size.
    Kib(u64),
}

/// One NUMA cell of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestCell {
    /// How many virtual processors.
    pub vcpus: u64,
    /// Which of the server's they are; empty: those that follow the ones of the cells before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<u32>,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The same in all cells.
    pub policy: CpuPolicy,
    /// The same in all cells.
    pub threads: ThreadPolicy,
    /// The same in all cells.
    pub page: Option<PageSize>,
}

/// The cells, each with the numbers of its processors.
#[must_use]
pub fn numbered(cells: &[GuestCell]) -> Vec<GuestCell> {
    let mut next = 0_u32;
    let mut all = cells.to_vec();
    for cell in &mut all {
        if cell.numbers.is_empty() {
            let count = u32::try_from(cell.vcpus).unwrap_or(u32::MAX);
            cell.numbers = (next..next.saturating_add(count)).collect();
        }
        next = cell
            .numbers
            .last()
            .map_or(next, |last| next.max(last.saturating_add(1)));
    }
    all
}

fn unknown<T>(word: &str, what: &'static str, allowed: &str) -> Result<T, UnknownWord> {
    Err(UnknownWord {
        word: word.chars().take(40).collect(),
        what,
        allowed: allowed.to_owned(),
    })
}

impl CpuPolicy {
    /// The word in flavors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Dedicated => "dedicated",
        }
    }
}

impl FromStr for CpuPolicy {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "shared" => Ok(Self::Shared),
            "dedicated" => Ok(Self::Dedicated),
            other => unknown(other, "a CPU policy", "shared, dedicated"),
        }
    }
}

impl ThreadPolicy {
    /// The word in flavors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::Isolate => "isolate",
        }
    }
}

impl FromStr for ThreadPolicy {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "isolate" => Ok(Self::Isolate),
            other => unknown(other, "a CPU thread policy", "prefer, require, isolate"),
        }
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small => f.write_str("small"),
            Self::Large => f.write_str("large"),
            Self::Any => f.write_str("any"),
            Self::Kib(size) => write!(f, "{size}"),
        }
    }
}

impl FromStr for PageSize {
    type Err = UnknownWord;
    /// As it is shown: a word, or KiB.
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match (text, text.parse::<u64>()) {
            ("small", _) => Ok(Self::Small),
            ("large", _) => Ok(Self::Large),
            ("any", _) => Ok(Self::Any),
            (_, Ok(size)) if size > 0 => Ok(Self::Kib(size)),
            (other, _) => unknown(other, "a page size", "small, large, any, KiB"),
        }
    }
}

impl TryFrom<String> for PageSize {
    type Error = UnknownWord;
    fn try_from(text: String) -> Result<Self, UnknownWord> {
        text.parse()
    }
}

impl From<PageSize> for String {
    fn from(size: PageSize) -> String {
        size.to_string()
    }
}
