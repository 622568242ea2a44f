//! Every combination of what a side can see has a row, and no row breaks a rule of the protocol.

use super::*;

fn heard<W: Copy>(words: &[W]) -> Vec<Heard<W>> {
    [Heard::NotAsked, Heard::NoAnswer]
        .into_iter()
        .chain(words.iter().copied().map(Heard::Said))
        .collect()
}

const DESTINATION_WORDS: [DestinationWord; 6] = [
    DestinationWord::Unknown,
    DestinationWord::Prepared,
    DestinationWord::Ready,
    DestinationWord::Acquired,
    DestinationWord::Declined,
    DestinationWord::Discarded,
];

const SOURCE_WORDS: [SourceWord; 8] = [
    SourceWord::Unknown,
    SourceWord::Undecided,
    SourceWord::Released(WantedPower::On),
    SourceWord::Released(WantedPower::Paused),
    SourceWord::Released(WantedPower::Off),
    SourceWord::Acknowledged,
    SourceWord::Aborted,
    SourceWord::Reclaimed,
];

const MODES: [HandoverMode; 2] = [HandoverMode::Live, HandoverMode::Cold];

fn every_source_sight() -> Vec<SourceSight> {
    let mut all = Vec::new();
    for mode in MODES {
        for log in SourceLog::ALL.iter().copied() {
            for domain in SourceDomain::ALL.iter().copied() {
                for job in SourceJob::ALL.iter().copied() {
                    for destination in heard(&DESTINATION_WORDS) {
                        for patience in Patience::ALL.iter().copied() {
                            all.push(SourceSight {
                                mode,
                                log,
                                domain,
                                job,
                                destination,
                                patience,
                            });
                        }
                    }
                }
            }
        }
    }
    all
}

fn every_destination_sight() -> Vec<DestinationSight> {
    let mut all = Vec::new();
    for mode in MODES {
        for log in DestinationLog::ALL.iter().copied() {
            for domain in DestinationDomain::ALL.iter().copied() {
                for source in heard(&SOURCE_WORDS) {
                    for patience in Patience::ALL.iter().copied() {
                        all.push(DestinationSight {
                            mode,
                            log,
                            domain,
                            source,
                            patience,
                        });
                    }
                }
            }
        }
    }
    all
}

const fn has_process(domain: SourceDomain) -> bool {
    matches!(
        domain,
        SourceDomain::Running | SourceDomain::PausedByMigration | SourceDomain::PausedOtherwise
    )
}

#[test]
fn every_row_of_the_source_keeps_the_rules() {
    let all = every_source_sight();
    assert_eq!(all.len(), 2 * 6 * 7 * 4 * 8 * 2);
    for sight in all {
        let step = source_step(sight);
        let undecided = matches!(sight.log, SourceLog::Offered | SourceLog::Transferred);
        let confirming = sight.job == SourceJob::Confirming;
        let final_word =
            sight.job != SourceJob::Running && !confirming && sight.domain != SourceDomain::Unknown;
        match step {
            SourceStep::WriteReleased => {
                let own_guest_is_gone = confirming && sight.mode == HandoverMode::Live;
                assert!(undecided && (final_word || own_guest_is_gone), "{sight:?}");
                assert_eq!(
                    sight.destination,
                    Heard::Said(DestinationWord::Ready),
                    "{sight:?}"
                );
                assert!(!has_process(sight.domain), "{sight:?}");
                let ended_by_migration = sight.mode == HandoverMode::Cold
                    || own_guest_is_gone
                    || sight.log == SourceLog::Transferred
                    || sight.domain == SourceDomain::ShutOffMigrated;
                assert!(ended_by_migration, "the guest may have run on: {sight:?}");
            }
            SourceStep::WriteAborted => assert!(undecided && final_word, "{sight:?}"),
            SourceStep::WriteTransferred => {
                assert_eq!(
                    (sight.log, sight.mode),
                    (SourceLog::Offered, HandoverMode::Live),
                    "{sight:?}"
                );
                assert!(final_word && sight.domain != SourceDomain::Running, "{sight:?}");
            }
            SourceStep::StartTransfer => {
                assert_eq!(
                    (sight.log, sight.job),
                    (SourceLog::Offered, SourceJob::NotStarted),
                    "{sight:?}"
                );
                assert_eq!(
                    sight.destination,
                    Heard::Said(DestinationWord::Prepared),
                    "{sight:?}"
                );
            }
            SourceStep::CancelTransfer => assert_eq!(sight.job, SourceJob::Running, "{sight:?}"),
            SourceStep::EndPausedGuest => {
                assert_eq!(sight.domain, SourceDomain::PausedByMigration, "{sight:?}");
                assert_eq!(sight.log, SourceLog::Transferred, "{sight:?}");
                assert_eq!(
                    sight.destination,
                    Heard::Said(DestinationWord::Ready),
                    "{sight:?}"
                );
            }
            SourceStep::RestoreGuest => {
                assert!(
                    matches!(sight.log, SourceLog::Aborted | SourceLog::Reclaimed),
                    "{sight:?}"
                );
            }
            SourceStep::StopForbiddenGuest => {
                assert!(!sight.log.may_run() && has_process(sight.domain), "{sight:?}");
            }
            SourceStep::Undefine => assert!(!sight.log.may_run() && !has_process(sight.domain), "{sight:?}"),
            SourceStep::WritePeerAcquired => {
                assert_eq!(sight.log, SourceLog::Released, "{sight:?}");
                assert_eq!(
                    sight.destination,
                    Heard::Said(DestinationWord::Acquired),
                    "{sight:?}"
                );
            }
            SourceStep::WriteReclaimed => {
                assert_eq!(sight.log, SourceLog::Released, "{sight:?}");
                assert_eq!(
                    sight.destination,
                    Heard::Said(DestinationWord::Declined),
                    "{sight:?}"
                );
            }
            SourceStep::DeleteDiskAndSettle => {
                assert_eq!(
                    (sight.log, sight.domain),
                    (SourceLog::PeerAcquired, SourceDomain::Absent),
                    "{sight:?}"
                );
            }
            SourceStep::Settle => {
                assert!(
                    matches!(sight.log, SourceLog::Aborted | SourceLog::Reclaimed),
                    "{sight:?}"
                );
            }
            SourceStep::AwaitLibvirt => {
                assert!(
                    sight.domain == SourceDomain::Unknown
                        || matches!(sight.job, SourceJob::Running | SourceJob::Confirming),
                    "{sight:?}"
                );
            }
            SourceStep::AskDestination => assert!(undecided, "{sight:?}"),
            SourceStep::TellDestination => assert!(!undecided, "{sight:?}"),
            SourceStep::Report(_) => {
                assert!(matches!(sight.destination, Heard::Said(_)), "{sight:?}");
            }
        }
        // A forbidden guest is stopped whatever else there is to do.
        if !sight.log.may_run() && has_process(sight.domain) {
            assert_eq!(step, SourceStep::StopForbiddenGuest, "{sight:?}");
        }
    }
}

