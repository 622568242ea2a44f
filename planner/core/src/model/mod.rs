//! What a fleet is, three times: as declared, as recorded in the store, and as its hosts report it.

mod desired;
mod imagined;
mod import;
mod inventory_file;
mod lifecycle;
mod observed;
mod recorded;
mod spec;

pub use desired::{
    DesiredFleet, DesiredResource, MetricsSettings, Needs, PolicySettings, SchedulerSettings, Strictness,
};
pub use imagined::imagined;
pub use import::{Import, ImportId, ImportIdError};
pub use inventory_file::{
    INVENTORY_FORMAT, InventoryFileError, InventoryMistake, InventoryMistakes, SavedInventory,
};
pub use lifecycle::{
    Ignored, Lifecycle, MoveEnd, MoveEndError, Moved, Removed, Repetition, Trigger, inside, shown_within,
};
pub use observed::{
    AttributeDrift, CachedImage, CpuFacts, DomainDisk, DomainMark, GuestKind, HostFacts, HostInventory,
    HostObservation, MigrationSide, ObservedDomain, OpenOperation, Reserved, SavedConfiguration,
    UnobservedReason,
};
pub use recorded::{
    ApplyMark, Author, ClaimedTask, DeposedServer, FrozenGuest, HostRecord, Meta, OperationRecord,
    OperationStatus, OutputRecord, Ownership, OwnershipState, PlainRecord, RecordedFleet, ServerRecord,
    TriedHost, VmState,
};
pub use spec::{
    AggregateSpec, Endpoint, EndpointError, FlavorSpec, GroupPolicy, GroupSpec, HostNetwork,
    HostNetworkError, HostSpec, HostState, ImageFormat, ImageSource, ImageSourceError, ImageSpec, ImageUse,
    PlacementHints, Power, ServerSpec, SourceLocation,
};

/// What every reported or recorded host says of itself, by name.
pub type ObservedFleet = std::collections::BTreeMap<drover_types::HostName, HostObservation>;
