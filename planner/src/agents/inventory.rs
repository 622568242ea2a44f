//! Reads an inventory off the wire: every field checked, the first bad one named.

use drover_core::model::{
    AttributeDrift, CachedImage, CpuFacts, DomainDisk, DomainMark, GuestKind, HostFacts, HostInventory,
    MigrationSide, ObservedDomain, OpenOperation, Reserved, SavedConfiguration,
};
use drover_numa::{CellUse, NumaCell, Pages, PciDevice};
use drover_proto::field::{FieldError, parse, parse_optional, required};
use drover_proto::v1;
use drover_types::{
    Epoch, FencingToken, Generation, HostName, MetricName, MetricValue, PciKind, UnknownWord,
};

/// Why an inventory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum InventoryError {
    /// A field holds no valid value.
    #[error("its inventory cannot be read")]
    Field(#[source] FieldError),
    /// The host names itself otherwise than its certificate.
    #[error("its inventory is of host {0}")]
    OtherHost(HostName),
    /// Agent and planner are more than one minor version apart.
    #[error("its agent is version {agent}, this is {planner}; they may be one minor version apart")]
    Version {
        /// The agent's.
        agent: String,
        /// Ours.
        planner: &'static str,
    },
}

impl From<FieldError> for InventoryError {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

/// Turns what the agent of `host` sent into the model.
pub(super) fn read(host: &HostName, wire: v1::Inventory) -> Result<HostInventory, InventoryError> {
    let planner = env!("CARGO_PKG_VERSION");
    if !works_together(planner, &wire.agent_version) {
        return Err(InventoryError::Version {
            agent: wire.agent_version,
            planner,
        });
    }
    let name: HostName = parse("host", &wire.host)?;
    if name != *host {
        return Err(InventoryError::OtherHost(name));
    }
    let mut domains = std::collections::BTreeMap::new();
    for domain in wire.domains {
        let domain = read_domain(domain)?;
        domains.insert(domain.uuid, domain);
    }
    let mut held_without_domain = std::collections::BTreeMap::new();
    for held in &wire.held_without_domain {
        held_without_domain.insert(parse("server_id", &held.server_id)?, Epoch::new(held.epoch));
    }
    Ok(HostInventory {
        host: name,
        agent_version: wire.agent_version,
        capabilities: wire.capabilities,
        incarnation: parse("incarnation", &wire.incarnation)?,
        token: FencingToken::new(wire.fencing_token),
        facts: read_facts(required("facts", wire.facts)?)?,
        domains,
        held_without_domain,
        images: wire.images.iter().map(read_image).collect::<Result<_, _>>()?,
        operations: wire
            .operations
            .into_iter()
            .map(read_operation)
            .collect::<Result<_, _>>()?,
        metrics: wire
            .metrics
            .into_iter()
            .map(read_metric)
            .collect::<Result<_, _>>()?,
    })
}

fn read_metric((name, value): (String, f64)) -> Result<(MetricName, MetricValue), FieldError> {
    let name = parse("metrics", &name)?;
    let value = MetricValue::try_from(value).map_err(|source| FieldError {
        field: "metrics",
        source: Box::new(source),
    })?;
    Ok((name, value))
}

/// Whether two versions are of one major and at most one minor apart.
fn works_together(one: &str, other: &str) -> bool {
    let parts = |version: &str| {
        let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
            (Some(_) | None, _) => None,
        }
    };
    match (parts(one), parts(other)) {
        (Some((a, b)), Some((c, d))) => a == c && b.abs_diff(d) <= 1,
        (Some(_) | None, _) => false,
    }
}

