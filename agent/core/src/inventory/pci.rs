//! PCI devices of a host out of libvirt's documents, and which of them servers may be given.

use super::InventoryError;
use crate::domain::{child, children, parse, root, text_of};
use drover_numa::PciDevice;
use drover_types::{PciAddress, PciId, PciKind};
use std::str::FromStr;

/// Devices that servers may be given, by what they are or where they sit: all that is said must hold. As an entry of
/// Nova's `device_spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PciRule {
    /// Who makes it.
    pub vendor_id: Option<PciId>,
    /// What it is.
    pub product_id: Option<PciId>,
    /// Where it sits.
    pub address: Option<PciPlaces>,
}

impl PciRule {
    fn allows(&self, device: &PciDevice) -> bool {
        self.vendor_id
            .is_none_or(|vendor| vendor == device.kind.vendor_id)
            && self
                .product_id
                .is_none_or(|product| product == device.kind.product_id)
            && self
                .address
                .as_ref()
                .is_none_or(|places| places.hold(device.address))
    }
}

/// Places of devices: an address of which `*` stands for any domain, bus, slot or function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciPlaces {
    /// The text before and behind each `*`, taken as an address of which nothing but the rest counts.
    parts: [Option<String>; 4],
}

/// Why a text names no places.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no address of PCI devices: write domain:bus:slot.function, such as 0000:0a:00.0, with * for any"
)]
pub struct PciPlacesError(String);

impl FromStr for PciPlaces {
    type Err = PciPlacesError;
    fn from_str(text: &str) -> Result<Self, PciPlacesError> {
        let wrong = || PciPlacesError(text.chars().take(40).collect());
        let read = || {
            let (domain, rest) = text.split_once(':')?;
            let (bus, rest) = rest.split_once(':')?;
            let (slot, function) = rest.split_once('.')?;
            Some([domain, bus, slot, function])
        };
        let parts = read().ok_or_else(wrong)?;
        // With zeros for what is any, the rest must be an address.
        let filled = parts.iter().zip(["0000", "00", "00", "0"]);
        let [domain, bus, slot, function] = &filled
            .map(|(part, zeros)| if *part == "*" { zeros } else { part })
            .collect::<Vec<_>>()[..]
        else {
            return Err(wrong());
        };
        format!("{domain}:{bus}:{slot}.{function}")
            .parse::<PciAddress>()
            .map_err(|_| wrong())?;
        let parts = parts.map(|part| (part != "*").then(|| part.to_ascii_lowercase()));
        Ok(Self { parts })
    }
}

impl PciPlaces {
    fn hold(&self, address: PciAddress) -> bool {
        let PciAddress {
            domain,
            bus,
            slot,
            function,
        } = address;
        let there = [
            format!("{domain:04x}"),
            format!("{bus:02x}"),
            format!("{slot:02x}"),
            format!("{function:x}"),
        ];
        let mut parts = self.parts.iter().zip(&there);
        parts.all(|(wanted, there)| wanted.as_ref().is_none_or(|wanted| wanted == there))
    }
}

/// Those of a host's devices that some rule allows, by address, once each. Bridges of every kind carry others and are
/// never given away.
///
/// # Errors
/// When one of the texts is no node device of libvirt's.
pub fn allowed_devices(xml: &[String], rules: &[PciRule]) -> Result<Vec<PciDevice>, InventoryError> {
    let mut devices = Vec::new();
    for xml in xml {
        let device = node_device(xml)?;
        devices.extend(device.filter(|device| rules.iter().any(|rule| rule.allows(device))));
    }
    devices.sort_unstable();
    devices.dedup_by_key(|device| device.address);
    Ok(devices)
}