#[test]
fn every_row_of_the_destination_keeps_the_rules() {
    let all = every_destination_sight();
    assert_eq!(all.len(), 2 * 8 * 6 * 10 * 2);
    for sight in all {
        let step = destination_step(sight);
        let released = match sight.source {
            Heard::Said(SourceWord::Released(power)) => Some(power),
            _ => None,
        };
        match step {
            DestinationStep::WriteAcquired(power) => {
                assert_eq!(
                    (sight.log, released),
                    (DestinationLog::Ready, Some(power)),
                    "{sight:?}"
                );
            }
            DestinationStep::WriteDeclined => {
                assert!(
                    matches!(sight.log, DestinationLog::Prepared | DestinationLog::Ready),
                    "{sight:?}"
                );
                assert_eq!(released, None, "{sight:?}");
            }
            DestinationStep::FlushAndWriteReady => {
                assert_eq!(
                    (sight.log, sight.domain),
                    (DestinationLog::Prepared, DestinationDomain::Arrived),
                    "{sight:?}"
                );
            }
            DestinationStep::RestoreGuest(_) => assert!(sight.log.may_run(), "{sight:?}"),
            DestinationStep::Discard => {
                let aborted = sight.source == Heard::Said(SourceWord::Aborted);
                assert!(!sight.log.may_run(), "{sight:?}");
                assert!(aborted || sight.log == DestinationLog::Declined, "{sight:?}");
            }
            DestinationStep::PauseForbiddenGuest => {
                assert!(
                    !sight.log.may_run() && sight.domain == DestinationDomain::Running,
                    "{sight:?}"
                );
            }
            DestinationStep::Settle => {
                assert!(
                    matches!(
                        sight.log,
                        DestinationLog::Acquired(_)
                            | DestinationLog::DeclinedDiscarded
                            | DestinationLog::Discarded
                    ),
                    "{sight:?}"
                );
            }
            DestinationStep::Wait => {
                let waits_for_libvirt = matches!(
                    sight.domain,
                    DestinationDomain::Unknown | DestinationDomain::Incoming
                );
                let waits_for_transfer = sight.log == DestinationLog::Prepared;
                assert!(waits_for_libvirt || waits_for_transfer, "{sight:?}");
            }
            DestinationStep::AskSource | DestinationStep::TellSource => {}
            DestinationStep::Report(_) => assert!(matches!(sight.source, Heard::Said(_)), "{sight:?}"),
        }
        // Without the source's word a copy that is ready is neither run nor removed, however long it takes.
        let silent = matches!(sight.source, Heard::NotAsked | Heard::NoAnswer);
        if silent && sight.log == DestinationLog::Ready && sight.domain != DestinationDomain::Running {
            assert_eq!(step, DestinationStep::AskSource, "{sight:?}");
        }
    }
}

/// The two records that decide can never both be reached from one another's words.
#[test]
fn nobody_may_run_it_on_both_sides() {
    for source in SourceLog::ALL.iter().copied() {
        let word = source.word(WantedPower::On);
        for log in [DestinationLog::Prepared, DestinationLog::Ready] {
            for domain in DestinationDomain::ALL.iter().copied() {
                for (mode, patience) in [
                    (HandoverMode::Live, Patience::Left),
                    (HandoverMode::Cold, Patience::Exhausted),
                ] {
                    let source_heard = Heard::Said(word);
                    let sight = DestinationSight {
                        mode,
                        log,
                        domain,
                        source: source_heard,
                        patience,
                    };
                    if let DestinationStep::WriteAcquired(_) = destination_step(sight) {
                        assert!(!source.may_run(), "{sight:?} while the source is {source:?}");
                    }
                }
            }
        }
    }
}
