//! PCI devices: what kind one is, and where it sits on its host.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text names no kind of device and no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PciError {
    /// A vendor or a product.
    #[error("{0:?} is no vendor and no product of a PCI device: four hexadecimal digits are, such as 10de")]
    Id(String),
    /// A place.
    #[error("{0:?} is no address of a PCI device: write domain:bus:slot.function, such as 0000:0a:00.0")]
    Address(String),
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// So many hexadecimal digits and nothing else.
fn hex(text: &str, digits: usize) -> Option<u16> {
    let well_formed = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    well_formed.then(|| u16::from_str_radix(text, 16).ok()).flatten()
}

/// A vendor's or a product's number, shown as devices are listed everywhere: four hexadecimal digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciId(u16);

impl FromStr for PciId {
    type Err = PciError;
    fn from_str(text: &str) -> Result<Self, PciError> {
        hex(text, 4).map(Self).ok_or_else(|| PciError::Id(short(text)))
    }
}

impl fmt::Display for PciId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

/// What kind of device one is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PciKind {
    /// Who makes it.
    pub vendor_id: PciId,
    /// What it is, among those of its vendor.
    pub product_id: PciId,
}

impl fmt::Display for PciKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.vendor_id, self.product_id)
    }
}

/// Where a device sits on its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciAddress {
    /// PCI domain, which Nova and Linux call so; most machines have one, 0.
    pub domain: u16,
    /// Bus.
    pub bus: u8,
    /// Slot: below 32.
    pub slot: u8,
    /// Function: below 8.
    pub function: u8,
}

impl FromStr for PciAddress {
    type Err = PciError;
    fn from_str(text: &str) -> Result<Self, PciError> {
        let read = || {
            let (domain, rest) = text.split_once(':')?;
            let (bus, rest) = rest.split_once(':')?;
            let (slot, function) = rest.split_once('.')?;
            Some(Self {
                domain: hex(domain, 4)?,
                bus: u8::try_from(hex(bus, 2)?).ok()?,
                slot: u8::try_from(hex(slot, 2)?).ok().filter(|slot| *slot < 32)?,
                function: u8::try_from(hex(function, 1)?)
                    .ok()
                    .filter(|function| *function < 8)?,
            })
        };
        read().ok_or_else(|| PciError::Address(short(text)))
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            bus,
            slot,
            function,
        } = self;
        write!(f, "{domain:04x}:{bus:02x}:{slot:02x}.{function:x}")
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = PciError;
            fn try_from(text: String) -> Result<Self, PciError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )*};
}
as_text!(PciId, PciAddress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_places_are_read_as_they_are_written_and_nothing_else_is() {
        let place: PciAddress = "0000:0A:1f.7".parse().expect("an address");
        assert_eq!(place.to_string(), "0000:0a:1f.7");
        let id: PciId = "10DE".parse().expect("an id");
        assert_eq!(id.to_string(), "10de");
        for wrong in ["", "10d", "10de0", "0x10", "+10d", "1０de"] {
            assert_eq!(wrong.parse::<PciId>(), Err(PciError::Id(wrong.to_owned())));
        }
        for wrong in [
            "",
            "0a:00.0",
            "0000:0a:20.0",
            "0000:0a:00.8",
            "0000:0a:00",
            "0000:0a:0.0",
            "0000:0a:00.0 ",
        ] {
            assert_eq!(
                wrong.parse::<PciAddress>(),
                Err(PciError::Address(wrong.to_owned()))
            );
        }
    }
}
