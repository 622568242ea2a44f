//! One host's agent as a model: its operation log under the agent's own rules, and its domains and image cache
//! as maps.

use super::super::request::{AgentRequest, AgentResult, Deletion, FailureCode, ServerOrder};
use crate::model::{
    AttributeDrift, CachedImage, DomainDisk, DomainMark, FrozenGuest, HostInventory, ObservedDomain,
    OpenOperation, Power, SavedConfiguration,
};
use crate::testing::{desired, inventory};
use drover_agent_core::handover::{DestinationLog, HandoverMode, HandoverSide};
use drover_agent_core::oplog::{
    EpochClaim, FORMAT, Incoming, OperationKind, OperationState, Outcome as LoggedOutcome, Record, Refusal,
    State as Log, UnixMillis, Verdict, Withdrawal, admit, withdraw,
};
use drover_agent_core::power::WantedPower;
use drover_types::{
    Epoch, FencingToken, Generation, HostName, IncarnationId, OperationId, PowerState, RequestId, ServerId,
    Sha256Digest,
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub(super) type Outcome = Result<AgentResult, (FailureCode, String)>;

#[derive(Debug, Clone)]
pub(super) struct FakeDomain {
    pub(super) order: ServerOrder,
    pub(super) running: bool,
    pub(super) epoch: Epoch,
    /// How often the guest was restarted.
    pub(super) restarts: u32,
    /// What somebody changed with virsh.
    pub(super) drift: Vec<AttributeDrift>,
}

impl FakeDomain {
    /// Whether its running guest cannot become as ordered.
    fn must_restart(&self, order: &ServerOrder) -> bool {
        let drifted = |one: &AttributeDrift| match one.configuration {
            SavedConfiguration::Live => !one.heals_live,
            SavedConfiguration::Persistent => false,
        };
        let resized = (self.order.vcpus, self.order.ram_mib) != (order.vcpus, order.ram_mib);
        self.running && (resized || self.drift.iter().any(drifted))
    }
}

fn stands_on(domain: &FakeDomain, checksum: &Sha256Digest) -> bool {
    domain
        .order
        .image
        .as_ref()
        .is_some_and(|image| image.checksum == *checksum)
}

#[derive(Debug, Clone)]
pub(super) struct FakeAgent {
    pub(super) name: HostName,
    log: Log,
    /// What the operations in the log ask for, and how they ended: the log keeps both as bytes.
    requests: BTreeMap<OperationId, AgentRequest>,
    outcomes: BTreeMap<OperationId, Outcome>,
    pub(super) domains: BTreeMap<ServerId, FakeDomain>,
    /// Domains that somebody else made.
    pub(super) foreign: BTreeMap<ServerId, FakeDomain>,
    /// Guests that are nobody's any more, and run on.
    pub(super) released: BTreeMap<ServerId, FakeDomain>,
    images: BTreeSet<Sha256Digest>,
    incoming: BTreeMap<OperationId, ServerOrder>,
    /// Its QEMU starts nothing.
    pub(super) broken: bool,
}

pub(super) enum Admitted {
    /// New, or running already: its end comes later.
    Running,
    /// It ended before.
    Ended(Outcome),
    /// Refused, in no log.
    Refused(String),
}

/// What an agent says of an operation that it is asked about.
pub(super) enum Known {
    Unknown,
    Running,
    Ended(Outcome),
    Withdrawn,
}

impl FakeAgent {
    pub(super) fn new(name: &HostName) -> Self {
        let mut agent = Self {
            name: name.clone(),
            log: Log::default(),
            requests: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            domains: BTreeMap::new(),
            foreign: BTreeMap::new(),
            released: BTreeMap::new(),
            images: BTreeSet::new(),
            incoming: BTreeMap::new(),
            broken: false,
        };
        agent.append([Record::Opened {
            format: FORMAT,
            incarnation: IncarnationId::from_uuid(Uuid::from_u128(1)),
            host: name.clone(),
        }]);
        agent
    }

    /// Adds records to the log, which refuses what does not follow from it.
    fn append(&mut self, records: impl IntoIterator<Item = Record>) {
        for record in records {
            self.log
                .apply(&record)
                .unwrap_or_else(|error| panic!("{} logs {record:?}: {error}", self.name));
        }
    }

    /// The servers this host may run, each with its epoch.
    pub(super) fn held(&self) -> BTreeMap<ServerId, Epoch> {
        let held = self.log.servers().filter_map(|(id, log)| Some((id, log.held?)));
        held.collect()
    }

    pub(super) fn admit(&mut self, token: FencingToken, id: OperationId, request: &AgentRequest) -> Admitted {
        let incoming = Incoming {
            operation: id,
            kind: kind(request),
            digest: Sha256Digest::of(format!("{request:?}").as_bytes()),
            request: serde_json::Value::Null,
            token,
            incarnation: None,
            claim: self.claim(request),
            request_id: RequestId::from_untrusted("simulation"),
            at: UnixMillis(0),
        };
        let admission = admit(&self.log, &incoming);
        self.append(admission.append);
        match admission.verdict {
            Verdict::Start => {
                self.requests.insert(id, request.clone());
                Admitted::Running
            }
            Verdict::Attach => Admitted::Running,
            Verdict::Replay(_) => Admitted::Ended(self.outcomes[&id].clone()),
            Verdict::Refuse(Refusal::OtherRequestSameId(_)) => {
                panic!("{id} is sent to {} with two requests", self.name)
            }
            Verdict::Refuse(refusal) => Admitted::Refused(refusal.to_string()),
        }
    }

    /// By what right a request works, as the agent's services have it.
    fn claim(&self, request: &AgentRequest) -> EpochClaim {
        let known = |server: ServerId| self.log.generation(server).unwrap_or_default();
        let held = |server: ServerId, epoch: Epoch, generation: Generation| EpochClaim::Held {
            server,
            epoch,
            generation,
        };
        match request {
            AgentRequest::EnsureImage { .. } | AgentRequest::DeleteImage { .. } => EpochClaim::Host,
            AgentRequest::CreateServer { server, epoch, .. } => EpochClaim::Grant {
                server: server.id,
                epoch: *epoch,
                generation: server.generation,
            },
            AgentRequest::AdoptServer {
                id,
                epoch,
                generation,
                ..
            } => EpochClaim::Grant {
                server: *id,
                epoch: *epoch,
                generation: *generation,
            },
            AgentRequest::UpdateServer { server, epoch, .. } => held(server.id, *epoch, server.generation),
            AgentRequest::SetPower {
                id,
                epoch,
                generation,
                ..
            } => held(*id, *epoch, *generation),
            AgentRequest::RebootServer { id, epoch, .. } | AgentRequest::MigrateServer { id, epoch, .. } => {
                held(*id, *epoch, known(*id))
            }
            AgentRequest::DeleteServer { id, epoch, what } => match self.log.held_epoch(*id) {
                Some(here) if *what != Deletion::Leftover || here == *epoch => held(*id, *epoch, known(*id)),
                Some(_) | None => EpochClaim::Remains {
                    server: *id,
                    generation: known(*id),
                },
            },
            AgentRequest::PrepareMigration { server, epoch, .. } => EpochClaim::Takeover {
                server: server.id,
                epoch: *epoch,
                generation: server.generation,
            },
        }
    }

    pub(super) fn withdraw(&mut self, token: FencingToken, id: OperationId) -> Option<bool> {
        match withdraw(&self.log, id, token) {
            Withdrawal::Withdrawn { append } => {
                self.append(append);
                Some(true)
            }
            Withdrawal::Running(_) | Withdrawal::Finished(_) => Some(false),
            Withdrawal::Refused(_) => None,
        }
    }

    pub(super) fn acknowledge(&mut self, operations: &[OperationId]) {
        let ended = operations
            .iter()
            .copied()
            .filter(|id| match self.log.operation(*id) {
                Some(OperationState::Finished { .. } | OperationState::Withdrawn { .. }) => true,
                Some(OperationState::Running(_)) | None => false,
            });
        let operations: Vec<OperationId> = ended.collect();
        if !operations.is_empty() {
            self.append([Record::Acknowledged { operations }]);
        }
    }

    pub(super) fn known(&self, id: OperationId) -> Known {
        match self.log.operation(id) {
            None => Known::Unknown,
            Some(OperationState::Running(_)) => Known::Running,
            Some(OperationState::Finished { .. }) => Known::Ended(self.outcomes[&id].clone()),
            Some(OperationState::Withdrawn { .. }) => Known::Withdrawn,
        }
    }

    /// What runs here.
    pub(super) fn running(&self) -> Vec<OperationId> {
        self.log.running().map(|began| began.operation).collect()
    }

    pub(super) fn request(&self, id: OperationId) -> AgentRequest {
        self.requests[&id].clone()
    }

    pub(super) fn finish(&mut self, id: OperationId, outcome: &Outcome) {
        let logged = match outcome {
            Ok(_) => LoggedOutcome::Succeeded(serde_json::Value::Null),
            Err((_, message)) => LoggedOutcome::Failed {
                code: drover_agent_core::oplog::FailureCode::Hypervisor,
                message: message.clone(),
                hint: String::new(),
            },
        };
        self.outcomes.insert(id, outcome.clone());
        self.append([Record::Finished {
            operation: id,
            outcome: logged,
        }]);
    }

    /// Carries out everything but a migration, which concerns two hosts.
    pub(super) fn work(&mut self, id: OperationId, request: &AgentRequest) -> Outcome {
        let fail = |code, text: &str| Err((code, text.to_owned()));
        match request {
            AgentRequest::EnsureImage { image } => {
                self.images.insert(image.checksum);
                Ok(AgentResult::Image {
                    virtual_size: 1 << 20,
                    cached: false,
                })
            }
            AgentRequest::DeleteImage { checksum } => {
                if self.domains.values().any(|domain| stands_on(domain, checksum)) {
                    return fail(FailureCode::Conflict, "an overlay stands on it");
                }
                self.images.remove(checksum);
                Ok(AgentResult::Done)
            }
            AgentRequest::CreateServer { server, epoch, adopt } => {
                let refused = if self.broken {
                    Some((FailureCode::Hypervisor, "QEMU does not start"))
                } else if *adopt != self.domains.contains_key(&server.id) {
                    Some((FailureCode::Conflict, "a domain is there, or none is"))
                } else {
                    None
                };
                if let Some((code, text)) = refused {
                    self.append([Record::Gone { server: server.id }]);
                    return fail(code, text);
                }
                let running = self
                    .domains
                    .get(&server.id)
                    .map_or(server.power == Power::On, |domain| domain.running);
                self.images
                    .extend(server.image.as_ref().map(|image| image.checksum));
                self.domains.insert(
                    server.id,
                    FakeDomain {
                        order: (**server).clone(),
                        running,
                        epoch: *epoch,
                        restarts: 0,
                        drift: Vec::new(),
                    },
                );
                Ok(result(*epoch, running))
            }
            AgentRequest::AdoptServer {
                id,
                address,
                generation,
                epoch,
                found,
            } => {
                let same = |domain: &FakeDomain| domain.order.vcpus == found.vcpus && !self.broken;
                let Some(mut domain) = self.foreign.get(id).filter(|domain| same(domain)).cloned() else {
                    self.append([Record::Gone { server: *id }]);
                    return fail(FailureCode::Conflict, "another domain is there");
                };
                self.foreign.remove(id);
                domain.order.address = address.clone();
                domain.order.generation = *generation;
                domain.epoch = *epoch;
                let running = domain.running;
                self.domains.insert(*id, domain);
                Ok(result(*epoch, running))
            }
            AgentRequest::UpdateServer {
                server,
                epoch,
                keep_running,
            } => {
                let running = server.power == Power::On;
                let found = self.domains.get(&server.id);
                let restarted = found.is_some_and(|domain| domain.must_restart(server));
                if restarted && *keep_running {
                    return fail(FailureCode::Conflict, "its guest would be restarted");
                }
                let restarts = found.map_or(0, |domain| domain.restarts) + u32::from(restarted);
                self.domains.insert(
                    server.id,
                    FakeDomain {
                        order: (**server).clone(),
                        running,
                        epoch: *epoch,
                        restarts,
                        drift: Vec::new(),
                    },
                );
                Ok(result(*epoch, running))
            }
            AgentRequest::SetPower { id, epoch, power, .. } => {
                let running = *power == Power::On;
                if let Some(domain) = self.domains.get_mut(id) {
                    domain.running = running;
                }
                Ok(result(*epoch, running))
            }
            AgentRequest::RebootServer { .. } => Ok(AgentResult::Done),
            AgentRequest::DeleteServer { id, what, .. } => {
                if *what == Deletion::Leftover && self.domains.get(id).is_some_and(|domain| domain.running) {
                    return fail(FailureCode::Conflict, "it runs here");
                }
                self.append([Record::Gone { server: *id }]);
                let domain = self.domains.remove(id);
                if *what == Deletion::Marks {
                    self.released.extend(domain.map(|domain| (*id, domain)));
                }
                Ok(AgentResult::Done)
            }
            AgentRequest::PrepareMigration {
                server,
                epoch,
                source_host,
                cold,
                ..
            } => {
                self.images
                    .extend(server.image.as_ref().map(|image| image.checksum));
                self.incoming.insert(id, (**server).clone());
                self.append([Record::PreparedIncoming {
                    server: server.id,
                    operation: id,
                    epoch: *epoch,
                    from: source_host.clone(),
                    mode: mode(*cold),
                }]);
                Ok(AgentResult::Prepared)
            }
            AgentRequest::MigrateServer { .. } => unreachable!("the run carries migrations out"),
        }
    }

    /// The hand-overs that are prepared here, each with its server and source.
    pub(super) fn prepared(&self) -> Vec<(ServerId, OperationId, HostName)> {
        let open = self.log.handovers().filter(|(_, _, log)| match log.side {
            HandoverSide::Destination(DestinationLog::Prepared) => true,
            HandoverSide::Destination(
                DestinationLog::Ready
                | DestinationLog::Acquired(_)
                | DestinationLog::Declined
                | DestinationLog::DeclinedDiscarded
                | DestinationLog::Discarded,
            )
            | HandoverSide::Source { .. } => false,
        });
        open.map(|(server, operation, log)| (server, operation, log.peer.clone()))
            .collect()
    }

    /// Whether an incoming server was prepared under this operation and epoch.
    pub(super) fn awaits(&self, server: ServerId, operation: OperationId, epoch: Epoch) -> bool {
        self.log
            .handover(server, operation)
            .is_some_and(|log| log.epoch == epoch)
    }

    /// Nothing will come of a prepared hand-over: it is declined, and what was prepared goes.
    pub(super) fn decline(&mut self, server: ServerId, operation: OperationId) {
        let epoch = self
            .log
            .handover(server, operation)
            .map(|log| log.epoch)
            .expect("it is prepared here");
        self.incoming.remove(&operation);
        self.append([
            Record::Declined {
                server,
                operation,
                epoch,
            },
            Record::Discarded {
                server,
                operation,
                epoch,
            },
            Record::Settled { server, operation },
        ]);
    }

    /// As source: what is logged before anything is moved.
    pub(super) fn offer(
        &mut self,
        server: ServerId,
        operation: OperationId,
        (epoch, fallback): (Epoch, Epoch),
        (to, cold): (&HostName, bool),
    ) {
        self.append([Record::Offered {
            server,
            operation,
            epoch,
            fallback,
            to: to.clone(),
            mode: mode(cold),
        }]);
    }

    /// As source: the server stays here.
    pub(super) fn abort(&mut self, server: ServerId, operation: OperationId, epoch: Epoch) {
        self.append([
            Record::Aborted {
                server,
                operation,
                epoch,
            },
            Record::Settled { server, operation },
        ]);
    }

    /// As source: the right to run goes to the destination, and the domain with it.
    pub(super) fn release(
        &mut self,
        server: ServerId,
        operation: OperationId,
        epoch: Epoch,
        to: &HostName,
    ) -> FakeDomain {
        self.append([
            Record::Transferred { server, operation },
            Record::Released {
                server,
                operation,
                epoch,
                to: to.clone(),
            },
        ]);
        self.domains.remove(&server).expect("what is held has a domain")
    }

    /// As destination: the right to run is here from now on.
    pub(super) fn acquire(
        &mut self,
        server: ServerId,
        operation: OperationId,
        epoch: Epoch,
        mut domain: FakeDomain,
    ) {
        let power = if domain.running {
            WantedPower::On
        } else {
            WantedPower::Off
        };
        domain.order = self.incoming.remove(&operation).expect("it is prepared here");
        domain.epoch = epoch;
        self.domains.insert(server, domain);
        self.append([
            Record::Ready {
                server,
                operation,
                epoch,
            },
            Record::Acquired {
                server,
                operation,
                epoch,
                power,
            },
            Record::Settled { server, operation },
        ]);
    }

    /// As source: the destination said that it acquired.
    pub(super) fn peer_acquired(&mut self, server: ServerId, operation: OperationId) {
        self.append([
            Record::PeerAcquired { server, operation },
            Record::Settled { server, operation },
        ]);
    }

    pub(super) fn inventory(&self) -> HostInventory {
        let fleet = desired();
        let mut inventory = inventory(self.name.as_str());
        let held = self.held();
        let all = self.domains.iter().map(|domain| (domain, true));
        for ((id, domain), marked) in all.chain(self.foreign.iter().map(|domain| (domain, false))) {
            let observed = ObservedDomain {
                uuid: id.uuid(),
                name: domain.order.name.clone(),
                power_state: if domain.running {
                    PowerState::Running
                } else {
                    PowerState::Shutdown
                },
                reason: String::new(),
                vcpus: domain.order.vcpus,
                ram_mib: domain.order.ram_mib,
                disk_mib: domain.order.disk_bytes >> 20,
                persistent: true,
                mark: marked.then(|| DomainMark {
                    fleet: fleet.fleet.clone(),
                    project: fleet.project.clone(),
                    id: *id,
                    address: domain.order.address.clone(),
                    epoch: domain.epoch,
                    generation: domain.order.generation,
                }),
                held_epoch: held.get(id).copied(),
                drift: domain.drift.clone(),
                migration: None,
                disks: vec![DomainDisk {
                    target: "vda".to_owned(),
                    device: "disk".to_owned(),
                    source: format!("/images/{id}"),
                    capacity_bytes: domain.order.disk_bytes,
                }],
                arch: "x86_64".to_owned(),
                highest_epoch: self.log.highest_epoch(*id),
                cells: Vec::new(),
                pci_devices: BTreeSet::new(),
            };
            inventory.domains.insert(id.uuid(), observed);
        }
        for (id, epoch) in &held {
            if !self.domains.contains_key(id) {
                inventory.held_without_domain.insert(*id, *epoch);
            }
        }
        for checksum in &self.images {
            let used_by = self
                .domains
                .values()
                .filter(|domain| stands_on(domain, checksum))
                .count();
            inventory.images.push(CachedImage {
                checksum: *checksum,
                virtual_size: 1 << 20,
                disk_size: 1 << 20,
                used_by: u32::try_from(used_by).expect("few"),
            });
        }
        for (id, logged) in self.log.operations() {
            inventory.operations.push(OpenOperation {
                id,
                kind: String::new(),
                server: None,
                running: match logged {
                    OperationState::Running(_) => true,
                    OperationState::Finished { .. } | OperationState::Withdrawn { .. } => false,
                },
            });
        }
        inventory
    }
}

const fn mode(cold: bool) -> HandoverMode {
    if cold {
        HandoverMode::Cold
    } else {
        HandoverMode::Live
    }
}

const fn kind(request: &AgentRequest) -> OperationKind {
    match request {
        AgentRequest::EnsureImage { .. } => OperationKind::FetchImage,
        AgentRequest::DeleteImage { .. } => OperationKind::RemoveImage,
        AgentRequest::CreateServer { .. } => OperationKind::CreateServer,
        AgentRequest::AdoptServer { .. } => OperationKind::AdoptServer,
        AgentRequest::UpdateServer { .. } => OperationKind::UpdateServer,
        AgentRequest::SetPower { power: Power::On, .. } => OperationKind::StartServer,
        AgentRequest::SetPower {
            power: Power::Off, ..
        } => OperationKind::StopServer,
        AgentRequest::RebootServer { .. } => OperationKind::RebootServer,
        AgentRequest::DeleteServer { .. } => OperationKind::DeleteServer,
        AgentRequest::PrepareMigration { .. } => OperationKind::MigrateIn,
        AgentRequest::MigrateServer { .. } => OperationKind::MigrateOut,
    }
}

fn result(epoch: Epoch, running: bool) -> AgentResult {
    AgentResult::Server {
        epoch,
        power_state: if running {
            PowerState::Running
        } else {
            PowerState::Shutdown
        },
        frozen: Some(FrozenGuest {
            machine: "pc-q35-10.0".to_owned(),
            cpu_xml: "<cpu/>".to_owned(),
            hypervisor_type: "qemu".to_owned(),
            arch: "x86_64".to_owned(),
            base_digest: Sha256Digest::of(b"base"),
        }),
    }
}
