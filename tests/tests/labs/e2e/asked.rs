//! A migration that somebody asks for by name, and what is told while it goes on.

use crate::e2e::apart::servers;
use crate::e2e::drain::moved_whole;
use crate::e2e::fleet::{Fleet, events, of_type};

/// Slow enough that a guest's memory takes several seconds and is dirtied meanwhile.
const SLOW_MEGABITS: u32 = 30;
/// Faster than any copy here: no limit.
const FAST_MEGABITS: u32 = 10_000;

pub(crate) fn a_server_migrates_where_it_was_asked_to(fleet: &Fleet<'_>) {
    let address = "server.web[0]";
    fleet.configure(&[], &servers(2, ""));
    fleet.apply();
    let server = fleet.server(address);
    let other = fleet.server("server.web[1]").host;
    let mut hosts = fleet.lab.hosts().iter();
    let free = hosts.find(|host| host.name() != server.host && host.name() != other);
    let to = free.expect("the lab has a third host").name();
    let before = fleet.wait_count(&server.host, &server, 2);

    // Not without approval, and not where a constraint forbids it.
    fleet.drover(1, &["server", "migrate", address, "--to", to]);
    let refused = fleet.drover(
        1,
        &["server", "migrate", address, "--to", &other, "--auto-approve"],
    );
    assert!(
        refused.stdout.contains("ServerGroupAntiAffinityFilter"),
        "{}",
        refused.stdout
    );
    assert_eq!(fleet.server(address), server);

    fleet
        .lab
        .limit_rate(&server.host, SLOW_MEGABITS)
        .expect("a wire can be slow");
    let watch = fleet.lab.watch_copies(&server.id);
    let told = events(&fleet.drover(
        0,
        &[
            "server",
            "migrate",
            address,
            "--to",
            to,
            "--auto-approve",
            "--json",
        ],
    ));
    fleet
        .lab
        .limit_rate(&server.host, FAST_MEGABITS)
        .expect("a wire can be fast");
    assert_eq!(watch.finish().doubles, Vec::new());
    assert_eq!(fleet.server(address).host, to);
    moved_whole(fleet, &server, to, before);
    fleet.expect_no_changes();

    let change =
        of_type(&told, "planned_change").find(|event| event["change"]["impact"]["class"] == "migrate");
    let change = &change.expect("the migration is shown first")["change"];
    assert_eq!(
        (
            &change["resource"]["addr"],
            &change["migration"]["to"],
            &change["words"]
        ),
        (&address.into(), &to.into(), &"migration was asked for".into()),
        "{change}"
    );
    let progress: Vec<_> = of_type(&told, "apply_progress")
        .map(|event| &event["hook"])
        .collect();
    let number = |hook: &serde_json::Value, key: &str| {
        let number = hook[key].as_u64();
        number.unwrap_or_else(|| panic!("{key} is no number in {hook}"))
    };
    for hook in &progress {
        assert_eq!(hook["resource"]["addr"], address, "{hook}");
        println!(
            "{} ms: {} bytes left, {} bytes/s dirtied",
            number(hook, "elapsed_ms"),
            number(hook, "remaining_bytes"),
            number(hook, "dirty_bytes_per_second")
        );
    }
    for key in [
        "remaining_bytes",
        "dirty_bytes_per_second",
        "elapsed_ms",
        "done_bytes",
    ] {
        assert!(
            progress.iter().any(|hook| number(hook, key) > 0),
            "{key} is told by none of {} events",
            progress.len()
        );
    }
    let left: Vec<u64> = progress
        .iter()
        .map(|hook| number(hook, "remaining_bytes"))
        .filter(|left| *left > 0)
        .collect();
    // The disk comes first, and is smaller than the memory.
    assert!(
        left.len() >= 2 && left.last() < left.iter().max(),
        "less is left as time passes: {left:?}"
    );
}
