//! An agent that is killed while it downloads an image.

use crate::faults::fleet::{Fleet, WAIT, blank_file, files, image_block, start_on, wait};
use crate::faults::running::Running;
use drover_tests::lab::Store;
use std::process::Command;

const PORT: u16 = 8080;
const MIB: usize = 12;
const SLOW_MEGABITS: u32 = 8;
const FAST_MEGABITS: u32 = 10_000;

fn servers() -> &'static str {
    r#"flavor "small" {
  vcpus = 1
  ram   = "64MiB"
  disk  = "16MiB"
}

server "web" {
  count  = 2
  flavor = flavor.small
  image  = image.blank
}
"#
}

fn an_agent_killed_in_a_download(store: Store) {
    let lab = start_on(store, 3);
    let mut fleet = Fleet::new(&lab, store);
    let file = blank_file(&lab, MIB);
    let mut httpd = Command::new("busybox");
    httpd.args(["httpd", "-f", "-p", &PORT.to_string(), "-h"]);
    httpd.arg(file.parent().expect("it lies in a directory"));
    lab.client().spawn_daemon("httpd", &httpd).expect("busybox runs");
    wait("the web server", || {
        lab.client()
            .listening_tcp_ports()
            .ok()?
            .contains(&PORT)
            .then_some(())
    });
    let name = file.file_name().expect("a file").to_string_lossy();
    fleet.image = image_block(&format!("http://{}:{PORT}/{name}", lab.client().ip()), &file);
    // Both servers on one host, so that one download serves both.
    let others = [("n2", "state = \"disabled\""), ("n3", "state = \"disabled\"")];
    fleet.configure(&others, servers());
    lab.limit_rate("client", SLOW_MEGABITS)
        .expect("a wire can be slow");

    let n1 = lab.host("n1");
    let mut running = Running::start(fleet.logged(&["apply", "--auto-approve", "--json"]));
    let line = running.wait_for("\"phase\":\"fetching\"", WAIT);
    println!("{line}");
    wait("bytes of the image", || {
        let partial = files(n1, "images/tmp").into_iter().next()?;
        let path = n1.agent_data().join("images/tmp").join(partial);
        (std::fs::metadata(path).ok()?.len() > 1 << 20).then_some(())
    });
    n1.kill_agent().expect("the agent can be killed");
    let partial = files(n1, "images/tmp");
    assert!(!partial.is_empty(), "it was killed in the middle: {partial:?}");
    assert!(files(n1, "images/base").is_empty(), "nothing is in the cache yet");
    lab.limit_rate("client", FAST_MEGABITS)
        .expect("a wire can be fast");
    n1.start_agent().expect("the agent is back");
    wait("the end of what was left of the download", || {
        (files(n1, "images/tmp").is_disjoint(&partial)).then_some(())
    });
    let ended = running.finish(WAIT);
    println!("the apply ended with {:?}\n{}", ended.code, ended.text());
    assert!(matches!(ended.code, Some(0 | 5)), "it ends by itself");
    fleet.apply();
    fleet.expect_settled(&["server.web[0]", "server.web[1]"]);
    assert_eq!(
        files(n1, "images/base")
            .iter()
            .filter(|name| !name.ends_with(".json"))
            .count(),
        1
    );
    fleet.destroy();
    fleet.expect_nothing_left();
}

#[test]
fn an_agent_killed_in_a_download_in_etcd() {
    an_agent_killed_in_a_download(Store::Etcd);
}

#[test]
fn an_agent_killed_in_a_download_in_the_embedded_store() {
    an_agent_killed_in_a_download(Store::Local);
}
