//! Configuration for domains that are there already: `import` and `server` blocks, and a `flavor` where no declared
//! one fits, in the layout of `drover fmt`.

use crate::config::{Evaluated, InputFile};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::layout::arrange_file;
use crate::source::Span;
use crate::value::quoted;
use drover_core::diff::{has_block_of_its_own, is_active};
use drover_core::model::{DesiredFleet, FlavorSpec, ImportId, ObservedDomain, Repetition};
use drover_types::{Address, ByteSize, HostName, InstanceKey, Kind, ResourceName};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A domain that is to be declared.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Where it is.
    pub id: ImportId,
    /// As its host reports it.
    pub domain: &'a ObservedDomain,
    /// The label of its server.
    pub label: ResourceName,
    /// Whether an import block is written for it.
    pub import: ImportBlock,
}

/// Whether there is an import block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportBlock {
    /// It is written.
    Wanted,
    /// It is there.
    Present,
}

/// Labels for servers that are made of domains: their names as far as they may be labels, each once.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    taken: BTreeSet<String>,
}

impl Labels {
    /// Beside what is declared.
    #[must_use]
    pub fn beside(desired: &DesiredFleet) -> Self {
        let own = desired
            .blocks
            .keys()
            .filter(|block| block.kind == Kind::Server && block.modules.is_empty());
        Self {
            taken: own.map(|block| block.name.to_string()).collect(),
        }
    }

    /// The label for a domain of this name.
    pub fn take(&mut self, domain: &str) -> ResourceName {
        let mut plain = String::new();
        for character in domain.chars().take(48) {
            let fits = character.is_ascii_alphanumeric() || character == '_' || character == '-';
            plain.push(if fits { character } else { '-' });
        }
        let plain = plain.trim_matches('-');
        let base = match plain.chars().next() {
            None => "imported".to_owned(),
            Some(first) if first.is_ascii_alphabetic() => plain.to_owned(),
            // The label is the server's name too, which begins with a letter.
            Some(_) => format!("vm-{plain}"),
        };
        let label = numbered(&base, |label| self.taken.contains(label));
        self.taken.insert(label.clone());
        label.parse().expect("it is made of what a label may hold")
    }
}

/// Most addresses that one message names.
const NAMED: usize = 5;

/// Why no blocks are written for those of these imported servers that have none of their own: one mistake for each
/// import block.
#[must_use]
pub fn without_blocks<'a>(
    evaluated: &Evaluated,
    undeclared: impl IntoIterator<Item = &'a Address>,
) -> Diagnostics {
    let desired = &evaluated.desired;
    let mut by_place: BTreeMap<Option<Span>, Vec<&Address>> = BTreeMap::new();
    for address in undeclared {
        if !has_block_of_its_own(address, desired) {
            let place = evaluated.import_places.get(address).copied();
            by_place.entry(place).or_default().push(address);
        }
    }
    let mut found = Diagnostics::default();
    for (place, addresses) in by_place {
        let Some((first, rest)) = addresses.split_first() else {
            continue;
        };
        let (mut detail, hint) = why_without(first, desired);
        let named: Vec<String> = rest.iter().take(NAMED).map(ToString::to_string).collect();
        if !named.is_empty() {
            let more = match rest.len() - named.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            write!(detail, " The same goes for {}{more}.", named.join(", "))
                .expect("writing to a String cannot fail");
        }
        let diagnostic = Diagnostic::error("Configuration cannot be generated", detail).at_maybe(place);
        found.push(diagnostic.within("import").hint(Some(hint)));
    }
    found
}

/// Why there is no block of its own for this server, and what to do.
fn why_without(address: &Address, desired: &DesiredFleet) -> (String, String) {
    let block = Address {
        key: None,
        ..address.clone()
    };
    let label = &address.name;
    match (desired.blocks.get(&block), &address.key) {
        (Some(Repetition::Counted(_)), None) => (
            format!("{block} is declared with count, so this is the address of none of its servers."),
            format!("name one of them: to = {block}[0]"),
        ),
        (Some(Repetition::Keyed), None) => (
            format!("{block} is declared with for_each, so this is the address of none of its servers."),
            format!("name one of them, by its key: to = {block}[\"KEY\"]"),
        ),
        (Some(Repetition::Single), Some(_)) => (
            format!("{block} is declared without count and for_each, so there is no {address}."),
            format!("leave the key out: to = {block}"),
        ),
        (Some(Repetition::Counted(number)), Some(_)) => (
            format!("{block} is declared with count, and {address} is none of its {number} servers."),
            "raise its count".to_owned(),
        ),
        (Some(Repetition::Keyed), Some(_)) => (
            format!("{block} is declared with for_each, and {address} is none of its servers."),
            "add the key to its for_each".to_owned(),
        ),
        (Some(Repetition::Single) | None, None) => (
            format!("{address} is in a module, and what stands there is for all instances of the module."),
            format!("write server {} in the module's folder", quoted(label.as_str())),
        ),
        (None, Some(key)) => {
            let (instances, all) = match key {
                InstanceKey::Index(_) => ("count", "how many there are"),
                InstanceKey::Key(_) => ("for_each", "which others there are"),
            };
            (
                format!("{address} is one of several servers of a block, and nothing says {all}."),
                format!(
                    "write server {} with {instances}, or leave the key out: to = {block}",
                    quoted(label.as_str())
                ),
            )
        }
    }
}

