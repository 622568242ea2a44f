//! Choosing a host for every server, as Nova's FilterScheduler does.
//!
//! Every host passes through the configured filters ([`filters`]), the survivors are weighed ([`weighers`]), the
//! best wins and its resources are consumed before the next request is looked at. Ties go to the host that comes
//! first in the order given. The module has input types of its own, so that a scenario file ([`scenario`]) and the
//! fleet's model map onto the same engine; it knows neither HCL nor the store.

mod aggregates;
mod batch;
mod choose;
mod config;
mod devices;
mod eligibility;
mod explain;
mod fill;
pub mod filters;
mod index;
mod input;
mod matching;
mod members;
mod numbers;
mod record;
mod rooms;
pub mod scenario;
mod scheduler;
mod sides;
mod state;
mod text;
mod validate;
mod versions;
pub mod weighers;

pub(crate) use aggregates::flaw_of_metadata;
pub(crate) use batch::conflict_key;
pub use batch::{BatchOutcome, Conflict, Gain, GivenUp, Method, Remedy, Unplaced, alike};
pub use config::{Isolation, Metrics, Profile, SchedulerConfig, Weights};
pub use devices::{
    CellUse, CpuPolicy, Demand, DemandError, GuestCell, NumaCell, PageSize, Pages, PciDevice, PciPool,
    Seated, ThreadPolicy, Unfit,
};
pub(crate) use devices::{Devices, Taken, Terms};
pub use explain::{Explanation, HostVerdict, Refusal, WeigherColumn};
pub use fill::{Fill, Nearest, Refusers};
pub use filters::{Filter, Hides, Rejection};
pub use input::{
    Aggregate, Group, Host, Hypervisor, ImageProperties, Name, Needs, Network, Policy, Ratio, RatioError,
    Ratios, Request, Resident, Resources, Supported,
};
pub(crate) use matching::{flaw_of_requirement, is_compared};
pub use record::{BatchPart, DecisionRecord};
pub(crate) use rooms::HostDevices;
pub use rooms::{HostRoom, Promised};
pub use scheduler::{Scheduler, UnknownHost};
pub use text::paragraph;
pub(crate) use text::{NAMED, grouped, names};
pub use validate::{InputError, InputErrors};
pub(crate) use versions::flaw_of_versions;
pub use weighers::Weigher;
