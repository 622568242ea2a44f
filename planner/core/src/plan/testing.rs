//! A fleet as it is declared, recorded and reported, for tests of plans.

use super::ahead::{Moment, Newcomers, Standing};
use super::{Inputs, Plan, PlanOptions};
use crate::diff::{FleetDiff, diff};
use crate::model::{DesiredFleet, HostInventory, HostObservation, HostState, ObservedFleet, RecordedFleet};
use crate::testing::{host, lineage, observed, settled, with_server};
use drover_types::{Address, HostName, Sha256Digest};

/// What is declared, recorded and reported, together.
pub(crate) struct Fleet {
    pub(crate) desired: DesiredFleet,
    pub(crate) recorded: RecordedFleet,
    pub(crate) observed: ObservedFleet,
}

impl Fleet {
    /// One to which all of this was applied, with each server on its host.
    pub(crate) fn settled(desired: DesiredFleet, seats: &[(Address, HostName)]) -> Self {
        let (recorded, observed) = settled(&desired, seats);
        Self {
            desired,
            recorded,
            observed,
        }
    }

    /// One whose hosts answer and are empty, and of which nothing is recorded.
    pub(crate) fn unapplied(desired: DesiredFleet) -> Self {
        let names: Vec<&str> = desired.hosts.keys().map(HostName::as_str).collect();
        let observed = observed(&names);
        Self {
            desired,
            recorded: RecordedFleet::empty(1),
            observed,
        }
    }

    pub(crate) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            desired: &self.desired,
            recorded: &self.recorded,
            observed: &self.observed,
            lineage: lineage(),
            drover_version: "0.1.0",
            config_digest: Sha256Digest::of(b"files"),
        }
    }

    pub(crate) fn diff(&self) -> FleetDiff {
        self.diff_with(&PlanOptions::default())
    }

    pub(crate) fn diff_with(&self, options: &PlanOptions) -> FleetDiff {
        diff(&self.desired, &self.recorded, &self.observed, lineage(), options)
    }

    /// As it is now.
    pub(crate) fn standing(&self) -> Standing {
        Standing::new(&self.inputs(), &self.diff(), Moment::Now, Newcomers::LeftOut).expect("fair settings")
    }

    /// What a host reports.
    pub(crate) fn inventory(&mut self, name: &str) -> &mut HostInventory {
        match self.observed.get_mut(&host(name)) {
            Some(HostObservation::Reported(inventory)) => inventory,
            Some(HostObservation::Unobserved(_)) | None => panic!("{name} is there"),
        }
    }

    /// With servers of the usual flavor declared beside.
    pub(crate) fn with(mut self, servers: &[&str]) -> Self {
        for at in servers {
            self.desired = with_server(self.desired, at, None);
        }
        self
    }

    /// With a host that is to be emptied.
    pub(crate) fn drains(mut self, name: &str) -> Self {
        let declared = self.desired.hosts.get_mut(&host(name)).expect("declared");
        declared.spec.state = HostState::Drain;
        self
    }

    /// Its plan.
    pub(crate) fn plan(&self) -> Plan {
        let options = PlanOptions::default();
        super::tests::plan(&self.desired, &self.recorded, &self.observed, &options)
    }
}
