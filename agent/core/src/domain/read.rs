//! The attributes that we render, found again in a domain's XML, live or persistent. What libvirt adds is
//! passed over. The XML can be of a foreign domain, and of any size and shape.

use super::attribute::{AGENT_CHANNEL, Attribute, DiskPart};
use super::devices::host_devices;
use super::metadata;
use roxmltree::{Document, Node, ParsingOptions};
use std::collections::BTreeMap;

/// The largest XML document read, in bytes; libvirt's own limit is of the same order.
const MAX_XML_BYTES: usize = 4 << 20;
/// The most nodes read.
const MAX_NODES: u32 = 200_000;

/// Why XML cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Too large.
    #[error("an XML document of {0} bytes is over the limit of {MAX_XML_BYTES}")]
    TooLarge(usize),
    /// Not well-formed, or over the limit of nodes.
    #[error("the XML is not well-formed")]
    Xml(#[source] roxmltree::Error),
    /// Another document.
    #[error("the XML is a <{found}>, not a <{expected}>")]
    Root {
        /// The element that should be there.
        expected: &'static str,
        /// The element that is.
        found: String,
    },
}

/// The document, within limits; a document type definition is refused.
pub(crate) fn parse(xml: &str) -> Result<Document<'_>, ReadError> {
    if xml.len() > MAX_XML_BYTES {
        return Err(ReadError::TooLarge(xml.len()));
    }
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(xml, options).map_err(ReadError::Xml)
}

/// The document's root, if it is this element.
pub(crate) fn root<'a, 'input>(
    document: &'a Document<'input>,
    expected: &'static str,
) -> Result<Node<'a, 'input>, ReadError> {
    let root = document.root_element();
    let found = root.tag_name().name();
    if found == expected {
        Ok(root)
    } else {
        Err(ReadError::Root {
            expected,
            found: found.chars().take(80).collect(),
        })
    }
}

/// All text directly inside an element.
pub(crate) fn text_of(node: Node<'_, '_>) -> String {
    node.children()
        .filter(Node::is_text)
        .filter_map(|text| text.text())
        .collect()
}

/// The first child element of this name.
pub(crate) fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    children(node, name).next()
}

