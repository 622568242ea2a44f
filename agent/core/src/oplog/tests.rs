//! What the log promises: one start per operation, one operation per server, no stale token, no epoch
//! twice; and the same answers after compaction.

use super::*;
use crate::handover::HandoverMode;
use crate::power::{OtherHolder, Standing, WantedPower};
use drover_types::{
    Epoch, FencingToken, Generation, HostName, IncarnationId, OperationId, RequestId, ServerId, Sha256Digest,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn server(number: u8) -> ServerId {
    format!("6a1c1f0e-0000-4000-8000-0000000001{number:02}")
        .parse()
        .expect("an id")
}
fn operation(number: u8) -> OperationId {
    format!("6a1c1f0e-0000-4000-8000-0000000002{number:02}")
        .parse()
        .expect("an id")
}
fn incarnation(number: u8) -> IncarnationId {
    format!("6a1c1f0e-0000-4000-8000-0000000003{number:02}")
        .parse()
        .expect("an id")
}
fn host() -> HostName {
    "n1".parse().expect("a name")
}
fn request_id() -> RequestId {
    RequestId::from_untrusted("req-1")
}

fn incoming(number: u8, token: u64, claim: EpochClaim) -> Incoming {
    Incoming {
        operation: operation(number),
        kind: OperationKind::CreateServer,
        digest: Sha256Digest::of(&[number]),
        request: serde_json::json!({ "number": number }),
        token: FencingToken::new(token),
        incarnation: None,
        claim,
        request_id: request_id(),
        at: UnixMillis(0),
    }
}

fn grant(number: u8, epoch: u64) -> EpochClaim {
    EpochClaim::Grant {
        server: server(number),
        epoch: Epoch::new(epoch),
        generation: Generation::new(1),
    }
}

fn held(number: u8, epoch: u64, generation: u64) -> EpochClaim {
    EpochClaim::Held {
        server: server(number),
        epoch: Epoch::new(epoch),
        generation: Generation::new(generation),
    }
}

fn opened() -> State {
    replay(&[Record::Opened {
        format: FORMAT,
        incarnation: incarnation(0),
        host: host(),
    }])
    .expect("a log")
}

fn append(state: &mut State, records: &[Record]) {
    for record in records {
        state.apply(record).expect("an admitted record follows");
    }
}

fn send(state: &mut State, incoming: &Incoming) -> Verdict {
    let admission = admit(state, incoming);
    append(state, &admission.append);
    admission.verdict
}

fn finish(state: &mut State, number: u8) {
    let outcome = Outcome::Succeeded(serde_json::json!(number));
    append(
        state,
        &[Record::Finished {
            operation: operation(number),
            outcome,
        }],
    );
}

#[test]
fn a_create_is_started_once_and_its_token_comes_first() {
    let mut state = opened();
    let create = incoming(1, 5, grant(1, 1));
    let first = admit(&state, &create);
    assert_eq!(
        first.append[0],
        Record::TokenSeen {
            token: FencingToken::new(5)
        }
    );
    assert!(matches!(first.append[1], Record::Began(_)));
    assert_eq!(
        first.append[2],
        Record::EpochGranted {
            server: server(1),
            epoch: Epoch::new(1),
            operation: operation(1)
        }
    );
    assert_eq!(send(&mut state, &create), Verdict::Start);
    assert_eq!(send(&mut state, &create), Verdict::Attach);
    assert_eq!(state.held_epoch(server(1)), Some(Epoch::new(1)));
    finish(&mut state, 1);
    assert_eq!(
        send(&mut state, &create),
        Verdict::Replay(Outcome::Succeeded(serde_json::json!(1)))
    );
    append(
        &mut state,
        &[Record::Acknowledged {
            operations: vec![operation(1)],
        }],
    );
    assert_eq!(
        send(&mut state, &create),
        Verdict::Refuse(Refusal::Acknowledged(operation(1)))
    );
    let later = incoming(2, 6, held(1, 1, 1));
    assert_eq!(send(&mut state, &later), Verdict::Start);
    let stale = Refusal::StaleToken {
        sent: FencingToken::new(5),
        seen: FencingToken::new(6),
    };
    assert_eq!(send(&mut state, &create), Verdict::Refuse(stale));
}

#[test]
fn each_refusal_has_its_reason() {
    let mut state = opened();
    assert_eq!(send(&mut state, &incoming(1, 1, grant(1, 3))), Verdict::Start);
    let other = Incoming {
        digest: Sha256Digest::of(b"other"),
        ..incoming(1, 1, grant(1, 3))
    };
    assert_eq!(
        send(&mut state, &other),
        Verdict::Refuse(Refusal::OtherRequestSameId(operation(1)))
    );
    let busy = Refusal::Busy {
        server: server(1),
        operation: operation(1),
        kind: OperationKind::CreateServer,
    };
    assert_eq!(
        send(&mut state, &incoming(2, 1, held(1, 3, 1))),
        Verdict::Refuse(busy)
    );
    finish(&mut state, 1);
    let (one, two) = (server(1), server(2));
    let epoch = Epoch::new;
    let table = [
        (
            held(1, 2, 1),
            Refusal::EpochMismatch {
                server: one,
                sent: epoch(2),
                held: epoch(3),
            },
        ),
        (held(2, 1, 1), Refusal::NotHolder { server: two }),
        (
            grant(1, 4),
            Refusal::Holder {
                server: one,
                held: epoch(3),
            },
        ),
        (
            held(1, 3, 0),
            Refusal::StaleGeneration {
                server: one,
                sent: Generation::new(0),
                seen: Generation::new(1),
            },
        ),
        (
            EpochClaim::Remains {
                server: one,
                generation: Generation::new(1),
            },
            Refusal::Holder {
                server: one,
                held: epoch(3),
            },
        ),
    ];
    for (claim, refusal) in table {
        assert_eq!(
            send(&mut state, &incoming(9, 1, claim)),
            Verdict::Refuse(refusal),
            "{claim:?}"
        );
    }
    append(&mut state, &[Record::Gone { server: one }]);
    let used = Refusal::EpochUsed {
        server: one,
        sent: epoch(3),
        highest: epoch(3),
    };
    assert_eq!(
        send(&mut state, &incoming(9, 1, grant(1, 3))),
        Verdict::Refuse(used)
    );
    assert_eq!(
        send(&mut state, &incoming(9, 1, EpochClaim::Host)),
        Verdict::Start
    );
}

#[test]
fn a_withdrawn_operation_never_starts() {
    let mut state = opened();
    let Withdrawal::Withdrawn { append: records } = withdraw(&state, operation(1), FencingToken::new(4))
    else {
        panic!("it never began")
    };
    append(&mut state, &records);
    let delayed = incoming(1, 4, grant(1, 1));
    assert_eq!(
        send(&mut state, &delayed),
        Verdict::Refuse(Refusal::Withdrawn(operation(1)))
    );
    append(
        &mut state,
        &[Record::Acknowledged {
            operations: vec![operation(1)],
        }],
    );
    assert_eq!(
        send(&mut state, &delayed),
        Verdict::Refuse(Refusal::Acknowledged(operation(1)))
    );
    assert_eq!(state.held_epoch(server(1)), None);
    let running = incoming(2, 4, grant(1, 1));
    assert_eq!(send(&mut state, &running), Verdict::Start);
    assert!(matches!(
        withdraw(&state, operation(2), FencingToken::new(4)),
        Withdrawal::Running(_)
    ));
}

#[test]
fn a_lost_log_holds_nothing_until_the_host_is_readmitted() {
    let mut state = opened();
    assert_eq!(send(&mut state, &incoming(1, 1, grant(1, 1))), Verdict::Start);
    finish(&mut state, 1);
    let restored = Record::Opened {
        format: FORMAT,
        incarnation: incarnation(1),
        host: host(),
    };
    append(&mut state, &[restored]);
    assert_eq!(
        (state.held_epoch(server(1)), state.standing(server(1))),
        (None, Standing::Void)
    );
    let void = Verdict::Refuse(Refusal::VoidEpochs);
    assert_eq!(send(&mut state, &incoming(2, 1, held(1, 1, 1))), void);
    assert_eq!(send(&mut state, &incoming(2, 1, grant(2, 1))), void);
    let withdrawal = withdraw(&state, operation(3), FencingToken::new(1));
    assert_eq!(withdrawal, Withdrawal::Refused(Refusal::VoidEpochs));
    let confirmed = BTreeMap::from([(server(2), Epoch::new(5))]);
    append(
        &mut state,
        &[Record::Readmitted {
            token: FencingToken::new(9),
            held: confirmed,
        }],
    );
    assert_eq!(
        (state.held_epoch(server(1)), state.held_epoch(server(2))),
        (None, Some(Epoch::new(5)))
    );
    let old = Incoming {
        incarnation: Some(incarnation(0)),
        ..incoming(2, 9, held(2, 5, 1))
    };
    let refused = Refusal::OtherIncarnation {
        expected: incarnation(0),
        current: incarnation(1),
    };
    assert_eq!(send(&mut state, &old), Verdict::Refuse(refused));
}

#[test]
fn a_released_server_is_known_to_be_elsewhere() {
    let mut state = opened();
    let (server, operation, epoch) = (server(1), operation(1), Epoch::new(2));
    append(
        &mut state,
        &[
            Record::EpochGranted {
                server,
                epoch: Epoch::new(1),
                operation,
            },
            Record::PowerWanted {
                server,
                power: WantedPower::On,
            },
            Record::Offered {
                server,
                operation,
                epoch,
                fallback: Epoch::new(3),
                to: host(),
                mode: HandoverMode::Live,
            },
        ],
    );
    assert_eq!(
        (state.held_epoch(server), state.standing(server)),
        (Some(Epoch::new(1)), Standing::HandingOver)
    );
    append(
        &mut state,
        &[Record::Released {
            server,
            operation,
            epoch,
            to: host(),
        }],
    );
    assert_eq!(
        (state.held_epoch(server), state.other_holder(server, None)),
        (None, OtherHolder::Proven)
    );
    let copies = [1, 2, 3].map(|marked| state.other_holder(server, Some(Epoch::new(marked))));
    let brought_back = OtherHolder::NotProven;
    assert_eq!(copies, [OtherHolder::Proven, brought_back, brought_back]);
    let aborted = Record::Aborted {
        server,
        operation,
        epoch,
    };
    let error = state.apply(&aborted).expect_err("released already");
    assert_eq!(
        error,
        ApplyError::Handover {
            server,
            operation,
            record: "aborted"
        }
    );
}

fn any_record() -> impl Strategy<Value = Record> {
    let server = || (1..3_u8).prop_map(server);
    let operation = || (1..5_u8).prop_map(operation);
    let epoch = || (1..9_u64).prop_map(Epoch::new);
    let token = || (0..5_u64).prop_map(FencingToken::new);
    let power = || prop::sample::select(WantedPower::ALL);
    let mode = || prop::sample::select(&[HandoverMode::Live, HandoverMode::Cold][..]);
    let three = move || (server(), operation(), epoch());
    prop_oneof![
        1 => Just(Record::EpochsVoided),
        1 => (token(), server(), epoch())
            .prop_map(|(token, server, epoch)| Record::Readmitted { token, held: BTreeMap::from([(server, epoch)]) }),
        1 => token().prop_map(|token| Record::TokenSeen { token }),
        4 => (operation(), prop::option::of(server()), token(), 0..3_u64).prop_map(|(operation, server, token, generation)| {
            Record::Began(Box::new(Began {
                operation,
                server,
                kind: OperationKind::StartServer,
                digest: Sha256Digest::of(b"x"),
                request: serde_json::json!({"deep": [1, 2.5, null]}),
                token,
                generation: server.map(|_| Generation::new(generation)),
                request_id: request_id(),
                at: UnixMillis(1),
            }))
        }),
        4 => operation().prop_map(|operation| Record::Finished {
            operation,
            outcome: Outcome::Succeeded(serde_json::Value::Null),
        }),
        1 => (operation(), token()).prop_map(|(operation, token)| Record::Withdrawn { operation, token }),
        2 => operation().prop_map(|operation| Record::Acknowledged { operations: vec![operation] }),
        2 => three().prop_map(|(server, operation, epoch)| Record::EpochGranted { server, epoch, operation }),
        1 => (server(), power()).prop_map(|(server, power)| Record::PowerWanted { server, power }),
        4 => (three(), mode()).prop_map(|((server, operation, epoch), mode)| Record::Offered {
            server, operation, epoch, fallback: epoch.next(), to: host(), mode,
        }),
        4 => (three(), mode()).prop_map(|((server, operation, epoch), mode)| Record::PreparedIncoming {
            server, operation, epoch, from: host(), mode,
        }),
        1 => three().prop_map(|(server, operation, _)| Record::Transferred { server, operation }),
        4 => three().prop_map(|(server, operation, epoch)| Record::Released { server, operation, epoch, to: host() }),
        2 => three().prop_map(|(server, operation, epoch)| Record::Aborted { server, operation, epoch }),
        1 => three().prop_map(|(server, operation, _)| Record::PeerAcquired { server, operation }),
        1 => three().prop_map(|(server, operation, epoch)| Record::Reclaimed { server, operation, epoch }),
        4 => three().prop_map(|(server, operation, epoch)| Record::Ready { server, operation, epoch }),
        4 => (three(), power())
            .prop_map(|((server, operation, epoch), power)| Record::Acquired { server, operation, epoch, power }),
        2 => three().prop_map(|(server, operation, epoch)| Record::Declined { server, operation, epoch }),
        1 => three().prop_map(|(server, operation, epoch)| Record::Discarded { server, operation, epoch }),
        1 => three().prop_map(|(server, operation, _)| Record::Settled { server, operation }),
        1 => server().prop_map(|server| Record::Gone { server }),
    ]
}

/// A log that could have been written: of the records drawn, those that follow.
fn any_log() -> impl Strategy<Value = Vec<Record>> {
    prop::collection::vec(any_record(), 0..200).prop_map(|drawn| {
        let mut state = opened();
        let mut log = vec![Record::Opened {
            format: FORMAT,
            incarnation: incarnation(0),
            host: host(),
        }];
        log.extend(drawn.into_iter().filter(|record| state.apply(record).is_ok()));
        log
    })
}

proptest! {
    #[test]
    fn compaction_keeps_the_state(log in any_log(), after in prop::collection::vec(any_record(), 0..20)) {
        let mut long = replay(&log).expect("a log");
        let compacted = compact(&long);
        let mut short = replay(&compacted).expect("a compacted log");
        prop_assert_eq!(&short, &long);
        prop_assert_eq!(compact(&short), compacted);
        for record in after {
            prop_assert_eq!(short.apply(&record), long.apply(&record));
        }
        prop_assert_eq!(short, long);
    }

    #[test]
    fn a_written_log_reads_back_and_each_prefix_replays(log in any_log()) {
        let bytes: Vec<u8> =
            log.iter().flat_map(|record| encode(record).expect("a small record")).collect();
        let decoded = decode(&bytes).expect("undamaged");
        prop_assert_eq!(&decoded.records, &log);
        for end in 1..=log.len() {
            prop_assert!(replay(&decoded.records[..end]).is_ok());
        }
    }

    #[test]
    fn a_record_that_does_not_follow_changes_nothing(log in any_log(), record in any_record()) {
        let mut state = replay(&log).expect("a log");
        let before = state.clone();
        if state.apply(&record).is_err() {
            prop_assert_eq!(state, before);
        }
    }

    #[test]
    fn an_epoch_is_acquired_or_granted_once(log in any_log()) {
        let mut used = std::collections::BTreeSet::new();
        for record in &log {
            let (server, epoch) = match record {
                Record::EpochGranted { server, epoch, .. }
                | Record::Acquired { server, epoch, .. }
                | Record::Reclaimed { server, epoch, .. } => (server, epoch),
                _ => continue,
            };
            prop_assert!(used.insert((*server, *epoch)), "epoch {epoch} of {server} twice");
        }
    }

    #[test]
    fn requests_in_any_order_start_once_and_one_at_a_time(
        requests in prop::collection::vec((1..6_u8, 1..4_u64, 0..4_u8, 1..3_u8, 1..4_u64), 1..60),
    ) {
        let mut state = opened();
        let mut started = std::collections::BTreeSet::new();
        let mut highest = 0;
        for (number, token, what, target, epoch) in requests {
            let claim = match what {
                0 => grant(target, epoch),
                1 => held(target, epoch, epoch),
                2 => EpochClaim::Host,
                _ => {
                    if state.operation(operation(number)).is_some_and(|known| matches!(known, OperationState::Running(_))) {
                        finish(&mut state, number);
                    }
                    continue;
                }
            };
            match send(&mut state, &incoming(number, token, claim)) {
                Verdict::Start => {
                    prop_assert!(token >= highest, "a stale token started something");
                    prop_assert!(started.insert(number), "operation {number} started twice");
                }
                Verdict::Attach | Verdict::Replay(_) => prop_assert!(started.contains(&number)),
                Verdict::Refuse(_) => {}
            }
            highest = highest.max(token);
            prop_assert_eq!(state.highest_token(), FencingToken::new(highest));
            for target in [server(1), server(2)] {
                prop_assert!(state.running().filter(|began| began.server == Some(target)).count() <= 1);
            }
        }
    }
}
