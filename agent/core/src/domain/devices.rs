//! PCI devices of the host that a guest is given whole: chosen once, then kept with the domain.

use super::read::{ReadError, child, children, parse, root};
use drover_numa::{PciDevice, WantedDevices};
use drover_types::{PciAddress, PciKind};
use roxmltree::Node;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Devices that a server asks for under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceWish {
    /// The name that its flavor uses.
    pub alias: String,
    /// How many.
    pub count: u64,
    /// Each of one of these kinds.
    pub kinds: Vec<PciKind>,
}

impl DeviceWish {
    pub(super) fn wanted(&self) -> WantedDevices<'_> {
        WantedDevices {
            kinds: &self.kinds,
            count: self.count,
        }
    }
}

/// The host's devices that a guest has under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenDevices {
    /// The name that its flavor uses.
    pub alias: String,
    /// The devices.
    pub devices: Vec<PciDevice>,
}

impl GivenDevices {
    /// Whether these are what is asked for.
    pub(super) fn are(&self, wish: &DeviceWish) -> bool {
        self.alias == wish.alias
            && self.devices.len() as u64 == wish.count
            && self
                .devices
                .iter()
                .all(|device| wish.kinds.contains(&device.kind))
    }
}

/// The host's devices that any domain has, running or not, of whatever kind.
///
/// # Errors
/// When the text is no domain's XML.
pub fn found_devices(xml: &str) -> Result<BTreeSet<PciAddress>, ReadError> {
    let document = parse(xml)?;
    let domain = root(&document, "domain")?;
    let Some(devices) = child(domain, "devices") else {
        return Ok(BTreeSet::new());
    };
    Ok(host_devices(devices).map(|(_, address)| address).collect())
}

/// Every device of the host among a domain's devices: the element and where the device sits.
pub(super) fn host_devices<'a, 'input>(
    devices: Node<'a, 'input>,
) -> impl Iterator<Item = (Node<'a, 'input>, PciAddress)> {
    let whole = children(devices, "hostdev");
    // A network card that is given to the guest by way of an interface.
    let cards = children(devices, "interface");
    whole.chain(cards).filter_map(|device| {
        let address = child(child(device, "source")?, "address")?;
        // Of a device that is no PCI device the address has other parts.
        let part = |name: &str| {
            let digits = address.attribute(name)?;
            match digits.strip_prefix("0x") {
                Some(hex) => u16::from_str_radix(hex, 16).ok(),
                None => digits.parse().ok(),
            }
        };
        let address = PciAddress {
            domain: part("domain").unwrap_or(0),
            bus: u8::try_from(part("bus")?).ok()?,
            slot: u8::try_from(part("slot")?).ok()?,
            function: u8::try_from(part("function").unwrap_or(0)).ok()?,
        };
        Some((device, address))
    })
}
