//! The diff as data: per resource what differs and why, still without hosts chosen.

use crate::model::{
    AggregateSpec, Author, FlavorSpec, FrozenGuest, GroupSpec, HostSpec, ImageSpec, ImportId, Power,
    ServerSpec, TriedHost,
};
use crate::plan::{Blocked, Drift, Finding, Impact, PlanOptions, Reason, UnobservedHost};
use drover_types::{Address, Epoch, Generation, HostName, IncarnationId, OperationId, ServerId};
use std::collections::{BTreeMap, BTreeSet};

/// A record that has no life of its own, and how it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordDiff<S> {
    /// As recorded.
    pub before: Option<S>,
    /// As declared; nothing where it goes.
    pub after: Option<S>,
    /// As recorded.
    pub generation: Option<Generation>,
    /// Why it changes.
    pub why: Reason,
}

/// Where a server is, as far as its hosts and the store say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The host.
    pub host: HostName,
    /// Held there.
    pub epoch: Epoch,
    /// Whether its guest runs.
    pub running: bool,
}

/// One thing to do with a server, in the order in which it must happen. Moves come before those after
/// [`ServerStep::TakeOver`].
#[derive(Debug, Clone, PartialEq)]
pub enum ServerStep {
    /// Create it on a host yet to be chosen.
    Create {
        /// Why.
        why: Reason,
    },
    /// Take a domain over that is there; the seat says where, its epoch is yet to be reserved.
    Import {
        /// Why.
        why: Reason,
    },
    /// Destroy it.
    Delete {
        /// Why.
        why: Reason,
    },
    /// Remove its record, and leave its guest as it is, no longer Drover's.
    Release {
        /// Why.
        why: Reason,
    },
    /// Remove its record: it is nowhere.
    Forget {
        /// Why.
        why: Reason,
    },
    /// Remove what is left of it and create it again with the same id.
    Rebuild {
        /// Why.
        why: Reason,
    },
    /// Create another server at its address, and destroy it once that is there.
    Replace {
        /// Why.
        why: Reason,
    },
    /// Write down where it is; the seat says it.
    Adopt {
        /// Why.
        why: Reason,
    },
    /// Grant it to the host on which it is; the seat says which, its epoch is yet to be reserved.
    TakeOver {
        /// Why.
        why: Reason,
        /// A host that still holds the epoch, to give it up first.
        leftover: Option<(HostName, Epoch)>,
    },
    /// Change it where it is.
    Update {
        /// Why.
        why: Reason,
        /// What the guest sees of it.
        impact: Impact,
    },
    /// Start or stop it.
    SetPower {
        /// As it is to be.
        power: Power,
        /// Why.
        why: Reason,
    },
    /// Write its attributes down.
    Record {
        /// Why.
        why: Reason,
    },
}

/// A server as declared, recorded and found.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerDiff {
    /// Its identity; of one that is to be created, derived.
    pub id: ServerId,
    /// How many servers its address had before it, plus one.
    pub incarnation: u64,
    /// As recorded; 0 for one that is not.
    pub generation: Generation,
    /// As recorded.
    pub recorded: Option<ServerSpec>,
    /// As declared.
    pub desired: Option<ServerSpec>,
    /// The domain that it was, or is still, before it is imported; nothing of one that Drover made.
    pub imported: Option<ImportId>,
    /// As recorded.
    pub frozen: Option<FrozenGuest>,
    /// Hosts that refused it.
    pub tried: Vec<TriedHost>,
    /// Where it is.
    pub seat: Option<Seat>,
    /// Where it is recorded.
    pub recorded_host: Option<HostName>,
    /// The highest epoch ever reserved for it.
    pub burnt: Epoch,
    /// Open operations that must be settled first.
    pub settle: Vec<OperationId>,
    /// What to do with it.
    pub steps: Vec<ServerStep>,
    /// Why it should go to another host.
    pub moves: Option<Reason>,
    /// Whatever is done to it, it stays on or off as it is found.
    pub keeps_power: bool,
    /// Nothing may be planned on it.
    pub held_back: bool,
}

/// An operation that an earlier command left open.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// What it works on.
    pub address: Address,
    /// The server.
    pub server: Option<ServerId>,
    /// The host that has it.
    pub host: HostName,
    /// What it does.
    pub verb: String,
    /// Whose it was.
    pub by: Option<Author>,
}

/// What differs, and what was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FleetDiff {
    /// What was asked.
    pub options: PlanOptions,
    /// Every server that is declared, recorded or adopted.
    pub servers: BTreeMap<Address, ServerDiff>,
    /// Records that get another address: those compared here have the new one already.
    pub renames: super::Renames,
    /// Servers whose place another has taken, by their ids: where each is, and that it goes.
    pub deposed: BTreeMap<ServerId, (Address, ServerDiff)>,
    /// Hosts whose record changes.
    pub hosts: BTreeMap<HostName, RecordDiff<(HostSpec, Option<IncarnationId>)>>,
    /// Flavors whose record changes.
    pub flavors: BTreeMap<Address, RecordDiff<FlavorSpec>>,
    /// Images whose record changes.
    pub images: BTreeMap<Address, RecordDiff<ImageSpec>>,
    /// Groups whose record changes.
    pub groups: BTreeMap<Address, RecordDiff<GroupSpec>>,
    /// Aggregates whose record changes.
    pub aggregates: BTreeMap<Address, RecordDiff<AggregateSpec>>,
    /// Open operations to be settled.
    pub settle: BTreeMap<OperationId, Settlement>,
    /// What is not as recorded.
    pub drift: Vec<Drift>,
    /// What cannot happen, whatever the placement.
    pub blocked: Vec<Blocked>,
    /// Hosts that did not answer.
    pub unobserved: Vec<UnobservedHost>,
    /// What the operator must know.
    pub findings: Vec<Finding>,
}

impl FleetDiff {
    /// The addresses at which another server takes the place of the present one.
    #[must_use]
    pub fn succeeded(&self) -> BTreeSet<Address> {
        let succeeded = self.servers.iter().filter(|(_, server)| {
            server
                .steps
                .iter()
                .any(|step| matches!(step, ServerStep::Replace { .. }))
        });
        succeeded.map(|(address, _)| address.clone()).collect()
    }
}
