//! What migrations wait for beside room: deletions in the same plan, and servers that they name.

use super::super::ActionKind;
use super::moves_tests::{drain, fleet, moves, plan_of, seated};
use crate::testing::address;
use drover_types::OperationId;

#[test]
fn a_move_without_other_room_waits_for_a_deletion_in_the_same_plan() {
    let servers = [("server.big", 4096), ("server.old", 4096), ("server.tiny", 1024)];
    let mut fleet = fleet(&["n1", "n2"], &servers);
    let seats = [("server.big", "n1"), ("server.old", "n2"), ("server.tiny", "n1")];
    let world = seated(&fleet, &seats);
    drain(&mut fleet, &["n1"]);
    // While the old one stays, only the tiny one would fit: nothing moves.
    let blocked = plan_of(&fleet, &world);
    assert_eq!((moves(&blocked), blocked.blocked.len()), (Vec::new(), 2));

    fleet.servers.remove(&address("server.old"));
    let plan = plan_of(&fleet, &world);
    assert_eq!(plan.blocked, []);
    assert_eq!(moves(&plan), ["server.big n1→n2", "server.tiny n1→n2"]);
    let deletion = plan
        .actions
        .iter()
        .find(|action| matches!(action.kind, ActionKind::DeleteServer { .. }))
        .expect("the old one goes");
    for action in &plan.actions {
        if let ActionKind::Migrate { .. } = action.kind {
            assert!(action.depends_on.contains(&deletion.id), "{}", action.address);
        }
    }
}

#[test]
fn a_move_that_has_room_waits_for_no_deletion() {
    let servers = [("server.big", 4096), ("server.old", 1024)];
    let mut fleet = fleet(&["n1", "n2"], &servers);
    let world = seated(&fleet, &[("server.big", "n1"), ("server.old", "n2")]);
    drain(&mut fleet, &["n1"]);
    fleet.servers.remove(&address("server.old"));
    let plan = plan_of(&fleet, &world);
    let deletions: Vec<OperationId> = plan
        .actions
        .iter()
        .filter(|action| matches!(action.kind, ActionKind::DeleteServer { .. }))
        .map(|action| action.id)
        .collect();
    assert_eq!((moves(&plan).len(), deletions.len()), (1, 1));
    let migration = plan
        .actions
        .iter()
        .find(|action| matches!(action.kind, ActionKind::Migrate { .. }));
    assert!(!migration.expect("it moves").depends_on.contains(&deletions[0]));
}

#[test]
fn who_wants_company_goes_once_the_other_is_there() {
    let servers = [("server.a", 1024), ("server.b", 3072), ("server.c", 4096)];
    let mut fleet = fleet(&["n1", "n2", "n3"], &servers);
    fleet.scheduler.filters.push("SameHostFilter".to_owned());
    fleet.scheduler.filters.push("DifferentHostFilter".to_owned());
    fleet
        .servers
        .get_mut(&address("server.a"))
        .expect("declared")
        .spec
        .hints
        .same_host = [address("server.b")].into();
    let world = seated(
        &fleet,
        &[("server.a", "n1"), ("server.b", "n1"), ("server.c", "n2")],
    );
    drain(&mut fleet, &["n1"]);
    // Alone and first, a would find its company nowhere else.
    let plan = plan_of(&fleet, &world);
    assert_eq!(plan.blocked, []);
    assert_eq!(moves(&plan), ["server.b n1→n3", "server.a n1→n3"]);
    let ids: Vec<OperationId> = plan
        .actions
        .iter()
        .filter(|action| matches!(action.kind, ActionKind::Migrate { .. }))
        .map(|action| action.id)
        .collect();
    let last = plan
        .actions
        .iter()
        .find(|action| action.id == ids[1])
        .expect("there");
    assert!(last.depends_on.contains(&ids[0]));
}
