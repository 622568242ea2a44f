//! Validated names, sizes, digests and ids that both sides of the wire share.
//!
//! Everything that crosses the wire or reaches a path, a command line or an XML document is parsed into
//! one of these types first, so that the rest of the code never sees an unchecked string. This crate knows
//! neither tokio nor prost and has no effects.

mod address;
mod counter;
mod digest;
mod guest;
mod id;
mod identity;
mod metric;
mod name;
mod pci;
mod ratio;
mod size;

pub use address::{Address, AddressError, InstanceKey, Kind, ModuleStep};
pub use counter::{Epoch, FencingToken, Generation};
pub use digest::{DigestError, Sha256Digest};
pub use guest::{Architecture, HypervisorType, PowerState, UnknownWord, VirtType};
pub use id::{IncarnationId, Lineage, OperationId, RequestId, ServerId};
pub use identity::{Identity, IdentityError, Role};
pub use metric::{CpuMetric, MetricValue, MetricValueError};
pub use name::{FleetName, HostName, MetricName, NameError, ProjectName, ResourceName, VariableName};
pub use pci::{PciAddress, PciError, PciId, PciKind};
pub use ratio::{Ratio, RatioError};
pub use size::{ByteSize, SizeError};
