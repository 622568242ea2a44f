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
            && self.address.is_none_or(|places| places.hold(device.address))
    }
}

/// Places of devices: an address of which `*` stands for any domain, bus, slot or function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciPlaces {
    domain: Option<u16>,
    bus: Option<u8>,
    slot: Option<u8>,
    function: Option<u8>,
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
        let read = || {
            let (domain, rest) = text.split_once(':')?;
            let (bus, rest) = rest.split_once(':')?;
            let (slot, function) = rest.split_once('.')?;
            // With zeros for what is any, the rest must be an address.
            let or_zeros = |part: &str, zeros: &str| {
                let part = if part == "*" { zeros } else { part };
                part.to_owned()
            };
            let filled = format!(
                "{}:{}:{}.{}",
                or_zeros(domain, "0000"),
                or_zeros(bus, "00"),
                or_zeros(slot, "00"),
                or_zeros(function, "0"),
            );
            let place: PciAddress = filled.parse().ok()?;
            Some(Self {
                domain: (domain != "*").then_some(place.domain),
                bus: (bus != "*").then_some(place.bus),
                slot: (slot != "*").then_some(place.slot),
                function: (function != "*").then_some(place.function),
            })
        };
        read().ok_or_else(|| PciPlacesError(text.chars().take(40).collect()))
    }
}

impl PciPlaces {
    fn hold(self, address: PciAddress) -> bool {
        let PciAddress {
            domain,
            bus,
            slot,
            function,
        } = address;
        self.domain.is_none_or(|wanted| wanted == domain)
            && self.bus.is_none_or(|wanted| wanted == bus)
            && self.slot.is_none_or(|wanted| wanted == slot)
            && self.function.is_none_or(|wanted| wanted == function)
    }
}

/// Those of a host's devices that some rule allows, by address, once each.
///
/// Never given away are bridges of every kind, which carry other devices; network cards and the like that are split
/// into virtual functions, as long as they are: each of these is a device of its own, and who has the card has them
/// all; and devices in PCI domains beyond 16 bits (those behind Intel's VMD), which no address here can name.
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

/// The device that one of libvirt's node devices is; none where it is no PCI device, or one that is never given away.
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
    // The list is there, and empty, for a card that could be split.
    let split = children(pci, "capability")
        .filter(|capability| capability.attribute("type") == Some("virt_functions"))
        .any(|functions| children(functions, "address").next().is_some());
    if split {
        return Ok(None);
    }
    let number = |part: &'static str| {
        let text = child(pci, part).map(text_of).unwrap_or_default();
        text.trim().parse::<u32>().map_err(|_| missing(part))
    };
    let Ok(domain) = u16::try_from(number("domain")?) else {
        return Ok(None);
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
            domain,
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

    /// Of a host that also has one of these, all others are given away as before.
    #[test]
    fn what_cannot_be_given_away_alone_or_named_is_passed_over() {
        // As libvirt lists a drive behind Intel's VMD.
        let far = CARD.replace("<domain>0</domain>", "<domain>65536</domain>");
        let card = |functions: &str| {
            CARD.replace("<bus>10</bus>", "<bus>12</bus>").replace(
                "<iommuGroup",
                &format!(
                    "<capability type='virt_functions' maxCount='7'>{functions}</capability><iommuGroup"
                ),
            )
        };
        let function = "<address domain='0x0000' bus='0x0c' slot='0x10' function='0x0'/>";
        let split = card(function);
        // The other way round, in a function's own description.
        let part = CARD.replace("<slot>0</slot>", "<slot>16</slot>").replace(
            "<iommuGroup",
            "<capability type='phys_function'><address domain='0x0000' bus='0x0c' slot='0x00' function='0x0'/>\
             </capability><iommuGroup",
        );
        let found = |all: &[String]| {
            let any = [rule(Some("10de"), None, None)];
            let found = allowed_devices(all, &any).expect("documents");
            found
                .iter()
                .map(|device| device.address.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            found(&[CARD.to_owned(), far, split, part]),
            ["0000:0a:00.0", "0000:0a:10.0"]
        );
        assert_eq!(
            found(&[card("")]),
            ["0000:0c:00.0"],
            "it could be split, and is not"
        );
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
        for beyond in ["<domain>-1</domain>", "<domain>4294967296</domain>", "<domain/>"] {
            let broken = CARD.replace("<domain>0</domain>", beyond);
            assert!(allowed_devices(&[broken], &[]).is_err(), "{beyond}");
        }
        let refused = allowed_devices(&[broken], &[]).expect_err("no slot");
        assert!(
            matches!(refused, InventoryError::Missing { part: "slot", .. }),
            "{refused}"
        );
    }
}
