//! What a flavor's extra specs (and an image's properties) ask of cells and devices.

use super::super::input::{Name, Needs, Resources};
use super::super::numbers::{float, natural};
use drover_numa::{CpuPolicy, GuestCell, PageSize, ThreadPolicy};
use std::collections::BTreeMap;

/// Most cells a server may ask for; no machine has more.
const MAX_CELLS: u64 = 64;

/// What a server asks of cells and devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// Its cells; empty where it does not care.
    pub cells: Vec<GuestCell>,
    /// Devices by alias.
    pub devices: Vec<(Name, u64)>,
}

/// An extra spec that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value:?} cannot be used: {problem}")]
pub struct DemandError {
    key: String,
    value: String,
    problem: String,
}

impl DemandError {
    /// The extra spec or image property.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

fn wrong(key: &str, value: &str, problem: impl Into<String>) -> DemandError {
    DemandError {
        key: key.to_owned(),
        value: value.to_owned(),
        problem: problem.into(),
    }
}

/// Specs that change what is asked in ways not followed here.
const UNSUPPORTED: [&str; 2] = ["hw:emulator_threads_policy", "hw:cpu_dedicated_mask"];

impl Demand {
    /// As Nova's `numa_get_constraints` and `pci.request`; `None` where nothing is asked.
    ///
    /// # Errors
    /// Every spec that makes no sense.
    pub fn of(needs: &Needs, wants: &Resources) -> Result<Option<Self>, Vec<DemandError>> {
        let mut errors = Vec::new();
        let mut keep = |result: Result<_, DemandError>| result.map_err(|error| errors.push(error)).ok();
        let specs = &needs.extra_specs;
        for key in UNSUPPORTED {
            if let Some(value) = specs.get(key) {
                keep(Err::<(), _>(wrong(key, value, "it is not supported")));
            }
        }
        // That devices are near the server's cells where both say where they are is how they are chosen anyway.
        let near = word(
            needs,
            "hw:pci_numa_affinity_policy",
            "hw_pci_numa_affinity_policy",
            &[("legacy", ())],
        );
        keep(near.map(|_| ()));
        let devices = keep(devices(specs).map(|_| ())).and_then(|()| devices(specs).ok());
        let cells = keep(cells(needs, wants).map(|_| ())).and_then(|()| cells(needs, wants).ok());
        if !errors.is_empty() {
            return Err(errors);
        }
        let demand = Self {
            cells: cells.unwrap_or_default(),
            devices: devices.unwrap_or_default(),
        };
        Ok((demand != Self::default()).then_some(demand))
    }
}

/// `pci_passthrough:alias = "gpu:2, nic:1"`; without a number one is asked for.
fn devices(specs: &BTreeMap<String, String>) -> Result<Vec<(Name, u64)>, DemandError> {
    const KEY: &str = "pci_passthrough:alias";
    let Some(value) = specs.get(KEY) else {
        return Ok(Vec::new());
    };
    let asked = value.split(',').map(|item| {
        let (alias, count) = item.split_once(':').unwrap_or((item, "1"));
        let (alias, count) = (alias.trim(), natural(count).unwrap_or(0));
        if alias.is_empty() || count == 0 || count > 1_000_000 {
            return Err(wrong(KEY, value, "write alias:number, separated by commas"));
        }
        Ok((Name::from(alias), count))
    });
    asked.collect()
}

/// One of some words, from the flavor or else the image.
fn word<T: Copy>(
    needs: &Needs,
    key: &str,
    property: &str,
    words: &[(&str, T)],
) -> Result<Option<T>, DemandError> {
    let flavor = needs.extra_specs.get(key).map(|value| (key, value.as_str()));
    let image = needs.image.get(property).map(|value| (property, value));
    let Some((key, value)) = flavor.or(image) else {
        return Ok(None);
    };
    let found = words
        .iter()
        .find(|(word, _)| *word == value)
        .map(|(_, meaning)| *meaning);
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let names = match &names[..] {
        [name] => (*name).to_owned(),
        names => format!("one of {}", names.join(", ")),
    };
    found
        .map(Some)
        .ok_or_else(|| wrong(key, value, format!("it must be {names}")))
}

fn page_size(needs: &Needs) -> Result<Option<PageSize>, DemandError> {
    const KEY: &str = "hw:mem_page_size";
    let Some(value) = needs.extra_specs.get(KEY) else {
        return match needs.image.get("hw_mem_page_size") {
            Some(value) => Err(wrong(
                "hw_mem_page_size",
                value,
                "the flavor must allow it with hw:mem_page_size",
            )),
            None => Ok(None),
        };
    };
    let kib = |text: &str| {
        let bad = || {
            wrong(
                KEY,
                text,
                "write small, large, any, or a size such as 2048 (KiB), 2MB or 1GB",
            )
        };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text[digits.len()..].to_ascii_lowercase();
        let kib_per_unit = match unit.as_str() {
            "" | "k" | "kb" | "kib" => 1.0,
            "m" | "mb" | "mib" => 1024.0,
            "g" | "gb" | "gib" => 1024.0 * 1024.0,
            _ => return Err(bad()),
        };
        let size = float(digits).ok_or_else(bad)? * kib_per_unit;
        if size.fract() == 0.0 && (1.0..1e12).contains(&size) {
            Ok(PageSize::Kib(size as u64))
        } else {
            Err(bad())
        }
    };
    let read = |text: &str| match text {
        "small" => Ok(PageSize::Small),
        "large" => Ok(PageSize::Large),
        "any" => Ok(PageSize::Any),
        other => kib(other),
    };
    let flavor = read(value)?;
    match (needs.image.get("hw_mem_page_size"), flavor) {
        (None, _) => Ok(Some(flavor)),
        (Some(image), PageSize::Any | PageSize::Large) => read(image).map(Some),
        (Some(image), PageSize::Small | PageSize::Kib(_)) => Err(wrong(
            "hw_mem_page_size",
            image,
            format!("the flavor asks for {value:?}"),
        )),
    }
}

/// What an image may not ask beside its flavor: Nova's ImageNUMATopologyForbidden, ImageCPUPinningForbidden,
/// ImageCPUThreadPolicyForbidden and ImagePCINUMAPolicyForbidden.
fn forbidden(needs: &Needs) -> Result<(), DemandError> {
    let both = |key: &str, property: &'static str| {
        let flavor = needs.extra_specs.get(key)?.as_str();
        Some((flavor, property, needs.image.get(property)?))
    };
    let against = |(flavor, property, image): (&str, &'static str, &str), key: &str| {
        Err(wrong(
            property,
            image,
            format!("the flavor says {key} = {flavor:?}"),
        ))
    };
    if let Some(both) = both("hw:numa_nodes", "hw_numa_nodes") {
        return against(both, "hw:numa_nodes");
    }
    if let Some(both) = both("hw:cpu_policy", "hw_cpu_policy")
        .filter(|(flavor, _, image)| (*flavor, *image) == ("shared", "dedicated"))
    {
        return against(both, "hw:cpu_policy");
    }
    if let Some(both) = both("hw:cpu_thread_policy", "hw_cpu_thread_policy")
        .filter(|(flavor, _, image)| *flavor != "prefer" && flavor != image)
    {
        return against(both, "hw:cpu_thread_policy");
    }
    if let Some(both) = both("hw:pci_numa_affinity_policy", "hw_pci_numa_affinity_policy")
        .filter(|(flavor, _, image)| flavor != image)
    {
        return against(both, "hw:pci_numa_affinity_policy");
    }
    Ok(())
}

