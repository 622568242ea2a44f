//! A create that is still on its way when its server is placed elsewhere: whenever it arrives, it starts nothing.

use crate::faults::fleet::{Fleet, domains, files, runtime, servers, start_on};
use crate::faults::kills::{StopPoint, kill_at_point};
use drover::agents::{Agents, Caller};
use drover_core::executor::{AgentRequest, Event, FailureCode};
use drover_core::model::Endpoint;
use drover_core::plan::{ActionKind, decode};
use drover_proto::transport::{CredentialFiles, Credentials, Timeouts};
use drover_tests::lab::{FLEET, Host, Store};
use drover_types::{FencingToken, HostName, OperationId, RequestId};
use std::collections::BTreeSet;
use std::sync::Arc;

const ADDRESS: &str = "server.web[0]";
const PROJECT: &str = "default";

/// What an agent is asked.
#[derive(Debug, Clone, Copy)]
enum Asked {
    ToCreate,
    ToWithdraw,
}

/// The request of a plan's one create for its first candidate, as drover would have sent it.
struct Delayed {
    host: HostName,
    operation: OperationId,
    request: AgentRequest,
}

impl Delayed {
    fn of_plan(fleet: &Fleet<'_>, file: &str) -> Self {
        let bytes = std::fs::read(fleet.workspace.directory().join(file)).expect("the plan is there");
        let (name, project) = (FLEET.parse().expect("a name"), PROJECT.parse().expect("a name"));
        let plan = decode(&bytes, &name, &project).expect("drover wrote it");
        let mut creates = Vec::new();
        for action in plan.actions {
            if let ActionKind::CreateServer {
                order, candidates, ..
            } = action.kind
            {
                let first = candidates.into_iter().next().expect("a create has a host");
                creates.push(Self {
                    host: first.host,
                    operation: first.operation,
                    request: AgentRequest::CreateServer {
                        server: order,
                        epoch: first.epoch,
                        adopt: false,
                    },
                });
            }
        }
        assert_eq!(creates.len(), 1, "one server is created");
        creates.remove(0)
    }

    /// It arrives, under this token: why the agent refuses it.
    fn arrives(&self, fleet: &Fleet<'_>, token: FencingToken) -> String {
        match self.says(fleet, token, Asked::ToCreate) {
            Event::Failed {
                code: FailureCode::Refused,
                message,
                ..
            } => message,
            other => panic!("it is not refused: {other:?}"),
        }
    }

    /// The agent's last word on it.
    fn says(&self, fleet: &Fleet<'_>, token: FencingToken, asked: Asked) -> Event {
        let host = fleet.lab.host(self.host.as_str());
        let last = fleet
            .lab
            .client()
            .inside_network(|| runtime().block_on(self.ask(fleet, host, token, asked)))
            .expect("the client's network is there");
        println!(
            "{} of {} under token {token}, asked {asked:?}: {last:?}",
            self.operation, self.host
        );
        last
    }

    async fn ask(&self, fleet: &Fleet<'_>, host: &Host, token: FencingToken, asked: Asked) -> Event {
        let files = fleet.lab.operator().expect("the lab has an operator");
        let files = CredentialFiles {
            ca_file: files.ca_file,
            cert_file: files.cert_file,
            key_file: files.key_file,
        };
        let credentials = Credentials::load(&files).expect("drover pki writes what drover reads");
        let endpoint: Endpoint = host.agent_address().to_string().parse().expect("an address");
        let agents = Agents::new(
            FLEET.parse().expect("a name"),
            Arc::new(credentials),
            Timeouts::default(),
            RequestId::from_untrusted("req-delayed"),
            [(self.host.clone(), endpoint)].into(),
        );
        let caller = Caller {
            fleet: FLEET.parse().expect("a name"),
            project: PROJECT.parse().expect("a name"),
            token,
        };
        let (events, mut told) = tokio::sync::mpsc::channel(64);
        let (operation, host) = (self.operation, &self.host);
        match asked {
            Asked::ToCreate => {
                agents
                    .call(&caller, operation, host, &self.request, &events)
                    .await;
            }
            Asked::ToWithdraw => agents.withdraw(&caller, operation, host, &events).await,
        }
        drop(events);
        let mut last = None;
        while let Some(event) = told.recv().await {
            last = Some(event);
        }
        last.expect("a call ends with an event")
    }
}

fn token(fleet: &Fleet<'_>) -> FencingToken {
    let keys = fleet.keys();
    let meta = keys.iter().find(|(key, _)| key.ends_with("/meta"));
    let (_, meta) = meta.expect("a fleet that was applied to has it");
    FencingToken::new(meta["token"].as_u64().expect("a number"))
}

