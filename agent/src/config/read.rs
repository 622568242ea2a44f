//! Reads `agent.hcl`: literals only, unknown names are mistakes, and all mistakes come at once.

use super::{Config, ConfigError, ImageLimits, LogFormat, Problem, Reserved};
use drover_agent_core::inventory::{CpuSets, PciRule};
use drover_proto::transport::CredentialFiles;
use drover_types::{ByteSize, VirtType};
use hcl::edit::Span as _;
use hcl::edit::expr::Expression;
use hcl::edit::structure::{Attribute, Block, Body, Structure};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The configuration that `text` holds, `file` being where it came from.
pub(super) fn config(file: &Path, text: &str) -> Result<Config, ConfigError> {
    let mut reader = Reader {
        directory: file.parent().unwrap_or(Path::new("")),
        text,
        problems: Vec::new(),
    };
    let found = reader.read();
    let mut problems = reader.problems;
    match found {
        Some(config) if problems.is_empty() => Ok(config),
        Some(_) | None => {
            problems.sort_by_key(|problem| (problem.line, problem.column));
            Err(ConfigError::Mistakes {
                file: file.to_owned(),
                problems,
            })
        }
    }
}

struct Reader<'a> {
    directory: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

/// The attributes and blocks of one body that nobody asked for yet.
struct Section<'b> {
    /// The block's name, or nothing for the file itself.
    name: &'static str,
    place: Range<usize>,
    attributes: BTreeMap<&'b str, &'b Attribute>,
    blocks: Vec<&'b Block>,
}

impl<'b> Section<'b> {
    fn of(name: &'static str, place: Range<usize>, body: &'b Body) -> Self {
        let mut section = Section {
            name,
            place,
            attributes: BTreeMap::new(),
            blocks: Vec::new(),
        };
        for structure in body {
            match structure {
                // The parser refuses a second attribute of the same name.
                Structure::Attribute(attribute) => {
                    section.attributes.insert(attribute.key.as_str(), attribute);
                }
                Structure::Block(block) => section.blocks.push(block),
            }
        }
        section
    }
}

