//! A domain's XML. Every attribute written here has its line in `attribute`, and `read` finds it again.

use super::attribute::{AGENT_CHANNEL, MANAGED, cpu_check, features};
use super::metadata::{DomainMetadata, NAMESPACE, xml_text};
use super::place::GuestPlace;
use super::read::{ReadError, child, children, parse, root, text_of};
use super::spec::{DiskSpec, DomainSpec};
use drover_types::PciAddress;
use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

/// The domain's XML, ready for libvirt. The same spec gives the same bytes.
#[must_use]
pub fn render(spec: &DomainSpec) -> String {
    let mut xml = Xml(Writer::new_with_indent(Vec::new(), b' ', 2));
    xml.within("domain", &[("type", spec.hypervisor.as_str())], |xml| {
        xml.text("name", &[], spec.name.as_str());
        xml.text("uuid", &[], &spec.metadata.id.to_string());
        xml.within("metadata", &[], |xml| metadata(xml, &spec.metadata));
        let memory = spec.memory_kib().to_string();
        xml.text("memory", &[("unit", "KiB")], &memory);
        xml.text("currentMemory", &[("unit", "KiB")], &memory);
        place(xml, &spec.place, &spec.vcpus.to_string(), None);
        xml.within("os", &[], |xml| {
            let kind = [
                ("arch", spec.architecture.as_str()),
                ("machine", spec.machine.as_str()),
            ];
            xml.text("type", &kind, "hvm");
            xml.empty("boot", &[("dev", "hd")]);
        });
        if !features(spec.architecture).is_empty() {
            xml.within("features", &[], |xml| {
                for name in features(spec.architecture) {
                    xml.empty(name, &[]);
                }
            });
        }
        cpu(xml, spec);
        xml.empty("clock", &[("offset", "utc")]);
        xml.text("on_poweroff", &[], "destroy");
        xml.text("on_reboot", &[], "restart");
        xml.text("on_crash", &[], spec.on_crash.as_str());
        xml.within("devices", &[], |xml| devices(xml, spec));
    });
    String::from_utf8(xml.0.into_inner()).expect("written from strings only")
}

/// A domain's XML with another place in it: what another host makes of a guest that comes from here. Nothing else
/// changes, or libvirt would refuse the guest.
///
/// # Errors
/// When the text is no domain's XML.
pub fn with_place(text: &str, place: &GuestPlace) -> Result<String, ReadError> {
    let document = parse(text)?;
    let domain = root(&document, "domain")?;
    let Some(vcpu) = child(domain, "vcpu") else {
        return Ok(text.to_owned());
    };
    let mut xml = Xml(Writer::new(Vec::new()));
    self::place(&mut xml, place, &text_of(vcpu), vcpu.attribute("current"));
    let placed = String::from_utf8(xml.0.into_inner()).expect("written from strings only");
    let mut altered = text.to_owned();
    let own = ["memoryBacking", "cputune", "numatune"];
    let mut ranges: Vec<_> = own
        .into_iter()
        .flat_map(|name| children(domain, name))
        .map(|node| (node.range(), ""))
        .chain([(vcpu.range(), placed.as_str())])
        .collect();
    // From the end, so that what is before keeps its place.
    ranges.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    for (range, by) in ranges {
        altered.replace_range(range, by);
    }
    Ok(altered)
}

/// Our mark alone, on one line, with its prefix and namespace.
#[must_use]
pub fn render_marks(mark: &DomainMetadata) -> String {
    let mut xml = Xml(Writer::new(Vec::new()));
    metadata(&mut xml, mark);
    String::from_utf8(xml.0.into_inner()).expect("written from strings only")
}

fn metadata(xml: &mut Xml, ours: &DomainMetadata) {
    xml.within("drover:server", &[("xmlns:drover", NAMESPACE)], |xml| {
        xml.text("drover:fleet", &[], ours.fleet.as_str());
        xml.text("drover:project", &[], ours.project.as_str());
        xml.text("drover:id", &[], &ours.id.to_string());
        xml.text("drover:address", &[], &xml_text(&ours.address.to_string()));
        xml.text("drover:epoch", &[], &ours.epoch.to_string());
        xml.text("drover:generation", &[], &ours.generation.to_string());
    });
}

