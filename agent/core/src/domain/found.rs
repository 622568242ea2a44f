//! A domain that somebody else defined, and that is kept as it was found: our mark goes into its XML and out of it,
//! and nothing else of it is written by us.

use super::attribute::{Attribute, DiskPart};
use super::metadata::{self, DomainMetadata};
use super::read::{ReadError, child, children, parse, read_back, root};
use super::render::render_marks;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A disk of any domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundDisk {
    /// The device in the guest.
    pub target: String,
    /// Disk, CD-ROM, ….
    pub device: String,
    /// The file, block device or volume behind it; empty where there is none, or it is of another kind.
    pub source: String,
}

impl FoundDisk {
    /// Whether it is a disk of the guest's own, and no medium that lies in a drive.
    #[must_use]
    pub fn is_own(&self) -> bool {
        matches!(self.device.as_str(), "disk" | "lun")
    }
}

/// The disks of a domain, in the order of its XML.
///
/// # Errors
/// When the text is no domain's XML.
pub fn found_disks(xml: &str) -> Result<Vec<FoundDisk>, ReadError> {
    let document = parse(xml)?;
    let domain = root(&document, "domain")?;
    let Some(devices) = child(domain, "devices") else {
        return Ok(Vec::new());
    };
    let disks = children(devices, "disk").filter_map(|disk| {
        let source = child(disk, "source");
        let source = ["file", "dev", "volume", "name"]
            .into_iter()
            .find_map(|name| source?.attribute(name));
        Some(FoundDisk {
            target: child(disk, "target")?.attribute("dev")?.to_owned(),
            // libvirt's default.
            device: disk.attribute("device").unwrap_or("disk").to_owned(),
            source: source.unwrap_or_default().to_owned(),
        })
    });
    Ok(disks.collect())
}

/// The file that a domain's first serial port is written or logged to, where there is one.
#[must_use]
pub fn found_console(xml: &str) -> Option<String> {
    let document = parse(xml).ok()?;
    let devices = child(root(&document, "domain").ok()?, "devices")?;
    let serial = children(devices, "serial").next()?;
    let logged = child(serial, "log").and_then(|log| log.attribute("file"));
    let written = child(serial, "source")
        .filter(|_| serial.attribute("type") == Some("file"))
        .and_then(|source| source.attribute("path"));
    logged.or(written).map(str::to_owned)
}

/// The XML with this element (prefix and namespace included) as our mark, in place of any that is there; without one
/// where it is empty. Every other byte stays.
///
/// # Errors
/// When the text is no domain's XML.
pub fn with_element(xml: &str, element: &str) -> Result<String, ReadError> {
    let document = parse(xml)?;
    let domain = root(&document, "domain")?;
    let replaced = |range: std::ops::Range<usize>, by: &str| {
        let (before, after) = (xml.get(..range.start), xml.get(range.end..));
        format!("{}{by}{}", before.unwrap_or_default(), after.unwrap_or_default())
    };
    if let Some(ours) = metadata::find(domain) {
        return Ok(replaced(ours.range(), element));
    }
    if element.is_empty() {
        return Ok(xml.to_owned());
    }
    let metadata = child(domain, "metadata");
    if let Some(first) = metadata.and_then(|metadata| metadata.first_child()) {
        let at = first.range().start;
        return Ok(replaced(at..at, element));
    }
    let whole = format!("<metadata>{element}</metadata>");
    if let Some(empty) = metadata {
        return Ok(replaced(empty.range(), &whole));
    }
    let after = child(domain, "uuid").or_else(|| child(domain, "name"));
    let at = match after {
        Some(node) => node.range().end,
        None => domain.first_child().map_or(0, |node| node.range().start),
    };
    Ok(replaced(at..at, &whole))
}

/// The XML with this mark in place of any that is there.
///
/// # Errors
/// When the text is no domain's XML.
pub fn with_mark(xml: &str, mark: &DomainMetadata) -> Result<String, ReadError> {
    with_element(xml, &render_marks(mark))
}

/// The XML without our mark.
///
/// # Errors
/// When the text is no domain's XML.
pub fn without_mark(xml: &str) -> Result<String, ReadError> {
    with_element(xml, "")
}

