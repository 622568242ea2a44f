//! Brings every server's domain to what this host's log says, whenever something may have changed: at start,
//! at each life-cycle event, and from time to time. What to do is decided by `drover_agent_core::power`.

use super::domain::ServerHere;
use super::failure::WorkError;
use crate::agent::Agent;
use crate::hypervisor::DomainReport;
use crate::operations::chain;
use drover_agent_core::domain::read_metadata;
use drover_agent_core::oplog::State;
use drover_agent_core::power::{
    BootDecision, DomainSight, Finding, Mark, Occasion, PowerSight, decide_start,
};
use drover_types::{FleetName, ServerId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a change that no event told of may stay unseen.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Events come in bursts; one look serves them all.
const SETTLE: Duration = Duration::from_millis(100);

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Looks again and again until `stopping`.
pub async fn run(agent: Arc<Agent>, stopping: CancellationToken) {
    let mut changes = agent.hypervisor.inner().changes();
    let mut reported = BTreeMap::new();
    let mut occasion = first_occasion(&agent.config.data_dir);
    loop {
        match look(&agent, occasion, &mut reported).await {
            Ok(()) => {
                if occasion == Occasion::HostBoot {
                    note_boot(&agent.config.data_dir);
                }
                occasion = Occasion::Reconcile;
            }
            Err(error) => tracing::warn!(
                "the servers could not be compared with the log: {}",
                chain(&error)
            ),
        }
        // Every arm only waits, so dropping any of them loses nothing.
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(SETTLE).await;
                changes.mark_unchanged();
            }
        }
    }
}

/// Whether the host was booted since the last look of an agent with this data directory.
fn first_occasion(data_dir: &Path) -> Occasion {
    let now = std::fs::read_to_string(BOOT_ID).ok();
    let noted = std::fs::read_to_string(data_dir.join("last-boot")).ok();
    if now.is_some() && now == noted {
        Occasion::Reconcile
    } else {
        Occasion::HostBoot
    }
}

fn note_boot(data_dir: &Path) {
    let path = data_dir.join("last-boot");
    let noted = std::fs::read(BOOT_ID).and_then(|boot| std::fs::write(&path, boot));
    if let Err(source) = noted {
        tracing::warn!(path = %path.display(), %source, "this boot is not noted; the next start of the agent counts as one");
    }
}

async fn look(
    agent: &Agent,
    occasion: Occasion,
    reported: &mut BTreeMap<ServerId, Finding>,
) -> Result<(), WorkError> {
    let domains = agent
        .hypervisor
        .run("listing the domains", |hypervisor| hypervisor.domains())
        .await
        .map_err(|source| WorkError::Domains { source })?;
    let sights = domains
        .iter()
        .map(|domain| sight_of(domain, &agent.config.fleet))
        .collect();
    let decisions = agent
        .operations
        .log()
        .read(move |state| decide(state, &sights, occasion))
        .await
        .map_err(WorkError::Log)?;
    reported.retain(|server, _| decisions.contains_key(server));
    for (server, decision) in decisions {
        act(agent, server, decision, reported).await;
    }
    Ok(())
}

fn sight_of(domain: &DomainReport, fleet: &FleetName) -> (ServerId, DomainSight) {
    let server = ServerId::from_uuid(domain.uuid);
    let mark = match read_metadata(domain.xml()) {
        Ok(Some(ours)) if ours.fleet == *fleet && ours.id == server => Mark::Ours(ours.epoch),
        Ok(Some(_) | None) | Err(_) => Mark::Foreign,
    };
    (
        server,
        DomainSight::Present {
            power: domain.state.power,
            mark,
        },
    )
}

fn decide(
    state: &State,
    sights: &BTreeMap<ServerId, DomainSight>,
    occasion: Occasion,
) -> BTreeMap<ServerId, BootDecision> {
    let known = state.servers().map(|(server, _)| server);
    let all: BTreeSet<ServerId> = known.chain(sights.keys().copied()).collect();
    all.into_iter()
        .map(|server| {
            let domain = sights.get(&server).copied().unwrap_or(DomainSight::Absent);
            let marked = match domain {
                DomainSight::Present {
                    mark: Mark::Ours(epoch),
                    ..
                } => Some(epoch),
                DomainSight::Present {
                    mark: Mark::Foreign, ..
                }
                | DomainSight::Absent
                | DomainSight::Unknown => None,
            };
            let sight = PowerSight {
                occasion,
                standing: state.standing(server),
                held: state.held_epoch(server),
                wanted: state.wanted_power(server),
                domain,
                other: state.other_holder(server, marked),
            };
            (server, decide_start(sight))
        })
        .collect()
}

async fn act(
    agent: &Agent,
    server: ServerId,
    decision: BootDecision,
    reported: &mut BTreeMap<ServerId, Finding>,
) {
    let here = ServerHere::new(agent, server);
    let done = match decision {
        BootDecision::Start => {
            tracing::info!(%server, "starting a server after the host booted");
            here.run().await
        }
        BootDecision::Stop => {
            tracing::warn!(%server, "stopping a domain that runs here although another host holds the server");
            here.end().await
        }
        BootDecision::Report(finding) => {
            if reported.insert(server, finding) != Some(finding) {
                tracing::warn!(%server, "{finding}");
            }
            return;
        }
        BootDecision::LookAgain
        | BootDecision::FollowHandover
        | BootDecision::FollowOperation
        | BootDecision::Leave => {
            reported.remove(&server);
            return;
        }
    };
    if let Err(error) = done {
        tracing::warn!(%server, "{}", chain(&error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypervisor::DomainState;
    use drover_types::{Epoch, PowerState};
    use uuid::Uuid;

    #[test]
    fn only_this_fleets_mark_with_the_domains_own_id_is_ours() {
        let id = Uuid::from_u128(9);
        let xml = |fleet: &str, marked: Uuid| {
            format!(
                "<domain><metadata><d:server xmlns:d='urn:drover:domain:1'><d:fleet>{fleet}</d:fleet>\
                 <d:project>default</d:project><d:id>{marked}</d:id><d:address>server.web</d:address>\
                 <d:epoch>4</d:epoch><d:generation>1</d:generation></d:server></metadata></domain>"
            )
        };
        let domain = |xml: String| DomainReport {
            uuid: id,
            name: "x".to_owned(),
            state: DomainState {
                power: PowerState::Running,
                reason: "booted",
            },
            persistent: true,
            vcpus: 1,
            memory_kib: 1,
            disk_sizes: BTreeMap::new(),
            live_xml: Some(xml),
            persistent_xml: None,
        };
        let fleet: FleetName = "prod".parse().expect("a name");
        let mark = |xml| match sight_of(&domain(xml), &fleet).1 {
            DomainSight::Present { mark, .. } => mark,
            other @ (DomainSight::Absent | DomainSight::Unknown) => panic!("{other:?}"),
        };
        assert_eq!(mark(xml("prod", id)), Mark::Ours(Epoch::new(4)));
        assert_eq!(mark(xml("other", id)), Mark::Foreign);
        assert_eq!(mark(xml("prod", Uuid::from_u128(8))), Mark::Foreign);
        assert_eq!(mark("<domain/>".to_owned()), Mark::Foreign);
    }
}