fn read_facts(wire: v1::HostFacts) -> Result<HostFacts, FieldError> {
    let cpu = required("cpu", wire.cpu)?;
    Ok(HostFacts {
        hostname: wire.hostname,
        vcpus: wire.vcpus,
        ram_mib: wire.ram_mib,
        disk_mib: wire.disk_mib,
        disk_free_mib: wire.disk_free_mib,
        image_cache_mib: wire.image_cache_mib,
        reserved: Reserved {
            vcpus: wire.reserved_vcpus,
            ram_mib: wire.reserved_ram_mib,
            disk_mib: wire.reserved_disk_mib,
        },
        cpu: CpuFacts {
            arch: cpu.arch,
            model: cpu.model,
            vendor: cpu.vendor,
            features: cpu.features,
            topology: [cpu.sockets, cpu.cores, cpu.threads],
            usable_models: cpu.usable_models,
        },
        hypervisor_type: wire.hypervisor_type,
        hypervisor_version: wire.hypervisor_version,
        libvirt_version: wire.libvirt_version,
        virt_type: parse("virt_type", &wire.virt_type)?,
        supported_guests: wire
            .supported_guests
            .into_iter()
            .map(|guest| GuestKind {
                arch: guest.arch,
                hypervisor_type: guest.hypervisor_type,
                vm_mode: guest.vm_mode,
            })
            .collect(),
        machine_types: wire.machine_types,
        cells: wire.cells.into_iter().map(read_cell).collect(),
        pci_devices: (wire.pci_devices.iter())
            .map(read_device)
            .collect::<Result<_, _>>()?,
    })
}

fn read_device(wire: &v1::PciDevice) -> Result<PciDevice, FieldError> {
    Ok(PciDevice {
        address: parse("pci_devices.address", &wire.address)?,
        kind: PciKind {
            vendor_id: parse("pci_devices.vendor_id", &wire.vendor_id)?,
            product_id: parse("pci_devices.product_id", &wire.product_id)?,
        },
        numa_node: wire.numa_node,
    })
}

fn read_cell(wire: v1::NumaCell) -> NumaCell {
    NumaCell {
        id: wire.id,
        cpus: wire.shared_cpus.into_iter().collect(),
        dedicated_cpus: wire.dedicated_cpus.into_iter().collect(),
        siblings: wire
            .cores
            .into_iter()
            .map(|core| core.cpus.into_iter().collect())
            .collect(),
        memory_mib: wire.memory_mib,
        pages: wire
            .pages
            .into_iter()
            .map(|pages| Pages::unused(pages.size_kib, pages.count))
            .collect(),
        ..NumaCell::default()
    }
}

fn read_use(wire: v1::CellUse) -> CellUse {
    CellUse {
        cell: wire.cell,
        vcpus: wire.vcpus,
        pinned: wire.pinned.into_iter().collect(),
        memory_mib: wire.memory_mib,
        page_kib: (wire.page_kib != 0).then_some(wire.page_kib),
    }
}

