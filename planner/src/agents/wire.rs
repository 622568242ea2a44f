//! The executor's requests and results, to and from the wire.

use drover_core::executor::{
    AgentRequest, AgentResult, Deletion, DeviceOrder, FailureCode, ImageOrder, Progress, ServerOrder,
};
use drover_core::model::FrozenGuest;
use drover_numa::GuestCell;
use drover_proto::field::{FieldError, parse, required};
use drover_proto::v1;
use drover_types::Epoch;

pub(super) fn image(order: &ImageOrder) -> v1::Image {
    v1::Image {
        source: order.source.as_str().to_owned(),
        checksum: order.checksum.to_string(),
        format: order
            .format
            .map(|format| format.as_str().to_owned())
            .unwrap_or_default(),
        max_virtual_size: order.max_virtual_size,
    }
}

pub(super) fn server(order: &ServerOrder) -> v1::Server {
    v1::Server {
        server_id: order.id.to_string(),
        address: order.address.to_string(),
        name: order.name.clone(),
        generation: order.generation.get(),
        vcpus: order.vcpus,
        ram_mib: order.ram_mib,
        disk_bytes: order.disk_bytes,
        image: order.image.as_ref().map(image),
        power: order.power.as_str().to_owned(),
        frozen: order.frozen.as_ref().map(frozen),
        image_properties: order.image_properties.clone().into_iter().collect(),
        cells: order
            .numa
            .iter()
            .flat_map(|numa| &numa.cells)
            .map(guest_cell)
            .collect(),
        cpu_allocation_ratio: order
            .numa
            .as_ref()
            .map_or(0.0, |numa| numa.limits.cpu_ratio.get()),
        ram_allocation_ratio: order
            .numa
            .as_ref()
            .map_or(0.0, |numa| numa.limits.ram_ratio.get()),
        devices: order.devices.iter().map(devices).collect(),
    }
}

fn devices(order: &DeviceOrder) -> v1::DeviceRequest {
    let kinds = order.kinds.iter().map(|kind| v1::PciKind {
        vendor_id: kind.vendor_id.to_string(),
        product_id: kind.product_id.to_string(),
    });
    v1::DeviceRequest {
        alias: order.alias.clone(),
        count: order.count,
        kinds: kinds.collect(),
    }
}

fn guest_cell(cell: &GuestCell) -> v1::GuestCell {
    v1::GuestCell {
        cpus: cell.numbers.clone(),
        memory_mib: cell.memory_mib,
        cpu_policy: cell.policy.as_str().to_owned(),
        thread_policy: cell.threads.as_str().to_owned(),
        page_size: cell.page.map(|page| page.to_string()).unwrap_or_default(),
    }
}

fn frozen(guest: &FrozenGuest) -> v1::FrozenGuest {
    v1::FrozenGuest {
        machine: guest.machine.clone(),
        cpu_xml: guest.cpu_xml.clone(),
        hypervisor_type: guest.hypervisor_type.clone(),
        arch: guest.arch.clone(),
        base_digest: guest.base_digest.to_string(),
    }
}

pub(super) fn progress(wire: v1::OperationProgress) -> Progress {
    Progress {
        phase: wire.phase,
        done_bytes: wire.done_bytes,
        total_bytes: wire.total_bytes,
        remaining_bytes: wire.remaining_bytes,
        dirty_bytes_per_second: wire.dirty_bytes_per_second,
        elapsed_ms: wire.elapsed_ms,
    }
}

/// Reads a result; one without a body is that of a request that has nothing to say.
pub(super) fn result(wire: v1::OperationResult) -> Result<AgentResult, FieldError> {
    use v1::operation_result::Result as Wire;
    Ok(match wire.result {
        None => AgentResult::Done,
        // Of a removal: there is no base file left to name.
        Some(Wire::Image(image)) if image.virtual_size == 0 => AgentResult::Done,
        Some(Wire::Image(image)) => AgentResult::Image {
            virtual_size: image.virtual_size,
            cached: image.cached,
        },
        Some(Wire::Server(server)) => AgentResult::Server {
            epoch: Epoch::new(server.epoch),
            power_state: parse("server.power_state", &server.power_state)?,
            frozen: server.frozen.map(read_frozen).transpose()?,
        },
        Some(Wire::Prepared(_)) => AgentResult::Prepared,
        Some(Wire::Migration(migration)) => AgentResult::Migrated {
            epoch: Epoch::new(migration.epoch),
            downtime_ms: migration.downtime_ms,
            transferred_bytes: migration.transferred_bytes,
            elapsed_ms: migration.elapsed_ms,
        },
    })
}

fn read_frozen(wire: v1::FrozenGuest) -> Result<FrozenGuest, FieldError> {
    Ok(FrozenGuest {
        base_digest: parse("frozen.base_digest", &wire.base_digest)?,
        machine: wire.machine,
        cpu_xml: wire.cpu_xml,
        hypervisor_type: wire.hypervisor_type,
        arch: wire.arch,
    })
}