/// Every child element of this name.
pub(crate) fn children<'a, 'input>(
    node: Node<'a, 'input>,
    name: &str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children()
        .filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// The rendered attributes found in a domain's XML. One that is missing there is missing here.
///
/// # Errors
/// When the text is no domain's XML.
pub fn read_back(xml: &str) -> Result<BTreeMap<Attribute, String>, ReadError> {
    let document = parse(xml)?;
    let domain = root(&document, "domain")?;
    let mut found = Found(BTreeMap::new());
    found.attribute(Attribute::Hypervisor, Some(domain), "type");
    found.text(Attribute::Name, child(domain, "name"));
    found.text(Attribute::Uuid, child(domain, "uuid"));
    if let Some(ours) = metadata::find(domain) {
        for (attribute, element) in [
            (Attribute::Fleet, "fleet"),
            (Attribute::Project, "project"),
            (Attribute::ServerId, "id"),
            (Attribute::Address, "address"),
            (Attribute::Epoch, "epoch"),
            (Attribute::Generation, "generation"),
        ] {
            found.put(attribute, metadata::content(ours, element));
        }
    }
    found.put(Attribute::MemoryKib, child(domain, "memory").map(kib));
    found.put(
        Attribute::CurrentMemoryKib,
        child(domain, "currentMemory").map(kib),
    );
    if let Some(vcpu) = child(domain, "vcpu") {
        let all = text_of(vcpu);
        let current = vcpu
            .attribute("current")
            .map_or_else(|| all.clone(), ToOwned::to_owned);
        found.put(Attribute::Vcpus, Some(all));
        found.put(Attribute::CurrentVcpus, Some(current));
        found.attribute(Attribute::Cpuset, Some(vcpu), "cpuset");
    }
    found.place(domain);
    found.os(child(domain, "os"));
    for feature in child(domain, "features")
        .into_iter()
        .flat_map(|node| node.children())
    {
        if feature.is_element() {
            let state = feature.attribute("state").unwrap_or("on").to_owned();
            found.put(
                Attribute::Feature(feature.tag_name().name().to_owned()),
                Some(state),
            );
        }
    }
    found.cpu(child(domain, "cpu"));
    found.attribute(Attribute::Clock, child(domain, "clock"), "offset");
    found.text(Attribute::OnPoweroff, child(domain, "on_poweroff"));
    found.text(Attribute::OnReboot, child(domain, "on_reboot"));
    found.text(Attribute::OnCrash, child(domain, "on_crash"));
    if let Some(devices) = child(domain, "devices") {
        found.devices(devices);
    }
    Ok(found.0)
}

struct Found(BTreeMap<Attribute, String>);

impl Found {
    fn put(&mut self, attribute: Attribute, value: Option<String>) {
        if let Some(value) = value {
            self.0.insert(attribute, value);
        }
    }

    fn text(&mut self, attribute: Attribute, node: Option<Node<'_, '_>>) {
        self.put(attribute, node.map(text_of));
    }

    fn attribute(&mut self, attribute: Attribute, node: Option<Node<'_, '_>>, name: &str) {
        self.put(
            attribute,
            node.and_then(|node| node.attribute(name)).map(ToOwned::to_owned),
        );
    }

    fn place(&mut self, domain: Node<'_, '_>) {
        let number = |node: Node<'_, '_>, name| node.attribute(name).and_then(|text| text.parse().ok());
        if let Some(tune) = child(domain, "cputune") {
            for pin in children(tune, "vcpupin") {
                if let Some(vcpu) = number(pin, "vcpu") {
                    self.attribute(Attribute::VcpuPin(vcpu), Some(pin), "cpuset");
                }
            }
            self.attribute(Attribute::EmulatorPin, child(tune, "emulatorpin"), "cpuset");
        }
        let nodes = |node: Node<'_, '_>| {
            let which = node.attribute("nodeset").or(node.attribute("placement"))?;
            Some(format!("{} {which}", node.attribute("mode").unwrap_or("strict")))
        };
        if let Some(tune) = child(domain, "numatune") {
            self.put(Attribute::NumaMemory, child(tune, "memory").and_then(nodes));
            for node in children(tune, "memnode") {
                if let Some(cell) = number(node, "cellid") {
                    self.put(Attribute::NumaNode(cell), nodes(node));
                }
            }
        }
        let backing = child(domain, "memoryBacking");
        if let Some(huge) = backing.and_then(|backing| child(backing, "hugepages")) {
            let mut pages = children(huge, "page").peekable();
            if pages.peek().is_none() {
                let of_libvirts_choice = "default".to_owned();
                self.put(Attribute::HugePages("all".to_owned()), Some(of_libvirts_choice));
            }
            for page in pages {
                let cells = page.attribute("nodeset").unwrap_or("all").to_owned();
                let size = page.attribute("size").map(|size| with_unit(page, size));
                self.put(Attribute::HugePages(cells), size);
            }
        }
    }

    fn os(&mut self, os: Option<Node<'_, '_>>) {
        let Some(os) = os else { return };
        let kind = child(os, "type");
        self.text(Attribute::OsType, kind);
        self.attribute(Attribute::Architecture, kind, "arch");
        self.attribute(Attribute::Machine, kind, "machine");
        let boot: Vec<&str> = children(os, "boot")
            .filter_map(|boot| boot.attribute("dev"))
            .collect();
        self.put(Attribute::Boot, (!boot.is_empty()).then(|| boot.join(" ")));
    }

    fn cpu(&mut self, cpu: Option<Node<'_, '_>>) {
        let Some(cpu) = cpu else { return };
        self.attribute(Attribute::CpuMode, Some(cpu), "mode");
        self.attribute(Attribute::CpuMatch, Some(cpu), "match");
        self.attribute(Attribute::CpuCheck, Some(cpu), "check");
        let model = child(cpu, "model");
        self.text(Attribute::CpuModel, model);
        self.attribute(Attribute::CpuFallback, model, "fallback");
        let cells = child(cpu, "numa")
            .into_iter()
            .flat_map(|numa| children(numa, "cell"));
        for (cell, position) in cells.zip(0_u32..) {
            let number = cell.attribute("id").and_then(|id| id.parse().ok());
            let number = number.unwrap_or(position);
            self.attribute(Attribute::CellCpus(number), Some(cell), "cpus");
            let memory = cell.attribute("memory").map(|memory| with_unit(cell, memory));
            self.put(Attribute::CellMemoryKib(number), memory);
        }
        for feature in children(cpu, "feature") {
            if let Some(name) = feature.attribute("name") {
                self.attribute(Attribute::CpuFeature(name.to_owned()), Some(feature), "policy");
            }
        }
    }

    fn devices(&mut self, devices: Node<'_, '_>) {
        self.text(Attribute::Emulator, child(devices, "emulator"));
        for disk in children(devices, "disk") {
            self.disk(disk);
        }
        for (device, address) in host_devices(devices) {
            // libvirt's default: the host's driver is left to the administrator.
            let managed = device.attribute("managed").unwrap_or("no").to_owned();
            self.put(Attribute::HostDevice(address), Some(managed));
        }
        if let Some(serial) = children(devices, "serial").next() {
            let log = child(serial, "log");
            self.attribute(Attribute::ConsoleType, Some(serial), "type");
            self.attribute(Attribute::ConsoleLog, log, "file");
            self.attribute(Attribute::ConsoleAppend, log, "append");
        }
        let named = |name: &&str| *name == AGENT_CHANNEL;
        let agent = children(devices, "channel")
            .filter_map(|channel| child(channel, "target")?.attribute("name"))
            .find(named);
        self.put(Attribute::AgentChannel, agent.map(ToOwned::to_owned));
        self.attribute(Attribute::Balloon, child(devices, "memballoon"), "model");
    }

    fn disk(&mut self, disk: Node<'_, '_>) {
        let (target, driver, source) = (
            child(disk, "target"),
            child(disk, "driver"),
            child(disk, "source"),
        );
        let Some(name) = target.and_then(|target| target.attribute("dev")) else {
            return;
        };
        let part = |part| Attribute::Disk {
            target: name.to_owned(),
            part,
        };
        self.attribute(part(DiskPart::Device), Some(disk), "device");
        self.attribute(part(DiskPart::File), source, "file");
        self.attribute(part(DiskPart::Format), driver, "type");
        self.attribute(part(DiskPart::Discard), driver, "discard");
        self.attribute(part(DiskPart::Bus), target, "bus");
    }
}

/// A memory size in KiB, which is how libvirt writes it; with another unit, as it stands.
fn kib(node: Node<'_, '_>) -> String {
    with_unit(node, &text_of(node))
}

fn with_unit(node: Node<'_, '_>, amount: &str) -> String {
    match node.attribute("unit") {
        None | Some("KiB") => amount.to_owned(),
        Some(unit) => format!("{amount} {unit}"),
    }
}