fn no_trace_of_it(host: &Host) {
    assert_eq!(domains(host), BTreeSet::new(), "domains on {}", host.name());
    assert_eq!(
        files(host, "servers"),
        BTreeSet::new(),
        "server directories on {}",
        host.name()
    );
}

fn a_delayed_create_starts_nothing(store: Store) {
    let lab = start_on(store, 3);
    let fleet = Fleet::new(&lab, store);
    fleet.configure(&[], &servers(1, ""));
    fleet.drover(0, &["plan", "--out", "one.bin"]);
    let delayed = Delayed::of_plan(&fleet, "one.bin");
    let first = lab.host(delayed.host.as_str());
    // The image is fetched, the create's intent is in the store, and the request is not on the wire.
    let step = kill_at_point(&fleet, &["apply", "one.bin"], StopPoint::after("before-call", 1));
    assert_eq!(step, "create/sending");
    let old = token(&fleet);

    // It may have been sent, as far as anybody can tell. While its host is silent, nothing is granted elsewhere.
    lab.cut_off(first.name()).expect("a host can be cut off");
    let elsewhere = [(first.name(), "state = \"disabled\"")];
    fleet.configure(&elsewhere, &servers(1, ""));
    fleet.forget_dead_holder();
    let refused = fleet.drover(5, &["apply", "--auto-approve", "--lock-timeout", "60s"]);
    assert!(refused.stderr.contains(first.name()), "{}", refused.stderr);
    for host in lab.hosts() {
        no_trace_of_it(host);
    }

    // The host's own logged refusal is what frees the server for another.
    lab.heal().expect("wires can be healed");
    fleet.apply();
    let (id, placed) = fleet.server(ADDRESS);
    assert_ne!(placed, first.name());
    fleet.expect_settled(&[ADDRESS]);
    let current = token(&fleet);
    assert!(current > old, "each apply raises the token: {old}, {current}");

    let never = |current: FencingToken| {
        let stale = delayed.arrives(&fleet, old);
        assert!(
            stale.contains(&format!("token {old} is older than {current}")),
            "{stale}"
        );
        no_trace_of_it(first);
        assert_eq!(
            lab.running_on(&id).expect("every libvirtd answers"),
            [placed.as_str()]
        );
    };
    never(current);
    // Under a token that is not stale the operation itself is refused: it was withdrawn, and that is recorded.
    let withdrawn = delayed.arrives(&fleet, current);
    let acknowledged = format!(
        "operation {} ended and its result was acknowledged",
        delayed.operation
    );
    assert!(withdrawn.contains(&acknowledged), "{withdrawn}");
    no_trace_of_it(first);
    // The refusals are in the agent's log, not in its memory.
    first.kill_agent().expect("the agent can be killed");
    first.start_agent().expect("the agent is back");
    never(current);
    fleet.expect_settled(&[ADDRESS]);

    a_withdrawn_create_goes_to_its_alternate(&fleet, current);
}

/// Withdrawn before it was sent, by whoever holds the token: the plan that is applied then uses its alternate.
fn a_withdrawn_create_goes_to_its_alternate(fleet: &Fleet<'_>, current: FencingToken) {
    fleet.configure(&[], &servers(2, ""));
    fleet.drover(0, &["plan", "--out", "two.bin"]);
    let delayed = Delayed::of_plan(fleet, "two.bin");
    let first = fleet.lab.host(delayed.host.as_str());
    let before = domains(first);
    let answer = delayed.says(fleet, current, Asked::ToWithdraw);
    assert!(
        matches!(
            answer,
            Event::Withdrawn {
                withdrawn: true,
                running: false,
                ..
            }
        ),
        "{answer:?}"
    );
    let refused = delayed.arrives(fleet, current);
    let withdrawn = format!("operation {} was withdrawn before it arrived", delayed.operation);
    assert!(refused.contains(&withdrawn), "{refused}");
    assert_eq!(domains(first), before);

    let applied = fleet.drover(0, &["apply", "two.bin"]);
    assert!(
        applied.stderr.contains(&format!("{} could not", first.name()))
            && applied.stderr.contains("withdrawn"),
        "{}",
        applied.stderr
    );
    assert_ne!(fleet.server("server.web[1]").1, first.name());
    assert_eq!(domains(first), before);
    fleet.expect_settled(&[ADDRESS, "server.web[1]"]);
}

#[test]
fn a_delayed_create_starts_nothing_in_etcd() {
    a_delayed_create_starts_nothing(Store::Etcd);
}

#[test]
fn a_delayed_create_starts_nothing_in_the_embedded_store() {
    a_delayed_create_starts_nothing(Store::Local);
}