/// Reads a failure's code; one of a later agent that we do not know is the system's.
pub(super) fn failure_code(code: v1::FailureCode) -> FailureCode {
    match code {
        v1::FailureCode::NoRoom => FailureCode::NoRoom,
        v1::FailureCode::Checksum => FailureCode::Checksum,
        v1::FailureCode::ImageRefused => FailureCode::ImageRefused,
        v1::FailureCode::Fetch => FailureCode::Fetch,
        v1::FailureCode::Hypervisor => FailureCode::Hypervisor,
        v1::FailureCode::Conflict => FailureCode::Conflict,
        v1::FailureCode::NotHolder => FailureCode::NotHolder,
        v1::FailureCode::MigrationAborted => FailureCode::MigrationAborted,
        v1::FailureCode::Incompatible => FailureCode::Incompatible,
        v1::FailureCode::Withdrawn => FailureCode::Withdrawn,
        v1::FailureCode::GuestTimeout => FailureCode::GuestTimeout,
        v1::FailureCode::CutShort => FailureCode::CutShort,
        v1::FailureCode::System | v1::FailureCode::Unspecified => FailureCode::System,
    }
}

/// A request as the method that carries it, ready to be sent.
pub(super) enum WireRequest {
    EnsureImage(v1::EnsureImageRequest),
    DeleteImage(v1::DeleteImageRequest),
    CreateServer(v1::CreateServerRequest),
    AdoptServer(v1::AdoptServerRequest),
    UpdateServer(v1::UpdateServerRequest),
    SetPower(v1::SetPowerRequest),
    RebootServer(v1::RebootServerRequest),
    DeleteServer(v1::DeleteServerRequest),
    PrepareMigration(v1::PrepareMigrationRequest),
    MigrateServer(v1::MigrateServerRequest),
}

/// Adds the header and turns a request into its message.
pub(super) fn request(header: v1::OperationHeader, request: &AgentRequest) -> WireRequest {
    let header = Some(header);
    match request {
        AgentRequest::EnsureImage { image: order } => WireRequest::EnsureImage(v1::EnsureImageRequest {
            header,
            image: Some(image(order)),
        }),
        AgentRequest::DeleteImage { checksum } => WireRequest::DeleteImage(v1::DeleteImageRequest {
            header,
            checksum: checksum.to_string(),
        }),
        AgentRequest::CreateServer {
            server: order,
            epoch,
            adopt,
        } => WireRequest::CreateServer(v1::CreateServerRequest {
            header,
            server: Some(server(order)),
            epoch: epoch.get(),
            adopt: *adopt,
        }),
        AgentRequest::AdoptServer {
            id,
            address,
            generation,
            epoch,
            found,
        } => WireRequest::AdoptServer(v1::AdoptServerRequest {
            header,
            server_id: id.to_string(),
            address: address.to_string(),
            generation: generation.get(),
            epoch: epoch.get(),
            vcpus: found.vcpus,
            ram_mib: found.ram_mib,
            disk_mib: found.disk_mib,
        }),
        AgentRequest::UpdateServer {
            server: order,
            epoch,
            keep_running,
        } => WireRequest::UpdateServer(v1::UpdateServerRequest {
            header,
            server: Some(server(order)),
            epoch: epoch.get(),
            keep_running: *keep_running,
        }),
        AgentRequest::SetPower {
            id,
            epoch,
            power,
            generation,
            grace_ms,
        } => WireRequest::SetPower(v1::SetPowerRequest {
            header,
            server_id: id.to_string(),
            epoch: epoch.get(),
            power: power.as_str().to_owned(),
            generation: generation.get(),
            grace_ms: *grace_ms,
        }),
        AgentRequest::RebootServer {
            id,
            epoch,
            hard,
            grace_ms,
        } => WireRequest::RebootServer(v1::RebootServerRequest {
            header,
            server_id: id.to_string(),
            epoch: epoch.get(),
            hard: *hard,
            grace_ms: *grace_ms,
        }),
        AgentRequest::DeleteServer { id, epoch, what } => {
            WireRequest::DeleteServer(v1::DeleteServerRequest {
                header,
                server_id: id.to_string(),
                epoch: epoch.get(),
                leftover: *what == Deletion::Leftover,
                release: *what == Deletion::Marks,
            })
        }
        AgentRequest::PrepareMigration {
            server: order,
            epoch,
            source_host,
            source_address,
            cold,
        } => WireRequest::PrepareMigration(v1::PrepareMigrationRequest {
            header,
            server: Some(server(order)),
            epoch: epoch.get(),
            source_host: source_host.to_string(),
            source_address: source_address.to_string(),
            cold: *cold,
        }),
        AgentRequest::MigrateServer {
            id,
            epoch,
            new_epoch,
            destination_host,
            destination_address,
            cold,
            max_downtime_ms,
            bandwidth_mib_per_second,
            fallback_epoch,
        } => WireRequest::MigrateServer(v1::MigrateServerRequest {
            header,
            server_id: id.to_string(),
            epoch: epoch.get(),
            new_epoch: new_epoch.get(),
            destination_host: destination_host.to_string(),
            destination_address: destination_address.to_string(),
            cold: *cold,
            max_downtime_ms: *max_downtime_ms,
            bandwidth_mib_per_second: *bandwidth_mib_per_second,
            fallback_epoch: fallback_epoch.get(),
        }),
    }
}

/// The outcome of a finished operation.
pub(super) fn outcome(
    wire: v1::OperationFinished,
) -> Result<Result<AgentResult, v1::OperationFailure>, FieldError> {
    use v1::operation_finished::Outcome;
    match required("outcome", wire.outcome)? {
        Outcome::Succeeded(succeeded) => result(succeeded).map(Ok),
        Outcome::Failed(failed) => Ok(Err(failed)),
    }
}