impl Reader<'_> {
    fn read(&mut self) -> Option<Config> {
        let body = match hcl::edit::parser::parse_body(self.text) {
            Ok(body) => body,
            Err(error) => {
                self.problems.push(Problem {
                    line: error.location().line(),
                    column: error.location().column(),
                    message: error.message().to_owned(),
                });
                return None;
            }
        };
        let mut top = Section::of("", 0..0, &body);
        let host = self.required(&mut top, "host", "\"n1\"");
        let fleet = self.required(&mut top, "fleet", "\"prod\"");
        let listen = self.required(&mut top, "listen", "\"0.0.0.0:7443\"");
        let data_dir = self.path(&mut top, "data_dir");
        let libvirt_uri = self.parsed::<String>(&mut top, "libvirt_uri");
        let virt_type = self.parsed(&mut top, "virt_type");
        let shutdown_grace = self.duration(&mut top, "shutdown_grace");
        let log_format = self.parsed(&mut top, "log_format");
        let tls = self.tls(&mut top);
        let reserved = self.reserved(&mut top);
        let cpus = self.cpus(&mut top);
        let pci_devices = self.pci_devices(&mut top);
        let images = self.images(&mut top);
        self.unknown(&top);
        Some(Config {
            host: host?,
            fleet: fleet?,
            listen: listen?,
            data_dir: data_dir.unwrap_or_else(|| PathBuf::from("/var/lib/drover")),
            libvirt_uri: libvirt_uri.unwrap_or_else(|| "qemu:///system".to_owned()),
            virt_type: virt_type.unwrap_or(VirtType::Auto),
            tls: tls?,
            reserved,
            cpus,
            pci_devices,
            images,
            shutdown_grace: shutdown_grace.unwrap_or(Duration::from_secs(30)),
            log_format: log_format.unwrap_or(LogFormat::Text),
        })
    }

    fn tls(&mut self, top: &mut Section<'_>) -> Option<CredentialFiles> {
        let Some(mut section) = self.block(top, "tls") else {
            self.mistake(
                0..0,
                "block tls is missing; it names ca_file, cert_file and key_file".to_owned(),
            );
            return None;
        };
        let mut file = |name| {
            let path = self.path(&mut section, name);
            if path.is_none() && !self.said_of(&section, name) {
                self.missing(&section, name, "\"/etc/drover/…\"");
            }
            path
        };
        let (ca_file, cert_file, key_file) = (file("ca_file"), file("cert_file"), file("key_file"));
        self.unknown(&section);
        Some(CredentialFiles {
            ca_file: ca_file?,
            cert_file: cert_file?,
            key_file: key_file?,
        })
    }

    fn reserved(&mut self, top: &mut Section<'_>) -> Reserved {
        let Some(mut section) = self.block(top, "reserved") else {
            return Reserved::default();
        };
        let reserved = Reserved {
            vcpus: self.number(&mut section, "vcpus").unwrap_or(0),
            memory: self.parsed(&mut section, "memory").unwrap_or_default(),
            disk: self.parsed(&mut section, "disk").unwrap_or_default(),
        };
        self.unknown(&section);
        reserved
    }

    fn cpus(&mut self, top: &mut Section<'_>) -> CpuSets {
        let Some(mut section) = self.block(top, "cpus") else {
            return CpuSets::default();
        };
        let cpus = CpuSets {
            shared: self.parsed(&mut section, "shared"),
            dedicated: self.parsed(&mut section, "dedicated"),
        };
        let overlap = cpus.overlap();
        if !overlap.0.is_empty() {
            self.mistake(
                section.place.clone(),
                format!("cpus: {overlap} stand in shared and in dedicated; each processor is in one"),
            );
        }
        self.unknown(&section);
        cpus
    }

    /// Every `pci_device` block: together they say which devices servers may have.
    fn pci_devices(&mut self, top: &mut Section<'_>) -> Vec<PciRule> {
        let mut rules = Vec::new();
        for mut section in self.blocks(top, "pci_device") {
            let said = ["vendor_id", "product_id", "address"];
            let says_something = said.iter().any(|name| section.attributes.contains_key(name));
            let rule = PciRule {
                vendor_id: self.parsed(&mut section, "vendor_id"),
                product_id: self.parsed(&mut section, "product_id"),
                address: self.parsed(&mut section, "address"),
            };
            if !says_something {
                self.mistake(
                    section.place.clone(),
                    "pci_device says nothing, which would give every device away; write vendor_id, product_id or address"
                        .to_owned(),
                );
            }
            self.unknown(&section);
            rules.push(rule);
        }
        rules
    }

    fn images(&mut self, top: &mut Section<'_>) -> ImageLimits {
        let mut limits = ImageLimits {
            max_size: ByteSize::from_gib(64),
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(6 * 3600),
            file_roots: Vec::new(),
            extra_ca_file: None,
        };
        let Some(mut section) = self.block(top, "images") else {
            return limits;
        };
        let mut duration = |name, default: &mut Duration| {
            if let Some(given) = self.duration(&mut section, name) {
                *default = given;
            }
        };
        duration("connect_timeout", &mut limits.connect_timeout);
        duration("stall_timeout", &mut limits.stall_timeout);
        duration("total_timeout", &mut limits.total_timeout);
        limits.max_size = self.parsed(&mut section, "max_size").unwrap_or(limits.max_size);
        limits.file_roots = self.paths(&mut section, "file_roots");
        limits.extra_ca_file = self.path(&mut section, "extra_ca_file");
        self.unknown(&section);
        limits
    }

    fn mistake(&mut self, place: Range<usize>, message: String) {
        let before = self.text.get(..place.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.problems.push(Problem {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message,
        });
    }

    fn missing(&mut self, section: &Section<'_>, name: &str, example: &str) {
        let within = in_section(section.name);
        self.mistake(
            section.place.clone(),
            format!("{name} is missing{within}; write for example {name} = {example}"),
        );
    }

    /// Whether an attribute of this name was there, and so was complained about.
    fn said_of(&self, section: &Section<'_>, name: &str) -> bool {
        let prefix = format!("{name}{}: ", in_section(section.name));
        self.problems
            .iter()
            .any(|problem| problem.message.starts_with(&prefix))
    }

    fn unknown(&mut self, section: &Section<'_>) {
        let within = in_section(section.name);
        for (name, attribute) in &section.attributes {
            self.mistake(place(attribute), format!("there is no attribute {name}{within}"));
        }
        for block in &section.blocks {
            let place = block.ident.span().unwrap_or(0..0);
            self.mistake(
                place,
                format!("there is no block {}{within}", block.ident.as_str()),
            );
        }
    }

    fn block<'b>(&mut self, section: &mut Section<'b>, name: &'static str) -> Option<Section<'b>> {
        let mut found = self.blocks(section, name).into_iter();
        let first = found.next();
        for second in found {
            self.mistake(second.place, format!("block {name} is there twice; keep one"));
        }
        first
    }

    /// Every block of this name.
    fn blocks<'b>(&mut self, section: &mut Section<'b>, name: &'static str) -> Vec<Section<'b>> {
        let (found, others) = section
            .blocks
            .iter()
            .partition::<Vec<&Block>, _>(|block| block.ident.as_str() == name);
        section.blocks = others;
        let mut sections = Vec::new();
        for block in found {
            let place = block.ident.span().unwrap_or(0..0);
            if !block.labels.is_empty() {
                self.mistake(place.clone(), format!("block {name} has no labels"));
            }
            sections.push(Section::of(name, place, &block.body));
        }
        sections
    }

    /// The text of an attribute and its place.
    fn string(&mut self, section: &mut Section<'_>, name: &str) -> Option<(String, Range<usize>)> {
        let attribute = section.attributes.remove(name)?;
        let place = place(attribute);
        let Expression::String(text) = &attribute.value else {
            let within = in_section(section.name);
            self.mistake(
                place,
                format!("{name}{within}: write a text in quotes, without references"),
            );
            return None;
        };
        Some((text.as_str().to_owned(), place))
    }

    fn parsed<T>(&mut self, section: &mut Section<'_>, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let (text, place) = self.string(section, name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistake(place, format!("{name}{}: {error}", in_section(section.name)));
                None
            }
        }
    }

    fn required<T>(&mut self, section: &mut Section<'_>, name: &str, example: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        if !section.attributes.contains_key(name) {
            self.missing(section, name, example);
            return None;
        }
        self.parsed(section, name)
    }

    fn path(&mut self, section: &mut Section<'_>, name: &str) -> Option<PathBuf> {
        let (text, place) = self.string(section, name)?;
        self.absolute(section.name, name, &text, place)
    }

    fn paths(&mut self, section: &mut Section<'_>, name: &str) -> Vec<PathBuf> {
        let Some(attribute) = section.attributes.remove(name) else {
            return Vec::new();
        };
        let place = place(attribute);
        let Expression::Array(array) = &attribute.value else {
            self.mistake(
                place,
                format!("{name}{}: write a list of texts", in_section(section.name)),
            );
            return Vec::new();
        };
        let mut paths = Vec::new();
        for element in array {
            match element {
                Expression::String(text) => {
                    paths.extend(self.absolute(section.name, name, text.as_str(), place.clone()));
                }
                _ => self.mistake(
                    place.clone(),
                    format!("{name}{}: every element is a text", in_section(section.name)),
                ),
            }
        }
        paths
    }

    fn absolute(&mut self, section: &str, name: &str, text: &str, place: Range<usize>) -> Option<PathBuf> {
        let said = |what: String| format!("{name}{}: {what}", in_section(section));
        if text.is_empty() || text.contains('\0') {
            self.mistake(place, said(format!("{text:?} is not a path")));
            return None;
        }
        match std::path::absolute(self.directory.join(text)) {
            Ok(path) => Some(path),
            Err(error) => {
                self.mistake(place, said(format!("{text:?} cannot be made absolute: {error}")));
                None
            }
        }
    }

    fn number(&mut self, section: &mut Section<'_>, name: &str) -> Option<u32> {
        let attribute = section.attributes.remove(name)?;
        let value = match &attribute.value {
            Expression::Number(number) => number.value().as_u64(),
            _ => None,
        };
        let value = value.and_then(|value| u32::try_from(value).ok());
        if value.is_none() {
            let within = in_section(section.name);
            self.mistake(place(attribute), format!("{name}{within}: write a whole number"));
        }
        value
    }

    fn duration(&mut self, section: &mut Section<'_>, name: &str) -> Option<Duration> {
        let (text, place) = self.string(section, name)?;
        let parsed: Option<jiff::SignedDuration> = text.parse().ok();
        let duration = parsed.and_then(|duration| Duration::try_from(duration).ok());
        if duration.is_none() {
            let within = in_section(section.name);
            self.mistake(
                place,
                format!("{name}{within}: {text:?} is not a duration; write for example \"30s\" or \"5m\""),
            );
        }
        duration
    }
}

impl FromStr for LogFormat {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("write \"text\" or \"json\""),
        }
    }
}

fn in_section(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!(" in {name}")
    }
}

fn place(attribute: &Attribute) -> Range<usize> {
    attribute.key.span().unwrap_or(0..0)
}

#[cfg(test)]
mod tests;