fn read_domain(wire: v1::Domain) -> Result<ObservedDomain, FieldError> {
    let mark = wire
        .mark
        .map(|mark| {
            Ok::<_, FieldError>(DomainMark {
                fleet: parse("mark.fleet", &mark.fleet)?,
                project: parse("mark.project", &mark.project)?,
                id: parse("mark.server_id", &mark.server_id)?,
                address: parse("mark.address", &mark.address)?,
                epoch: Epoch::new(mark.epoch),
                generation: Generation::new(mark.generation),
            })
        })
        .transpose()?;
    let drift = wire
        .drift
        .into_iter()
        .map(|drift| {
            Ok(AttributeDrift {
                configuration: match drift.configuration.as_str() {
                    "live" => SavedConfiguration::Live,
                    "persistent" => SavedConfiguration::Persistent,
                    other => return Err(unknown_word("configuration", other, "live, persistent")),
                },
                attribute: drift.attribute,
                expected: drift.expected,
                found: drift.found,
                heals_live: drift.heals_live,
            })
        })
        .collect::<Result<_, _>>()?;
    let migration = wire
        .migration
        .map(|side| {
            let operation = parse("migration.operation_id", &side.operation_id)?;
            let peer = parse("migration.peer", &side.peer)?;
            match side.side.as_str() {
                "source" => Ok(MigrationSide::Source { operation, to: peer }),
                "destination" => Ok(MigrationSide::Destination {
                    operation,
                    from: peer,
                }),
                other => Err(unknown_word("migration.side", other, "source, destination")),
            }
        })
        .transpose()?;
    Ok(ObservedDomain {
        uuid: parse("uuid", &wire.uuid)?,
        name: wire.name,
        power_state: parse("power_state", &wire.power_state)?,
        reason: wire.reason,
        vcpus: wire.vcpus,
        ram_mib: wire.ram_mib,
        disk_mib: wire.disk_mib,
        persistent: wire.persistent,
        mark,
        held_epoch: (wire.held_epoch != 0).then(|| Epoch::new(wire.held_epoch)),
        drift,
        migration,
        disks: wire
            .disks
            .into_iter()
            .map(|disk| DomainDisk {
                target: disk.target,
                device: disk.device,
                source: disk.source,
                capacity_bytes: disk.capacity_bytes,
            })
            .collect(),
        arch: wire.arch,
        highest_epoch: (wire.highest_epoch != 0).then(|| Epoch::new(wire.highest_epoch)),
        cells: wire.cells.into_iter().map(read_use).collect(),
        pci_devices: (wire.pci_devices.iter())
            .map(|address| parse("pci_devices", address))
            .collect::<Result<_, _>>()?,
    })
}

fn unknown_word(field: &'static str, word: &str, allowed: &str) -> FieldError {
    let unknown = UnknownWord {
        word: word.to_owned(),
        what: "a known word",
        allowed: allowed.to_owned(),
    };
    FieldError {
        field,
        source: Box::new(unknown),
    }
}

fn read_image(wire: &v1::CachedImage) -> Result<CachedImage, FieldError> {
    Ok(CachedImage {
        checksum: parse("checksum", &wire.checksum)?,
        virtual_size: wire.virtual_size,
        disk_size: wire.disk_size,
        used_by: wire.used_by,
    })
}

fn read_operation(wire: v1::OpenOperation) -> Result<OpenOperation, FieldError> {
    Ok(OpenOperation {
        id: parse("operation_id", &wire.operation_id)?,
        server: parse_optional("server_id", &wire.server_id)?,
        kind: wire.kind,
        running: wire.running,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_one_minor_apart_work_together() {
        assert!(works_together("0.1.0", "0.2.7"));
        assert!(works_together("1.4.0", "1.3.0-rc1"));
        assert!(!works_together("0.1.0", "0.3.0"));
        assert!(!works_together("1.0.0", "2.0.0"));
        assert!(!works_together("1.0.0", "dev"));
    }

    #[test]
    fn an_inventory_of_another_host_is_refused() {
        let wire = v1::Inventory {
            host: "n2".into(),
            agent_version: env!("CARGO_PKG_VERSION").into(),
            ..v1::Inventory::default()
        };
        let error = read(&"n1".parse().expect("a name"), wire).expect_err("another host");
        assert_eq!(error.to_string(), "its inventory is of host n2");
    }

    #[test]
    fn metrics_that_are_no_numbers_or_have_odd_names_are_refused() {
        let read = |name: &str, value| read_metric((name.to_owned(), value));
        let (name, value) = read("cpu.percent", 12.5).expect("a metric");
        assert_eq!((name.as_str(), value.get()), ("cpu.percent", 12.5));
        for (name, value) in [
            ("cpu.percent", f64::NAN),
            ("cpu.percent", f64::NEG_INFINITY),
            ("cpu.percent", 1e300),
            ("", 1.0),
            ("cpu..percent", 1.0),
            ("cpu percent\n", 1.0),
        ] {
            let error = read(name, value).expect_err("refused");
            assert_eq!(error.field, "metrics", "{name:?} {value}");
        }
    }
}
