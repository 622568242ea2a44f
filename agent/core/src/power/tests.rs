//! The whole table, and its promises.

use super::*;

fn every_sight() -> Vec<PowerSight> {
    let mut domains = vec![DomainSight::Unknown, DomainSight::Absent];
    for power in PowerState::ALL.iter().copied() {
        for mark in [
            Mark::Foreign,
            Mark::Ours(Epoch::new(1)),
            Mark::Ours(Epoch::new(2)),
            Mark::Ours(Epoch::new(3)),
        ] {
            domains.push(DomainSight::Present { power, mark });
        }
    }
    let mut all = Vec::new();
    for occasion in Occasion::ALL.iter().copied() {
        for standing in Standing::ALL.iter().copied() {
            for held in [None, Some(Epoch::new(2))] {
                for wanted in WantedPower::ALL.iter().copied().map(Some).chain([None]) {
                    for domain in domains.iter().copied() {
                        for other in OtherHolder::ALL.iter().copied() {
                            all.push(PowerSight {
                                occasion,
                                standing,
                                held,
                                wanted,
                                domain,
                                other,
                            });
                        }
                    }
                }
            }
        }
    }
    all
}

#[test]
fn nothing_is_started_or_stopped_without_proof() {
    for sight in every_sight() {
        match decide_start(sight) {
            BootDecision::Start => {
                assert_eq!(sight.standing, Standing::Settled, "{sight:?}");
                assert!(
                    sight.held.is_some() && sight.wanted == Some(WantedPower::On),
                    "{sight:?}"
                );
                assert_eq!(sight.occasion, Occasion::HostBoot, "{sight:?}");
                let foreign = matches!(
                    sight.domain,
                    DomainSight::Present {
                        mark: Mark::Foreign,
                        ..
                    }
                );
                assert!(!foreign && sight.domain != DomainSight::Unknown, "{sight:?}");
            }
            BootDecision::Stop => {
                assert_eq!(
                    (sight.standing, sight.held),
                    (Standing::Settled, None),
                    "{sight:?}"
                );
                assert_eq!(sight.other, OtherHolder::Proven, "{sight:?}");
                let ours = matches!(
                    sight.domain,
                    DomainSight::Present {
                        mark: Mark::Ours(_),
                        ..
                    }
                );
                assert!(ours, "{sight:?}");
            }
            BootDecision::LookAgain => assert_eq!(sight.domain, DomainSight::Unknown, "{sight:?}"),
            BootDecision::FollowHandover => assert_eq!(sight.standing, Standing::HandingOver, "{sight:?}"),
            BootDecision::FollowOperation => assert_eq!(sight.standing, Standing::Busy, "{sight:?}"),
            BootDecision::Leave | BootDecision::Report(_) => {}
        }
    }
}

#[test]
fn known_situations() {
    let on = DomainSight::Present {
        power: PowerState::Running,
        mark: Mark::Ours(Epoch::new(2)),
    };
    let off = DomainSight::Present {
        power: PowerState::Shutdown,
        mark: Mark::Ours(Epoch::new(2)),
    };
    let base = PowerSight {
        occasion: Occasion::HostBoot,
        standing: Standing::Settled,
        held: Some(Epoch::new(2)),
        wanted: Some(WantedPower::On),
        domain: off,
        other: OtherHolder::NotProven,
    };
    let report = BootDecision::Report;
    let table = [
        ("the host booted", base, BootDecision::Start),
        (
            "the host booted, definition lost",
            PowerSight {
                domain: DomainSight::Absent,
                ..base
            },
            BootDecision::Start,
        ),
        (
            "wanted off",
            PowerSight {
                wanted: Some(WantedPower::Off),
                ..base
            },
            BootDecision::Leave,
        ),
        (
            "halted from inside",
            PowerSight {
                occasion: Occasion::Reconcile,
                ..base
            },
            report(Finding::PowerDrift),
        ),
        (
            "undefined by hand",
            PowerSight {
                occasion: Occasion::Reconcile,
                domain: DomainSight::Absent,
                ..base
            },
            report(Finding::DomainGone),
        ),
        (
            "running as it shall",
            PowerSight { domain: on, ..base },
            BootDecision::Leave,
        ),
        (
            "libvirt silent",
            PowerSight {
                domain: DomainSight::Unknown,
                ..base
            },
            BootDecision::LookAgain,
        ),
        (
            "log lost",
            PowerSight {
                standing: Standing::Void,
                domain: on,
                ..base
            },
            report(Finding::EpochsVoid),
        ),
        (
            "virsh start after it went elsewhere",
            PowerSight {
                held: None,
                domain: on,
                other: OtherHolder::Proven,
                ..base
            },
            BootDecision::Stop,
        ),
        (
            "runs, and the log knows nothing",
            PowerSight {
                held: None,
                domain: on,
                ..base
            },
            report(Finding::RunningWithoutEpoch),
        ),
        (
            "virsh migrated it here and went away",
            PowerSight {
                held: None,
                domain: off,
                ..base
            },
            report(Finding::LeftOver),
        ),
        (
            "log restored from an older copy",
            PowerSight {
                held: Some(Epoch::new(1)),
                domain: on,
                ..base
            },
            report(Finding::LaterEpoch),
        ),
    ];
    for (name, sight, decision) in table {
        assert_eq!(decide_start(sight), decision, "{name}");
    }
}
