//! The fast path chooses what the plain statement of the rules chooses, whatever happened before.

use crate::random_fleet::fleet;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn the_fast_path_chooses_what_the_plain_rules_choose(fleet in fleet(12, 30), leave in 0_usize..6) {
        let mut scheduler = fleet.scheduler();
        let mut placed = Vec::new();
        for (at, request) in fleet.requests.iter().enumerate() {
            let plain = scheduler.explain(request).chosen;
            let fast = scheduler.place(request);
            prop_assert_eq!(&plain, &fast, "server {} of {:?}", request.name, fleet);
            placed.extend(fast.map(|host| (host, request)));
            if leave > 2 && at % leave == 2 && let Some((host, request)) = placed.pop() {
                scheduler.release(&host, request).expect("a known host");
            }
        }
    }

    #[test]
    fn a_server_just_placed_may_stay_and_releasing_undoes_placing(fleet in fleet(6, 10)) {
        let mut scheduler = fleet.scheduler();
        for request in &fleet.requests {
            let before = scheduler.explain(request);
            let Some(host) = scheduler.place(request) else { continue };
            prop_assert_eq!(scheduler.still_fits(&host, request), Ok(Vec::new()));
            scheduler.release(&host, request).expect("a known host");
            prop_assert_eq!(&scheduler.explain(request), &before);
            scheduler.force(&host, request).expect("a known host");
        }
    }

    #[test]
    fn alternates_are_the_next_best_hosts_that_pass(fleet in fleet(6, 10)) {
        let mut scheduler = fleet.scheduler();
        let placed: Vec<_> =
            fleet.requests.iter().filter_map(|request| Some((scheduler.place(request)?, request))).collect();
        for (host, request) in placed {
            let mut without = scheduler.clone();
            without.release(&host, request).expect("a known host");
            let mut expected: Vec<_> = without.explain(request).hosts.into_iter()
                .filter(|verdict| verdict.host != host)
                .filter_map(|verdict| Some((verdict.total?, verdict.host)))
                .collect();
            expected.sort_by(|(a, _), (b, _)| b.total_cmp(a));
            let expected: Vec<_> = expected.into_iter().take(2).map(|(_, host)| host).collect();
            prop_assert_eq!(scheduler.reserve_alternates(&host, request, 2), Ok(expected));
        }
    }
}