fn cells(needs: &Needs, wants: &Resources) -> Result<Vec<GuestCell>, DemandError> {
    const NODES: &str = "hw:numa_nodes";
    forbidden(needs)?;
    let policy = word(
        needs,
        "hw:cpu_policy",
        "hw_cpu_policy",
        &[("shared", CpuPolicy::Shared), ("dedicated", CpuPolicy::Dedicated)],
    )?;
    let threads = word(
        needs,
        "hw:cpu_thread_policy",
        "hw_cpu_thread_policy",
        &[
            ("prefer", ThreadPolicy::Prefer),
            ("require", ThreadPolicy::Require),
            ("isolate", ThreadPolicy::Isolate),
        ],
    )?;
    let page = page_size(needs)?;
    let given = needs.extra_specs.get(NODES).map(String::as_str);
    let given = given.or_else(|| needs.image.get("hw_numa_nodes"));
    if let (Some(_), None | Some(CpuPolicy::Shared)) = (threads, policy) {
        let value = needs
            .extra_specs
            .get("hw:cpu_thread_policy")
            .map_or("", String::as_str);
        return Err(wrong(
            "hw:cpu_thread_policy",
            value,
            "it needs hw:cpu_policy = \"dedicated\"",
        ));
    }
    let count = match given {
        Some(text) => {
            let count: Option<u64> = text.trim().parse().ok();
            count
                .filter(|count| (1..=MAX_CELLS).contains(count))
                .ok_or_else(|| wrong(NODES, text, format!("it must be a number from 1 to {MAX_CELLS}")))?
        }
        // Pinning and page sizes need a cell to be counted in.
        None if page.is_some() || policy == Some(CpuPolicy::Dedicated) => 1,
        None => return Ok(Vec::new()),
    };
    let cell = |vcpus, numbers, memory_mib| GuestCell {
        vcpus,
        numbers,
        memory_mib,
        policy: policy.unwrap_or(CpuPolicy::Shared),
        threads: threads.unwrap_or(ThreadPolicy::Prefer),
        page,
    };
    let listed = |prefix: &str| -> Vec<(&str, &str)> {
        (0..count)
            .map_while(|at| needs.extra_specs.get_key_value(&format!("{prefix}.{at}")))
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect()
    };
    let (cpus, memory) = (listed("hw:numa_cpus"), listed("hw:numa_mem"));
    if cpus.is_empty() && memory.is_empty() {
        let text = given.unwrap_or("1");
        if !wants.vcpus.is_multiple_of(count) || !wants.ram_mib.is_multiple_of(count) {
            let problem = "vCPUs and memory must be divisible by it; or say hw:numa_cpus.N and hw:numa_mem.N";
            return Err(wrong(NODES, text, problem));
        }
        return Ok(vec![
            cell(wants.vcpus / count, Vec::new(), wants.ram_mib / count);
            count as usize
        ]);
    }
    if cpus.len() as u64 != count || memory.len() as u64 != count {
        let text = given.unwrap_or("1");
        return Err(wrong(
            NODES,
            text,
            "hw:numa_cpus.N and hw:numa_mem.N must be there for each cell",
        ));
    }
    by_hand(&cpus, &memory, wants, cell)
}

