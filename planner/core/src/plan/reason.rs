//! Why something is planned, and what it costs the guest: closed enums, so that text and programs agree.

use crate::model::{Author, GroupPolicy, ImportId};
use drover_types::{Address, HostName, PowerState};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why an action is planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Reason {
    /// Declared and not recorded.
    Declared,
    /// Recorded by an earlier apply, which could not create it anywhere.
    NotCreatedYet,
    /// Recorded and no longer declared.
    NotDeclared,
    /// Its block has a `count` that no longer reaches it.
    CountIndexOutOfRange {
        /// Its index.
        index: u64,
    },
    /// Its block has a `for_each` that no longer has its key.
    EachKeyGone {
        /// Its key.
        key: String,
    },
    /// Its block makes its instances in another way now: `count`, `for_each`, or a single one.
    WrongRepetition,
    /// No block of its module is declared any more.
    ModuleGone,
    /// `drover destroy` was asked for.
    DestroyRequested,
    /// `--replace` was asked for.
    ReplaceRequested,
    /// Something that its lifecycle block names changes.
    ReplaceTriggered {
        /// What.
        by: Address,
    },
    /// Another server has taken its place.
    Replaced,
    /// A `removed` block says that it is not to be destroyed.
    Forgotten,
    /// A `moved` block, or a block that got or lost `count`, gives it another address.
    Renamed {
        /// Its address before.
        from: Address,
    },
    /// Its domain carries the address that it had before.
    Moved {
        /// That address.
        from: Address,
    },
    /// These declared attributes have other values than recorded.
    AttributesChanged {
        /// Their names.
        attributes: Vec<String>,
    },
    /// The image's content is another one.
    ImageChanged,
    /// The flavor's size is another one.
    SizeChanged,
    /// Its flavor or image asks for other NUMA cells than it has.
    CellsChanged,
    /// Its flavor asks for other PCI devices than it has.
    DevicesChanged,
    /// Its declared power is another one.
    PowerChanged,
    /// The domain is in another power state than recorded.
    PowerDrift {
        /// As found.
        found: PowerState,
    },
    /// The host that holds it no longer has its domain.
    DomainGone {
        /// The host.
        host: HostName,
    },
    /// Somebody moved it without Drover.
    MovedOutside {
        /// Where it was recorded.
        from: HostName,
        /// Where it runs.
        to: HostName,
    },
    /// Its domain was altered without Drover.
    AttributeDrift {
        /// The altered attributes.
        attributes: Vec<String>,
    },
    /// A domain with this fleet's mark that the store does not know.
    OrphanFound {
        /// Where it is.
        host: HostName,
    },
    /// Its host is to be emptied.
    HostDrained {
        /// The host.
        host: HostName,
    },
    /// Its host is no longer declared.
    HostRemoved {
        /// The host.
        host: HostName,
    },
    /// Its host is in another zone than it must be in.
    ZoneBroken {
        /// The host.
        host: HostName,
        /// The zone asked for; nothing where it is sensitive.
        zone: Option<String>,
    },
    /// Its group's policy does not hold where it is.
    GroupBroken {
        /// The group.
        group: Address,
        /// Its policy.
        policy: GroupPolicy,
        /// The member it conflicts with.
        with: Address,
    },
    /// Its new size does not fit on its host.
    NoRoomHere {
        /// The host.
        host: HostName,
    },
    /// Another server needs its room, or its place in a group.
    MakesRoom {
        /// Its host.
        host: HostName,
        /// The server that could not move otherwise.
        other: Address,
    },
    /// Hosts are to be evened out, and its host is fuller.
    Balances,
    /// It is to be imported.
    ImportAsked {
        /// The domain.
        id: ImportId,
    },
    /// `drover server migrate` asked for it.
    Requested,
    /// A server that comes to this host needs it.
    ImageNeeded,
    /// No server on this host is made from it any more.
    ImageUnused,
    /// An earlier command left the operation open.
    OperationOpen {
        /// What it was: `create`, `migrate`, …
        verb: String,
        /// Whose.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Author>,
    },
    /// The host holds a newer epoch than recorded: the hand-over went on without a command.
    EpochAdvanced,
    /// The host was reached for the first time, or its agent's log is recorded for the first time.
    HostReached,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declared => f.write_str("declared and not there yet"),
            Self::NotCreatedYet => f.write_str("an earlier apply could not create it"),
            Self::NotDeclared => f.write_str("it is no longer declared"),
            Self::CountIndexOutOfRange { index } => write!(f, "index {index} is out of range for count"),
            Self::EachKeyGone { key } => write!(f, "{key:?} is not among the keys of for_each"),
            Self::WrongRepetition => f.write_str("its block makes its instances in another way now"),
            Self::ModuleGone => f.write_str("its module is no longer declared"),
            Self::ReplaceRequested => f.write_str("replace was asked for"),
            Self::ReplaceTriggered { by } => write!(f, "{by} changes, which replaces it"),
            Self::Replaced => f.write_str("its replacement is there"),
            Self::Forgotten => f.write_str("a removed block says that it is not to be destroyed"),
            Self::Renamed { from } => write!(f, "it was {from} before"),
            Self::Moved { from } => write!(f, "it was {from} before"),
            Self::DestroyRequested => f.write_str("destroy was asked for"),
            Self::AttributesChanged { attributes } if attributes.is_empty() => {
                f.write_str("what is hidden of it changed")
            }
            Self::AttributesChanged { attributes } => write!(f, "{} changed", attributes.join(", ")),
            Self::ImageChanged => f.write_str("its image changed"),
            Self::SizeChanged => f.write_str("its size changed"),
            Self::CellsChanged => f.write_str("its NUMA cells changed"),
            Self::DevicesChanged => f.write_str("its PCI devices changed"),
            Self::PowerChanged => f.write_str("its declared power changed"),
            Self::PowerDrift { found } => write!(f, "found {found}"),
            Self::DomainGone { host } => write!(f, "its domain is gone from {host}"),
            Self::MovedOutside { from, to } => write!(f, "moved from {from} to {to} outside Drover"),
            Self::AttributeDrift { attributes } => {
                write!(f, "{} altered outside Drover", attributes.join(", "))
            }
            Self::OrphanFound { host } => write!(f, "found on {host}, not recorded"),
            Self::HostDrained { host } => write!(f, "{host} is being drained"),
            Self::HostRemoved { host } => write!(f, "{host} is no longer declared"),
            Self::ZoneBroken {
                host,
                zone: Some(zone),
            } => write!(f, "{host} is not in zone {zone}"),
            Self::ZoneBroken { host, zone: None } => write!(f, "{host} is not in the zone it must be in"),
            Self::GroupBroken { group, policy, with } => {
                write!(f, "{group} ({}) is broken with {with}", policy.as_str())
            }
            Self::NoRoomHere { host } => write!(f, "its new size does not fit on {host}"),
            Self::MakesRoom { host, other } => write!(f, "{other} needs its room on {host}"),
            Self::Balances => f.write_str("it evens the hosts out"),
            Self::ImportAsked { id } => write!(f, "{id} is to be imported"),
            Self::Requested => f.write_str("migration was asked for"),
            Self::ImageNeeded => f.write_str("a server placed here needs it"),
            Self::ImageUnused => f.write_str("no server here needs it any more"),
            Self::OperationOpen { verb, by: Some(by) } => write!(f, "its {verb} was left open: {by}"),
            Self::OperationOpen { verb, by: None } => write!(f, "an earlier command left its {verb} open"),
            Self::EpochAdvanced => f.write_str("its host holds a newer epoch than recorded"),
            Self::HostReached => f.write_str("its agent was reached"),
        }
    }
}

/// What an action does to the guest, from harmless to fatal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// No guest is touched.
    None,
    /// The guest does not notice.
    Live,
    /// The guest moves while it runs, with a short stall.
    Migrate,
    /// The guest stands still for a while.
    Pause,
    /// The guest restarts, or is started or stopped.
    Reboot,
    /// The root disk is replaced: what is on it is lost.
    Rebuild,
    /// The server is destroyed and another takes its place.
    Replace,
    /// The server and its disk are destroyed.
    Destroy,
}

impl Impact {
    /// The word in plans.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Live => "live",
            Self::Migrate => "migrate",
            Self::Pause => "pause",
            Self::Reboot => "reboot",
            Self::Rebuild => "rebuild",
            Self::Replace => "replace",
            Self::Destroy => "destroy",
        }
    }
}