/// Virtual processors, and where they and the memory are.
fn place(xml: &mut Xml, place: &GuestPlace, vcpus: &str, current: Option<&str>) {
    let huge = place.huge_pages();
    if !huge.is_empty() {
        xml.within("memoryBacking", &[], |xml| {
            xml.within("hugepages", &[], |xml| {
                for (size, cells) in &huge {
                    let (size, cells) = (size.to_string(), cells.to_string());
                    xml.empty("page", &[("size", &size), ("unit", "KiB"), ("nodeset", &cells)]);
                }
            });
        });
    }
    let cpuset = place.cpuset.as_ref().map(ToString::to_string);
    let mut how = vec![("placement", "static")];
    how.extend(current.map(|current| ("current", current)));
    how.extend(cpuset.as_deref().map(|cpuset| ("cpuset", cpuset)));
    xml.text("vcpu", &how, vcpus);
    if place.cells.is_empty() {
        return;
    }
    xml.within("cputune", &[], |xml| {
        for (number, cpus) in place.pins() {
            let (number, cpus) = (number.to_string(), cpus.to_string());
            xml.empty("vcpupin", &[("vcpu", &number), ("cpuset", &cpus)]);
        }
        xml.empty("emulatorpin", &[("cpuset", &place.emulator().to_string())]);
    });
    xml.within("numatune", &[], |xml| {
        xml.empty(
            "memory",
            &[("mode", "strict"), ("nodeset", &place.nodes().to_string())],
        );
        for (number, cell) in place.cells.iter().enumerate() {
            let (number, node) = (number.to_string(), cell.taken.cell.to_string());
            xml.empty(
                "memnode",
                &[("cellid", &number), ("mode", "strict"), ("nodeset", &node)],
            );
        }
    });
}

fn cpu(xml: &mut Xml, spec: &DomainSpec) {
    let how = [
        ("mode", "custom"),
        ("match", "exact"),
        ("check", cpu_check(spec.hypervisor)),
    ];
    xml.within("cpu", &how, |xml| {
        xml.text("model", &[("fallback", "forbid")], spec.cpu.model.as_str());
        for feature in &spec.cpu.features {
            xml.empty(
                "feature",
                &[
                    ("policy", feature.policy.as_str()),
                    ("name", feature.name.as_str()),
                ],
            );
        }
        if !spec.place.cells.is_empty() {
            xml.within("numa", &[], |xml| guest_cells(xml, &spec.place));
        }
    });
}

fn guest_cells(xml: &mut Xml, place: &GuestPlace) {
    for (number, cell) in place.cells.iter().enumerate() {
        let (number, cpus) = (number.to_string(), cell.guest_cpus().to_string());
        let memory = cell.memory_kib().to_string();
        let what = [
            ("id", number.as_str()),
            ("cpus", &cpus),
            ("memory", &memory),
            ("unit", "KiB"),
        ];
        xml.empty("cell", &what);
    }
}

fn devices(xml: &mut Xml, spec: &DomainSpec) {
    xml.text("emulator", &[], spec.emulator.as_str());
    for disk in &spec.disks {
        render_disk(xml, disk);
    }
    // A pty for the interactive console; virtlogd writes and bounds the log.
    xml.within("serial", &[("type", "pty")], |xml| {
        xml.empty("log", &[("file", spec.console_log.as_str()), ("append", "on")]);
        xml.empty("target", &[("port", "0")]);
    });
    xml.within("channel", &[("type", "unix")], |xml| {
        xml.empty("target", &[("type", "virtio"), ("name", AGENT_CHANNEL)]);
    });
    for address in spec.place.pci_devices() {
        host_device(xml, address);
    }
    xml.empty("memballoon", &[("model", "virtio")]);
}

/// A PCI device of the host, which the guest has to itself.
fn host_device(xml: &mut Xml, address: PciAddress) {
    let how = [("mode", "subsystem"), ("type", "pci"), ("managed", MANAGED)];
    let PciAddress {
        domain,
        bus,
        slot,
        function,
    } = address;
    let parts = [
        ("domain", format!("{domain:#06x}")),
        ("bus", format!("{bus:#04x}")),
        ("slot", format!("{slot:#04x}")),
        ("function", format!("{function:#x}")),
    ];
    let parts: Vec<(&str, &str)> = parts
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    xml.within("hostdev", &how, |xml| {
        xml.within("source", &[], |xml| xml.empty("address", &parts));
    });
}

fn render_disk(xml: &mut Xml, disk: &DiskSpec) {
    xml.within("disk", &[("type", "file"), ("device", "disk")], |xml| {
        xml.empty(
            "driver",
            &[
                ("name", "qemu"),
                ("type", disk.format.as_str()),
                ("discard", "unmap"),
            ],
        );
        xml.empty("source", &[("file", disk.file.as_str())]);
        xml.empty(
            "target",
            &[("dev", &disk.target.to_string()), ("bus", disk.bus.as_str())],
        );
    });
}

/// Writes elements into memory, which cannot fail.
struct Xml(Writer<Vec<u8>>);

impl Xml {
    fn event(&mut self, event: Event<'_>) {
        self.0.write_event(event).expect("writing to memory cannot fail");
    }

    fn within(&mut self, name: &str, attributes: &[(&str, &str)], content: impl FnOnce(&mut Self)) {
        self.event(Event::Start(start(name, attributes)));
        content(self);
        self.event(Event::End(BytesEnd::new(name)));
    }

    fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.event(Event::Empty(start(name, attributes)));
    }

    fn text(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.event(Event::Start(start(name, attributes)));
        self.event(Event::Text(BytesText::new(text)));
        self.event(Event::End(BytesEnd::new(name)));
    }
}

fn start<'a>(name: &'a str, attributes: &[(&'a str, &'a str)]) -> BytesStart<'a> {
    BytesStart::new(name).with_attributes(attributes.iter().copied())
}