fn by_hand(
    cpus: &[(&str, &str)],
    memory: &[(&str, &str)],
    wants: &Resources,
    cell: impl Fn(u64, Vec<u32>, u64) -> GuestCell,
) -> Result<Vec<GuestCell>, DemandError> {
    let mut taken = vec![false; usize::try_from(wants.vcpus).unwrap_or(0)];
    let mut cells = Vec::new();
    let mut sum = 0_u64;
    for ((key, list), (memory_key, mib)) in cpus.iter().zip(memory) {
        let mut numbers = Vec::new();
        for range in list.split(',') {
            let bad = || {
                wrong(
                    key,
                    list,
                    "write processors of the server as 0-3,6, each once in all cells",
                )
            };
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let number = |text| natural(text).and_then(|number| usize::try_from(number).ok());
            let (from, to) = (number(from).ok_or_else(bad)?, number(to).ok_or_else(bad)?);
            if from > to || to >= taken.len() {
                return Err(bad());
            }
            for (number, taken) in taken.iter_mut().enumerate().take(to + 1).skip(from) {
                if std::mem::replace(taken, true) {
                    return Err(bad());
                }
                numbers.push(u32::try_from(number).map_err(|_| bad())?);
            }
        }
        let mib = natural(mib).ok_or_else(|| wrong(memory_key, mib, "write MiB"))?;
        sum = sum.saturating_add(mib);
        numbers.sort_unstable();
        cells.push(cell(numbers.len() as u64, numbers, mib));
    }
    if taken.iter().any(|taken| !taken) {
        return Err(wrong(
            cpus[0].0,
            cpus[0].1,
            "some of the server's processors are in no cell",
        ));
    }
    if sum != wants.ram_mib {
        return Err(wrong(
            memory[0].0,
            memory[0].1,
            format!("the cells must have {} MiB in all", wants.ram_mib),
        ));
    }
    Ok(cells)
}
