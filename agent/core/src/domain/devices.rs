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
    /// Whether so many are asked for under this name.
    pub(super) fn are(&self, wish: &DeviceWish) -> bool {
        self.alias == wish.alias && self.devices.len() as u64 == wish.count
    }
}

/// Devices that a guest without a record has, under the names by which it asks for as many: by what the names mean, and
/// else in order, since a name may have meant another kind.
pub(super) fn given_again(wishes: &[DeviceWish], found: Vec<PciDevice>) -> Option<Vec<GivenDevices>> {
    let count: u64 = wishes.iter().map(|wish| wish.count).sum();
    if wishes.is_empty() || found.len() as u64 != count {
        return None;
    }
    let mut left = found;
    let mut given: Vec<GivenDevices> = Vec::new();
    for wish in wishes {
        let mut missing = wish.count;
        let mut takes = |device: &mut PciDevice| {
            let it = missing > 0 && wish.kinds.contains(&device.kind);
            missing -= u64::from(it);
            it
        };
        given.push(GivenDevices {
            alias: wish.alias.clone(),
            devices: left.extract_if(.., |device| takes(device)).collect(),
        });
    }
    for (wish, given) in wishes.iter().zip(&mut given) {
        let missing = usize::try_from(wish.count)
            .unwrap_or(usize::MAX)
            .saturating_sub(given.devices.len());
        given.devices.extend(left.drain(..missing.min(left.len())));
    }
    Some(given)
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
    // A disk may be a whole device, too.
    let disks = children(devices, "disk").filter_map(address_of);
    let others = host_devices(devices).map(|(_, address)| address);
    Ok(others.chain(disks).collect())
}

/// Every device of the host among a domain's devices: the element and where the device sits.
pub(super) fn host_devices<'a, 'input>(
    devices: Node<'a, 'input>,
) -> impl Iterator<Item = (Node<'a, 'input>, PciAddress)> {
    let whole = children(devices, "hostdev");
    // A network card that is given to the guest by way of an interface.
    let cards = children(devices, "interface");
    whole
        .chain(cards)
        .filter_map(|device| Some((device, address_of(device)?)))
}

/// Where the device of the host sits that this element gives to the guest; none where it is no PCI device, or beyond
/// what an address here can say.
fn address_of(device: Node<'_, '_>) -> Option<PciAddress> {
    let address = child(child(device, "source")?, "address")?;
    let part = |name: &str| {
        let digits = address.attribute(name)?;
        match digits.strip_prefix("0x") {
            Some(hex) => u16::from_str_radix(hex, 16).ok(),
            None => digits.parse().ok(),
        }
    };
    // Of a device that is no PCI device the address has other parts.
    let or_none = |name: &str| match address.attribute(name) {
        Some(_) => part(name),
        None => Some(0),
    };
    Some(PciAddress {
        domain: or_none("domain")?,
        bus: u8::try_from(part("bus")?).ok()?,
        slot: u8::try_from(part("slot")?).ok()?,
        function: u8::try_from(or_none("function")?).ok()?,
    })
}
