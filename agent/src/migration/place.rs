//! A guest's place at the destination, on its way to the source, which tells libvirt of it.

use drover_agent_core::domain::{CellPlace, GuestPlace};
use drover_numa::{CellUse, CpuSet, CpuSetError};
use drover_proto::field::{FieldError, parse_optional, required};
use drover_proto::v1;

/// Why what the destination says is no place of the guest.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("its answer cannot be read")]
    Field(#[source] FieldError),
    #[error("a set of processors cannot be read")]
    Cpus(#[source] CpuSetError),
    #[error("it has another number of cells or of processors in them")]
    OtherGuest,
}

/// As it goes over the wire.
pub(super) fn to_wire(place: &GuestPlace) -> v1::GuestPlace {
    v1::GuestPlace {
        cpuset: place.cpuset.as_ref().map(ToString::to_string).unwrap_or_default(),
        cells: place.cells.iter().map(cell_to_wire).collect(),
    }
}

fn cell_to_wire(cell: &CellPlace) -> v1::CellPlace {
    v1::CellPlace {
        taken: Some(crate::inventory::use_to_wire(&cell.taken)),
        cpus: cell.cpus.iter().map(ToString::to_string).collect(),
        huge_page_kib: cell.huge_page_kib.unwrap_or(0),
    }
}

/// The place there of the guest that is here at `own`.
pub(super) fn read(own: &GuestPlace, wire: v1::GuestPlace) -> Result<GuestPlace, PlaceError> {
    let cpuset = parse_optional("place.cpuset", &wire.cpuset).map_err(PlaceError::Field)?;
    if wire.cells.len() != own.cells.len() {
        return Err(PlaceError::OtherGuest);
    }
    let cells = own.cells.iter().zip(wire.cells).map(|(own, there)| {
        let cpus: Vec<CpuSet> = there
            .cpus
            .iter()
            .map(|cpus| cpus.parse())
            .collect::<Result<_, _>>()
            .map_err(PlaceError::Cpus)?;
        if cpus.len() != own.cpus.len() {
            return Err(PlaceError::OtherGuest);
        }
        let taken = required("place.cells.taken", there.taken).map_err(PlaceError::Field)?;
        Ok(CellPlace {
            guest: own.guest.clone(),
            taken: CellUse {
                cell: taken.cell,
                vcpus: taken.vcpus,
                pinned: taken.pinned.into_iter().collect(),
                memory_mib: taken.memory_mib,
                page_kib: (taken.page_kib != 0).then_some(taken.page_kib),
            },
            cpus,
            huge_page_kib: (there.huge_page_kib != 0).then_some(there.huge_page_kib),
        })
    });
    Ok(GuestPlace {
        cpuset,
        cells: cells.collect::<Result<_, _>>()?,
        // A guest with devices does not move while it runs.
        devices: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_numa::{CpuPolicy, GuestCell, ThreadPolicy};

    fn place(cpu: &str) -> GuestPlace {
        GuestPlace {
            cpuset: None,
            cells: vec![CellPlace {
                guest: GuestCell {
                    vcpus: 1,
                    numbers: vec![0],
                    memory_mib: 128,
                    policy: CpuPolicy::Dedicated,
                    threads: ThreadPolicy::Prefer,
                    page: None,
                },
                taken: CellUse {
                    cell: 1,
                    memory_mib: 128,
                    page_kib: Some(2048),
                    ..CellUse::default()
                },
                cpus: vec![cpu.parse().expect("a set")],
                huge_page_kib: Some(2048),
            }],
            ..GuestPlace::default()
        }
    }

    #[test]
    fn a_place_crosses_the_wire_and_another_guests_is_refused() {
        let there = to_wire(&place("5"));
        assert_eq!(read(&place("1"), there.clone()).expect("it reads"), place("5"));
        let none = read(&place("1"), v1::GuestPlace::default());
        assert!(matches!(none, Err(PlaceError::OtherGuest)));
        let mut bad = there;
        bad.cells[0].cpus = vec!["x".to_owned()];
        assert!(matches!(read(&place("1"), bad), Err(PlaceError::Cpus(_))));
    }
}