/// Whether a guest that runs with another value of it does not run as it is defined. libvirt completes much of a
/// foreign definition when it starts it (the CPU, defaults of devices), and a balloon moves at will.
fn tells(attribute: &Attribute) -> bool {
    match attribute {
        Attribute::Hypervisor
        | Attribute::Name
        | Attribute::Uuid
        | Attribute::Fleet
        | Attribute::Project
        | Attribute::ServerId
        | Attribute::Address
        | Attribute::Epoch
        | Attribute::Generation
        | Attribute::MemoryKib
        | Attribute::Vcpus
        | Attribute::CellCpus(_)
        | Attribute::CellMemoryKib(_) => true,
        Attribute::Disk { part, .. } => match part {
            DiskPart::Device | DiskPart::File | DiskPart::Bus => true,
            DiskPart::Format | DiskPart::Discard => false,
        },
        Attribute::CurrentMemoryKib
        | Attribute::CurrentVcpus
        | Attribute::Cpuset
        | Attribute::VcpuPin(_)
        | Attribute::EmulatorPin
        | Attribute::NumaMemory
        | Attribute::NumaNode(_)
        | Attribute::HugePages(_)
        | Attribute::HostDevice(_)
        | Attribute::OsType
        | Attribute::Architecture
        | Attribute::Machine
        | Attribute::Boot
        | Attribute::Feature(_)
        | Attribute::CpuMode
        | Attribute::CpuMatch
        | Attribute::CpuCheck
        | Attribute::CpuModel
        | Attribute::CpuFallback
        | Attribute::CpuFeature(_)
        | Attribute::Clock
        | Attribute::OnPoweroff
        | Attribute::OnReboot
        | Attribute::OnCrash
        | Attribute::Emulator
        | Attribute::ConsoleType
        | Attribute::ConsoleLog
        | Attribute::ConsoleAppend
        | Attribute::AgentChannel
        | Attribute::Balloon => false,
    }
}

/// What of a running guest can be compared with a definition that is not ours.
#[must_use]
pub fn comparable(live: &BTreeMap<Attribute, String>) -> BTreeMap<Attribute, String> {
    live.iter()
        .filter(|(attribute, _)| tells(attribute))
        .map(|(attribute, value)| (attribute.clone(), value.clone()))
        .collect()
}

/// The attributes of a domain that is kept as it was found, under this mark.
///
/// # Errors
/// When the text is no domain's XML.
pub fn found_attributes(xml: &str, mark: &DomainMetadata) -> Result<BTreeMap<Attribute, String>, ReadError> {
    read_back(&with_mark(xml, mark)?)
}

