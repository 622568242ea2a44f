//! The libvirt domain of a server: what we ask for, the XML that says so, and what has since become of it.
//!
//! [`render`] and [`read_back`] go over the same closed list, [`Attribute`]: everything that is rendered is
//! read back and compared, and nothing that libvirt adds of its own is. Defining and starting is the
//! daemon's; whether it may is `power`'s and `handover`'s.

mod attribute;
mod devices;
mod drift;
mod found;
mod metadata;
mod place;
mod read;
mod render;
mod spec;

pub use attribute::{Attribute, DiskPart, attributes};
pub use devices::{DeviceWish, GivenDevices, found_devices};
pub use drift::{AttributeDrift, Place, drift};
pub use found::{
    FoundDisk, comparable, found_attributes, found_console, found_disks, runs_otherwise, with_element,
    with_mark, without_mark,
};
pub use metadata::{DomainMetadata, MetadataError, NAMESPACE, read_metadata};
pub use place::{Before, CellPlace, GuestPlace, NoPlace, Parts, Taken, Wishes, found_in_cells};
pub use read::{ReadError, read_back};
pub(crate) use read::{child, children, parse, root, text_of};
pub use render::{render, render_marks, with_place};
pub use spec::{
    CpuFeature, DiskBus, DiskFormat, DiskSpec, DiskTarget, DomainName, DomainSpec, FeaturePolicy, FrozenCpu,
    HostPath, HostPathError, MachineType, OnCrash, Word, WordError,
};

#[cfg(test)]
mod tests;
