//! The fleet at one moment, every server on its host, as the scheduler counts it.

use super::super::build::Inputs;
use super::super::demand::{AsIt, demand};
use super::super::place::Placements;
use super::super::settings::settings_finding;
use super::super::types::{Finding, Severity};
use super::super::world::{Parts, larger, name_of, parts, request, resources, where_counted};
use crate::diff::{FleetDiff, ServerDiff, ServerStep};
use crate::placement::{Name, Request, Scheduler};
use drover_types::{Address, HostName};
use std::collections::BTreeMap;

/// Which moment.
#[derive(Debug, Clone, Copy)]
pub enum Moment<'a> {
    /// As hosts and records have it.
    Now,
    /// Once a plan with these placements was carried out.
    After(&'a Placements),
}

/// What becomes of filters that speak of newcomers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newcomers {
    /// They are asked.
    Asked,
    /// They are left out.
    LeftOut,
}

/// A server on its host.
#[derive(Debug, Clone)]
pub(in crate::plan) struct Seated {
    pub(in crate::plan) host: HostName,
    pub(in crate::plan) request: Request,
}

/// Every host with what is left of it, and every server where it is.
#[derive(Debug, Clone)]
pub struct Standing {
    pub(in crate::plan) scheduler: Scheduler,
    pub(in crate::plan) servers: BTreeMap<Address, Seated>,
    /// Every host by the scheduler's name for it.
    pub(super) hosts: BTreeMap<Name, HostName>,
}

impl Standing {
    /// The fleet at that moment.
    ///
    /// # Errors
    /// What is wrong with the scheduler's settings.
    pub fn new(
        inputs: &Inputs<'_>,
        diff: &FleetDiff,
        moment: Moment<'_>,
        newcomers: Newcomers,
    ) -> Result<Self, Vec<Finding>> {
        let (parts, mut findings) = parts(inputs, diff);
        findings.retain(|finding| finding.severity == Severity::Error);
        if !findings.is_empty() {
            return Err(findings);
        }
        let Parts {
            mut config,
            hosts,
            aggregates,
            groups,
        } = parts;
        match newcomers {
            Newcomers::Asked => {}
            Newcomers::LeftOut => config.filters.retain(|filter| !filter.is_for_newcomers()),
        }
        let mut scheduler = Scheduler::new(config, hosts, &aggregates, groups)
            .map_err(|error| vec![settings_finding(error.to_string())])?;
        let hosts = inputs
            .desired
            .hosts
            .keys()
            .chain(inputs.recorded.hosts.keys())
            .map(|host| (name_of(host), host.clone()))
            .collect();
        let mut servers = BTreeMap::new();
        for (address, server) in &diff.servers {
            let Some(seated) = seated(inputs, diff, address, server, moment) else {
                continue;
            };
            // A server on a host that is neither declared nor recorded takes no room anywhere.
            if scheduler.force(&name_of(&seated.host), &seated.request).is_ok() {
                servers.insert(address.clone(), seated);
            }
        }
        Ok(Self {
            scheduler,
            servers,
            hosts,
        })
    }

    /// The servers on each host that has any.
    pub(super) fn by_host(&self) -> BTreeMap<HostName, Vec<Address>> {
        let mut by_host: BTreeMap<HostName, Vec<Address>> = BTreeMap::new();
        for (address, seated) in &self.servers {
            by_host
                .entry(seated.host.clone())
                .or_default()
                .push(address.clone());
        }
        by_host
    }
}

fn seated(
    inputs: &Inputs<'_>,
    diff: &FleetDiff,
    address: &Address,
    server: &ServerDiff,
    moment: Moment<'_>,
) -> Option<Seated> {
    let spec = server.desired.as_ref().or(server.recorded.as_ref())?;
    let present = server.recorded.as_ref().unwrap_or(spec);
    let (host, size, (cells, as_it)) = match moment {
        Moment::Now => (where_counted(server)?, resources(present), (present, AsIt::Is)),
        Moment::After(placements) => {
            let host = placements.hosts.get(address)?;
            let updates = |step: &ServerStep| matches!(step, ServerStep::Update { .. });
            let resized = server.steps.iter().any(updates);
            let keeps = server.held_back || placements.stuck.contains(address);
            let size = if keeps {
                resources(present)
            } else if resized {
                // A disk never gets smaller.
                let (now, then) = (resources(present), resources(spec));
                crate::placement::Resources {
                    disk_mib: larger(now, then).disk_mib,
                    ..then
                }
            } else {
                resources(spec)
            };
            let cells = if keeps {
                (present, AsIt::Is)
            } else {
                (spec, AsIt::Shall)
            };
            (host, size, cells)
        }
    };
    let mut request = request(inputs, address, server, spec, size, diff.options.retry_all);
    request.demand = demand(inputs.desired, inputs.recorded, cells, as_it);
    Some(Seated {
        host: host.clone(),
        request,
    })
}