/// The device that one of libvirt's node devices is; none where it is not on a PCI bus, or a bridge.
fn node_device(xml: &str) -> Result<Option<PciDevice>, InventoryError> {
    const DOCUMENT: &str = "description of a PCI device";
    let unreadable = |source| InventoryError::Xml {
        document: DOCUMENT,
        source,
    };
    let missing = |part| InventoryError::Missing {
        document: DOCUMENT,
        part,
    };
    let document = parse(xml).map_err(unreadable)?;
    let device = root(&document, "device").map_err(unreadable)?;
    let mut capabilities = children(device, "capability");
    let Some(pci) = capabilities.find(|capability| capability.attribute("type") == Some("pci")) else {
        return Ok(None);
    };
    // Class 06 are bridges, that of the host among them.
    let class = child(pci, "class").map(text_of).unwrap_or_default();
    if class.trim().starts_with("0x06") {
        return Ok(None);
    }
    let number = |part: &'static str| {
        let text = child(pci, part).map(text_of).unwrap_or_default();
        text.trim().parse::<u16>().map_err(|_| missing(part))
    };
    let small = |part| u8::try_from(number(part)?).map_err(|_| missing(part));
    let id = |part: &'static str| {
        let id = child(pci, part).and_then(|node| node.attribute("id"));
        let digits = id.and_then(|id| id.strip_prefix("0x"));
        digits
            .and_then(|digits| digits.parse::<PciId>().ok())
            .ok_or_else(|| missing(part))
    };
    let numa = child(pci, "numa").and_then(|numa| numa.attribute("node"));
    Ok(Some(PciDevice {
        address: PciAddress {
            domain: number("domain")?,
            bus: small("bus")?,
            slot: small("slot")?,
            function: small("function")?,
        },
        kind: PciKind {
            vendor_id: id("vendor")?,
            product_id: id("product")?,
        },
        numa_node: numa.and_then(|node| node.parse().ok()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libvirt describes a graphics card of a machine with two cells.
    const CARD: &str = "<device><name>pci_0000_0a_00_0</name><parent>pci_0000_00_02_0</parent>
        <driver><name>nouveau</name></driver>
        <capability type='pci'><class>0x030200</class><domain>0</domain><bus>10</bus><slot>0</slot>
        <function>0</function><product id='0x1eb8'>TU104GL</product><vendor id='0x10de'>NVIDIA</vendor>
        <iommuGroup number='16'><address domain='0x0000' bus='0x0a' slot='0x00' function='0x0'/></iommuGroup>
        <numa node='1'/></capability></device>";

    fn rule(vendor: Option<&str>, product: Option<&str>, address: Option<&str>) -> PciRule {
        PciRule {
            vendor_id: vendor.map(|id| id.parse().expect("an id")),
            product_id: product.map(|id| id.parse().expect("an id")),
            address: address.map(|places| places.parse().expect("places")),
        }
    }

    #[test]
    fn devices_are_given_away_as_the_settings_say() {
        let other = CARD
            .replace("<bus>10</bus>", "<bus>11</bus>")
            .replace("<numa node='1'/>", "");
        let bridge = CARD.replace("0x030200", "0x060400");
        let disk = "<device><capability type='storage'/></device>".to_owned();
        let all = [CARD.to_owned(), other, bridge, disk, CARD.to_owned()];
        let found = |rules: &[PciRule]| {
            let found = allowed_devices(&all, rules).expect("documents");
            let found = found.iter();
            found
                .map(|device| format!("{} {} {:?}", device.address, device.kind, device.numa_node))
                .collect::<Vec<_>>()
        };
        let [first, second] = ["0000:0a:00.0 10de:1eb8 Some(1)", "0000:0b:00.0 10de:1eb8 None"];
        assert_eq!(found(&[]), Vec::<String>::new());
        assert_eq!(found(&[rule(Some("10de"), None, None)]), [first, second]);
        assert_eq!(found(&[rule(None, Some("1EB8"), Some("*:0A:*.*"))]), [first]);
        assert_eq!(
            found(&[rule(Some("8086"), Some("1eb8"), None)]),
            Vec::<String>::new()
        );
        let either = [
            rule(None, None, Some("0000:0b:00.0")),
            rule(None, None, Some("*:0a:00.*")),
        ];
        assert_eq!(found(&either), [first, second]);
    }

    #[test]
    fn what_names_no_places_and_no_device_is_refused() {
        for wrong in [
            "",
            "*",
            "0a:00.0",
            "0000:0a:00",
            "0000:0a:20.0",
            "0000:a*:00.0",
            "0000:0a:00.*0",
        ] {
            let refused = wrong.parse::<PciPlaces>();
            assert_eq!(refused, Err(PciPlacesError(wrong.to_owned())));
        }
        let broken = CARD.replace("<slot>0</slot>", "");
        let refused = allowed_devices(&[broken], &[]).expect_err("no slot");
        assert!(
            matches!(refused, InventoryError::Missing { part: "slot", .. }),
            "{refused}"
        );
    }
}
