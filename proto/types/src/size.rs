//! Sizes with units, as users write them and read them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A number of bytes, written with a binary or decimal unit: `512MiB`, `10GiB`, `1GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No number in front.
    #[error("{0:?} is not a size; write a number and a unit, for example \"512MiB\"")]
    NoNumber(String),
    /// The number has no unit.
    #[error("{0:?} has no unit; write for example \"{0}MiB\" or \"{0}GiB\"")]
    NoUnit(String),
    /// The unit is not known.
    #[error("{unit:?} is not a unit of size; use B, KiB, MiB, GiB, TiB, KB, MB, GB or TB{hint}")]
    UnknownUnit {
        /// What was written.
        unit: String,
        /// What was probably meant, or nothing.
        hint: String,
    },
    /// More than 2^63-1 bytes.
    #[error("{0:?} is more than 8 EiB")]
    TooLarge(String),
    /// A fraction that is no whole number of bytes.
    #[error("{0:?} is not a whole number of bytes")]
    NotWhole(String),
}

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl ByteSize {
    /// That many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// That many MiB (1,048,576 bytes); saturates at `u64::MAX` bytes.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }

    /// That many GiB (1,073,741,824 bytes); saturates at `u64::MAX` bytes.
    #[must_use]
    pub const fn from_gib(gib: u64) -> Self {
        Self(gib.saturating_mul(1 << 30))
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// In whole MiB, rounded up: a reservation never falls short.
    #[must_use]
    pub const fn mib_ceil(self) -> u64 {
        self.0.div_ceil(1 << 20)
    }

    /// In whole MiB, rounded down: a capacity never promises too much.
    #[must_use]
    pub const fn mib_floor(self) -> u64 {
        self.0 >> 20
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let trimmed = text.trim();
        let split = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let unit = unit.trim();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || (number.contains('.') && fraction.is_empty()) || fraction.contains('.') {
            return Err(SizeError::NoNumber(text.to_owned()));
        }
        if unit.is_empty() {
            return Err(SizeError::NoUnit(text.to_owned()));
        }
        let factor = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor)
            .ok_or_else(|| {
                let near = UNITS.iter().find(|(name, _)| {
                    name.eq_ignore_ascii_case(unit)
                        || name.replace('i', "").eq_ignore_ascii_case(&format!("{unit}B"))
                });
                let hint = near
                    .map(|(name, _)| format!("; did you mean \"{number}{name}\"?"))
                    .unwrap_or_default();
                SizeError::UnknownUnit {
                    unit: unit.to_owned(),
                    hint,
                }
            })?;
        let too_large = || SizeError::TooLarge(text.to_owned());
        let whole: u128 = whole.parse().map_err(|_| too_large())?;
        let mut bytes = whole.checked_mul(u128::from(factor)).ok_or_else(too_large)?;
        if !fraction.is_empty() {
            if fraction.len() > 18 {
                return Err(SizeError::NotWhole(text.to_owned()));
            }
            let digits: u128 = fraction.parse().map_err(|_| too_large())?;
            let scale = 10_u128.pow(u32::try_from(fraction.len()).expect("at most 18 digits"));
            let part = digits * u128::from(factor);
            if !part.is_multiple_of(scale) {
                return Err(SizeError::NotWhole(text.to_owned()));
            }
            bytes = bytes.checked_add(part / scale).ok_or_else(too_large)?;
        }
        let bytes = u64::try_from(bytes).map_err(|_| too_large())?;
        if bytes > i64::MAX.unsigned_abs() {
            return Err(too_large());
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for ByteSize {
    type Error = SizeError;
    fn try_from(text: String) -> Result<Self, SizeError> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> String {
        size.to_string()
    }
}

/// The largest binary unit in which the size is a whole number, so that parsing gives the same size back.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, factor) = [
            ("TiB", 1_u64 << 40),
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("KiB", 1 << 10),
        ]
        .into_iter()
        .find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor))
        .unwrap_or(("B", 1));
        f.pad(&format!("{}{name}", self.0 / factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_units() {
        assert_eq!("512MiB".parse(), Ok(ByteSize::from_mib(512)));
        assert_eq!("1.5GiB".parse(), Ok(ByteSize::from_mib(1536)));
        assert_eq!("2 GB".parse(), Ok(ByteSize::from_bytes(2_000_000_000)));
    }

    #[test]
    fn says_what_to_write_instead() {
        let hint = |text: &str| text.parse::<ByteSize>().expect_err("no size").to_string();
        assert!(hint("512").contains("\"512MiB\""), "{}", hint("512"));
        assert!(
            hint("512mib").contains("did you mean \"512MiB\""),
            "{}",
            hint("512mib")
        );
        assert!(hint("1G").contains("did you mean \"1GiB\""), "{}", hint("1G"));
        assert!(matches!("-1MiB".parse::<ByteSize>(), Err(SizeError::NoNumber(_))));
        assert!(matches!(
            "99999999999TiB".parse::<ByteSize>(),
            Err(SizeError::TooLarge(_))
        ));
        assert!(matches!("0.3B".parse::<ByteSize>(), Err(SizeError::NotWhole(_))));
    }

    proptest! {
        #[test]
        fn printing_then_parsing_gives_the_same_size(bytes in 0..i64::MAX as u64) {
            let size = ByteSize::from_bytes(bytes);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }
    }
}