/// Every attribute in which a running guest differs from its definition, with both values, the definition's first.
/// Empty where one of them does not read.
#[must_use]
pub fn runs_otherwise(live: &str, defined: &str) -> Vec<(Attribute, String, String)> {
    let (Ok(live), Ok(defined)) = (read_back(live), read_back(defined)) else {
        return Vec::new();
    };
    let (live, defined) = (comparable(&live), comparable(&defined));
    let value = |of: &BTreeMap<Attribute, String>, attribute| of.get(attribute).cloned().unwrap_or_default();
    let names = live
        .keys()
        .chain(defined.keys().filter(|name| !live.contains_key(*name)));
    names
        .filter(|name| live.get(*name) != defined.get(*name))
        .map(|name| (name.clone(), value(&defined, name), value(&live, name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::read_metadata;
    use drover_types::{Epoch, Generation};

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    fn mark() -> DomainMetadata {
        DomainMetadata {
            fleet: "prod".parse().expect("a name"),
            project: "default".parse().expect("a name"),
            id: ID.parse().expect("an id"),
            address: "server.db[\"a<b\"]".parse().expect("an address"),
            epoch: Epoch::new(3),
            generation: Generation::new(1),
        }
    }

    const BARE: &str = "<domain type='kvm'>\n  <name>old &amp; good</name>\n  <uuid>u</uuid>\n  \
        <memory unit='KiB'>1024</memory>\n  <vcpu>2</vcpu>\n  <devices>\n    <disk type='file' device='disk'>\
        <source file='/a.img'/><target dev='sda' bus='sata'/></disk>\n    <disk type='block'><source \
        dev='/dev/vg/b'/><target dev='vdb'/></disk>\n    <disk type='file' device='cdrom'><target dev='sdb'/></disk>\n  \
        </devices>\n</domain>\n";

    #[test]
    fn a_mark_goes_in_and_out_and_every_other_byte_stays() {
        let others = BARE.replace(
            "<memory",
            "<metadata><x:y xmlns:x='urn:x'>1</x:y></metadata><memory",
        );
        let empty = BARE.replace("<memory", "<metadata/><memory");
        for (xml, left) in [
            (
                BARE.to_owned(),
                BARE.replace("</uuid>", "</uuid><metadata></metadata>"),
            ),
            (others.clone(), others),
            (empty, BARE.replace("<memory", "<metadata></metadata><memory")),
        ] {
            let marked = with_mark(&xml, &mark()).expect("it reads");
            assert_eq!(read_metadata(&marked).expect("it reads"), Some(mark()));
            assert_eq!(with_mark(&marked, &mark()).expect("it reads"), marked);
            assert_eq!(without_mark(&marked).expect("it reads"), left);
            assert_eq!(read_metadata(&left).expect("it reads"), None);
        }
        assert!(with_mark("<network/>", &mark()).is_err());
        assert!(with_mark("", &mark()).is_err());
    }

    #[test]
    fn disks_are_told_by_their_device_and_whatever_is_behind_them() {
        let disks = found_disks(BARE).expect("it reads");
        let told: Vec<(&str, &str, &str, bool)> = disks
            .iter()
            .map(|disk| {
                (
                    disk.target.as_str(),
                    disk.device.as_str(),
                    disk.source.as_str(),
                    disk.is_own(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("sda", "disk", "/a.img", true),
                ("vdb", "disk", "/dev/vg/b", true),
                ("sdb", "cdrom", "", false)
            ]
        );
        assert_eq!(found_disks("<domain/>").expect("it reads"), []);
    }

    #[test]
    fn a_console_is_where_the_first_serial_port_is_logged_or_written() {
        let with = |serial: &str| format!("<domain><devices>{serial}<serial type='pty'/></devices></domain>");
        let console = |serial: &str| found_console(&with(serial));
        assert_eq!(
            console("<serial type='pty'><log file='/l'/></serial>").as_deref(),
            Some("/l")
        );
        assert_eq!(
            console("<serial type='file'><source path='/f'/></serial>").as_deref(),
            Some("/f")
        );
        assert_eq!(
            console("<serial type='pty'><source path='/dev/pts/1'/></serial>"),
            None
        );
        assert_eq!(
            (console(""), found_console("<domain/>"), found_console("")),
            (None, None, None)
        );
    }

    #[test]
    fn a_guest_runs_otherwise_only_by_what_a_start_would_not_change() {
        let live = BARE
            .replace("<vcpu>", "<vcpu current='1'>")
            .replace(
                "<devices>",
                "<currentMemory>512</currentMemory><cpu mode='custom'/><devices>",
            )
            .replace("/a.img", "/c.img");
        let disk = Attribute::Disk {
            target: "sda".to_owned(),
            part: DiskPart::File,
        };
        assert_eq!(
            runs_otherwise(&live, BARE),
            [(disk, "/a.img".to_owned(), "/c.img".to_owned())]
        );
        let larger = BARE.replace(">2</vcpu>", ">4</vcpu>");
        let found = runs_otherwise(BARE, &larger);
        assert_eq!(found, [(Attribute::Vcpus, "4".to_owned(), "2".to_owned())]);
        assert_eq!(runs_otherwise(BARE, BARE), []);
    }

    #[test]
    fn what_was_found_is_expected_under_the_present_mark() {
        let attributes = found_attributes(BARE, &mark()).expect("it reads");
        assert_eq!(attributes[&Attribute::Name], "old & good");
        assert_eq!(attributes[&Attribute::Epoch], "3");
        assert_eq!(attributes[&Attribute::Address], mark().address.to_string());
    }
}