/// The name itself, or with the first number from 2 on that makes it free.
fn numbered(base: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(base) {
        return base.to_owned();
    }
    (2_u64..)
        .map(|number| format!("{base}-{number}"))
        .find(|name| !taken(name))
        .expect("numbers do not end")
}

/// A size as flavors are told apart here: processors, memory and disk in MiB.
type Size = (u32, u64, u64);

fn size_of(domain: &ObservedDomain) -> Size {
    // A flavor's disk is more than nothing; one that could not be told is not compared.
    (domain.vcpus, domain.ram_mib, domain.own_disk_mib().max(1))
}

fn size_of_flavor(flavor: &FlavorSpec) -> Size {
    (flavor.vcpus, flavor.ram.mib_ceil(), flavor.disk.mib_ceil())
}

/// The text for these domains, ready to be written.
#[must_use]
pub fn configuration(desired: &DesiredFleet, candidates: &[Candidate<'_>]) -> String {
    let mut flavors: BTreeMap<Size, String> = BTreeMap::new();
    // Of several that fit the first by address is taken; what asks more of a host fits nobody who is there already.
    for (address, flavor) in desired.flavors.iter().rev() {
        if address.modules.is_empty() && flavor.spec.extra_specs.is_empty() {
            flavors.insert(size_of_flavor(&flavor.spec), reference(address));
        }
    }
    let mut names: BTreeSet<String> = desired
        .servers
        .values()
        .map(|server| server.spec.name.clone())
        .collect();
    let mut text = String::new();
    for candidate in candidates {
        let size = size_of(candidate.domain);
        let flavor = flavors.entry(size).or_insert_with(|| {
            let label = new_flavor(size, desired, &mut text);
            format!("flavor.{label}")
        });
        let flavor = flavor.clone();
        server(candidate, &flavor, &mut names, &mut text);
    }
    let input = InputFile {
        path: "generated.hcl".to_owned(),
        bytes: text.trim_start().as_bytes().to_vec(),
    };
    arrange_file(&input).unwrap_or(text)
}

fn reference(address: &Address) -> String {
    let block = format!("{}.{}", address.kind, address.name);
    match &address.key {
        None => block,
        Some(InstanceKey::Index(index)) => format!("{block}[{index}]"),
        Some(InstanceKey::Key(key)) => format!("{block}[{}]", quoted(key)),
    }
}

fn new_flavor((vcpus, ram_mib, disk_mib): Size, desired: &DesiredFleet, text: &mut String) -> String {
    let (ram, disk) = (ByteSize::from_mib(ram_mib), ByteSize::from_mib(disk_mib));
    let base = format!("c{vcpus}-{ram}-{disk}").replace('.', "-");
    let taken = |name: &str| {
        desired.blocks.keys().any(|block| {
            block.kind == Kind::Flavor && block.modules.is_empty() && block.name.as_str() == name
        })
    };
    let label = numbered(&base, taken);
    write!(
        text,
        "\nflavor {} {{\nvcpus = {vcpus}\nram = {}\ndisk = {}\n}}\n",
        quoted(&label),
        quoted(&ram.to_string()),
        quoted(&disk.to_string())
    )
    .expect("writing to a String cannot fail");
    label
}

fn server(candidate: &Candidate<'_>, flavor: &str, names: &mut BTreeSet<String>, text: &mut String) {
    let Candidate {
        id,
        domain,
        label,
        import,
    } = candidate;
    let mut add = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    add("");
    let arch = if domain.arch.is_empty() {
        "guest"
    } else {
        domain.arch.as_str()
    };
    add(&comment(&format!(
        "{id}: {arch}, {}, {}",
        domain.power_state, domain.uuid
    )));
    for disk in domain.disks.iter().filter(|disk| disk.is_own()) {
        let size = match disk.capacity_bytes {
            0 => "size not known".to_owned(),
            bytes => ByteSize::from_bytes(bytes).to_string(),
        };
        add(&comment(&format!("  {}: {} ({size})", disk.target, disk.source)));
    }
    if let ImportBlock::Wanted = import {
        add(&format!(
            "import {{\nto = server.{label}\nid = {}\n}}\n",
            quoted(&id.to_string())
        ));
    }
    add(&format!("server {} {{", quoted(label.as_str())));
    add(&format!("flavor = {flavor}"));
    add("image = null");
    let named = domain.name.parse::<HostName>().is_ok() && domain.name != label.as_str();
    if named && !names.contains(&domain.name) {
        add(&format!("name = {}", quoted(&domain.name)));
        names.insert(domain.name.clone());
    } else {
        names.insert(label.to_string());
    }
    if !is_active(domain.power_state) {
        add("power = \"off\"");
    }
    add("}");
}

/// One line of comment, whatever is in it.
fn comment(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("# {plain}")
}
