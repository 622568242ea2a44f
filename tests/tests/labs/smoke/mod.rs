//! The lab itself: are its hosts, its wire and its etcd what the end-to-end tests take them for?

mod wire;

use std::collections::BTreeSet;
use std::io::Seek as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use drover_tests::lab::{
    BROKEN_QEMU, Etcd, Host, Lab, TlsFiles, WAIT_LONG, binary, hold_removal, poll_until, wait_for_line,
};

fn start(hosts: u8, etcd: Etcd) -> Lab {
    Lab::builder()
        .hosts(hosts)
        .etcd(etcd)
        .start()
        .unwrap_or_else(|error| panic!("{}", chain(&error)))
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(|error| error.to_string())
        .collect::<Vec<_>>()
        .join(": ")
}

fn host_uuid(host: &Host) -> String {
    let xml = host.virsh(&["capabilities"]).expect("libvirtd answers");
    let (_, rest) = xml.split_once("<uuid>").expect("capabilities name the host");
    rest.split_once("</uuid>")
        .expect("the element is closed")
        .0
        .to_owned()
}

#[test]
fn hosts_are_separate_machines_and_boot_the_guest_image() {
    let lab = start(2, Etcd::None);
    let (n1, n2) = (lab.host("n1"), lab.host("n2"));

    let uuids: BTreeSet<String> = lab.hosts().iter().map(host_uuid).collect();
    assert_eq!(
        uuids.len(),
        2,
        "libvirt migrates only between different host uuids: {uuids:?}"
    );
    for host in [n1, n2] {
        assert_eq!(host.run("hostname", [] as [&str; 0]).unwrap().trim(), host.name());
        assert_eq!(host.listening_tcp_ports().unwrap(), Vec::<u16>::new());
    }

    let begin = Instant::now();
    let guest = lab.start_plain_guest(n1, "plain").unwrap();
    guest.wait_ready(n1, WAIT_LONG).unwrap();
    println!(
        "the guest was up {:.1} s after it was asked for",
        begin.elapsed().as_secs_f64()
    );
    wait_for_line(&guest.console(n1), "drover-guest: count=2 ", WAIT_LONG).unwrap();
    assert_eq!(n1.virsh(&["list", "--name"]).unwrap().trim(), "plain");
    assert_eq!(n2.virsh(&["list", "--all", "--name"]).unwrap().trim(), "");

    // A guest outlives its libvirtd, and is known again afterwards.
    n1.kill_libvirtd().unwrap();
    n1.start_libvirtd().unwrap();
    assert_eq!(n1.virsh(&["domstate", "plain"]).unwrap().trim(), "running");
    n1.virsh(&["shutdown", "plain"]).unwrap();
    wait_for_line(&guest.console(n1), "drover-guest: powering off", WAIT_LONG).unwrap();
    poll_until("the guest's end", WAIT_LONG, || {
        n1.virsh(&["list", "--all", "--name"])
            .unwrap()
            .trim()
            .is_empty()
            .then_some(())
    })
    .unwrap();
}

#[test]
fn etcd_answers_over_tls_and_survives_one_member() {
    let lab = start(1, Etcd::Three);
    let etcd = lab.etcd();
    etcd.etcdctl(&["put", "/lab/key", "value"]).unwrap();
    etcd.stop_member(2).unwrap();
    let value = etcd.etcdctl(&["get", "--print-value-only", "/lab/key"]).unwrap();
    assert_eq!(value.trim(), "value");
    etcd.start_member(2).unwrap();

    // Without a certificate there is no answer.
    let mut curl = lab.client_command("curl");
    let url = format!("{}/health", etcd.endpoints()[0]);
    curl.args(["--silent", "--show-error", "--max-time", "5"])
        .arg("--cacert")
        .arg(etcd.ca_file())
        .arg(&url);
    assert!(
        !curl.output().unwrap().status.success(),
        "etcd answered a client without a certificate"
    );
    let files = etcd.client_files();
    curl.arg("--cert")
        .arg(files.cert_file)
        .arg("--key")
        .arg(files.key_file);
    let answer = curl.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout), r#"{"health":"true"}"#);
}

#[test]
fn nothing_remains_of_a_lab_that_was_dropped() {
    let lab = start(1, Etcd::Single);
    let id = lab.id().to_owned();
    let directory = lab.directory().to_owned();
    let mut client = lab.client_command("sleep").arg("1000").spawn().unwrap();
    let own_bridge = "/sys/class/net/lab0";
    assert!(
        !Path::new(own_bridge).exists(),
        "the bridge is in the lab's namespace alone"
    );
    let before: Vec<_> = lab.host("n1").processes();
    assert!(
        before.iter().any(|process| process.command.contains("libvirtd")),
        "{before:?}"
    );

    drop(lab);
    assert!(!directory.exists());
    assert!(!Lab::ids().unwrap().contains(&id));
    assert!(before.iter().all(|process| !process.process.is_alive()));
    let status = client.wait().unwrap();
    assert!(
        !status.success(),
        "a command in the client's network ends with the lab"
    );
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(&id), "{mounts}");
    let left = processes_that_mention(&id);
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn a_lab_whose_owner_was_killed_is_removed_by_the_next() {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_drover-lab"));
    owner
        .args(["up", "--hosts", "1", "--etcd", "0", "--foreground", "--no-agents"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut owner = owner.spawn().unwrap();
    let id = poll_until("the lab of another process", WAIT_LONG, || {
        Lab::ids().unwrap().into_iter().find(|id| {
            Lab::attach(id).is_ok_and(|lab| {
                lab.owner() == Some(owner.id())
                    && lab
                        .hosts()
                        .first()
                        .is_some_and(|host| host.libvirt_socket().exists())
            })
        })
    })
    .unwrap();
    let directory = Lab::attach(&id).unwrap().directory().to_owned();
    // Nobody else's lab may be the next.
    let lock = hold_removal().unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();

    // The hosts end by themselves; what is left is files.
    poll_until("the end of its processes", WAIT_LONG, || {
        processes_that_mention(&id).is_empty().then_some(())
    })
    .unwrap();
    assert!(directory.exists());
    drop(lock);
    let lab = start(1, Etcd::None);
    assert!(!directory.exists());
    assert!(!Lab::ids().unwrap().contains(&id));
    drop(lab);
}

/// Takes a lab down whatever becomes of the test.
struct ByHand {
    id: String,
    directory: PathBuf,
}

impl ByHand {
    /// Runs a command to its end; what stays in the background must not hold up who reads what it printed.
    fn said(command: &mut Command) -> String {
        let mut printed = tempfile::tempfile().expect("a file");
        let status = command
            .stdout(printed.try_clone().expect("a descriptor"))
            .status()
            .expect("the program starts");
        printed.rewind().expect("a file");
        let text = std::io::read_to_string(printed).expect("it is text");
        assert!(status.success(), "{command:?}: {status}\n{text}");
        text
    }

    fn up() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drover-lab"));
        let said = Self::said(command.args(["up", "--hosts", "2", "--etcd", "1"]));
        let id = said.strip_prefix("lab ").and_then(|rest| rest.split(' ').next());
        let id = id.unwrap_or_else(|| panic!("no lab is named: {said}")).to_owned();
        assert!(
            said.contains(&format!("eval \"$(drover-lab env {id})\"")),
            "{said}"
        );
        let lab = Lab::attach(&id).expect("it is up");
        assert_eq!(lab.owner(), None, "it outlives the program");
        Self {
            directory: lab.directory().to_owned(),
            id,
        }
    }

    fn down(&self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drover-lab"));
        Self::said(command.args(["down", &self.id]));
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        if Lab::ids().is_ok_and(|ids| ids.contains(&self.id)) {
            self.down();
        }
    }
}

#[test]
fn a_lab_to_explore_by_hand() {
    let lab = ByHand::up();
    let program = env!("CARGO_BIN_EXE_drover-lab");
    // As the program says that it is used.
    let lines = format!(
        "eval \"$({program} env {id})\"\ndrover -C \"$DROVER_LAB_DIR/fleet\" plan\nn1 virsh list --all\netcdctl endpoint \
         health 2>&1\n{program} exec n2 -- hostname\n",
        id = lab.id
    );
    let said = ByHand::said(Command::new("sh").args(["-ec", &lines]));
    for expected in ["Plan: 2 to create", "is healthy", "\nn2\n"] {
        assert!(said.contains(expected), "{expected:?} in {said}");
    }
    lab.down();
    assert!(!lab.directory.exists());
    assert!(!Lab::ids().unwrap().contains(&lab.id));
    let left = processes_that_mention(&lab.id);
    assert!(left.is_empty(), "left behind: {left:?}");
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(&lab.id), "{mounts}");
}

fn processes_that_mention(id: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
    entries
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .bytes()
                .all(|byte| byte.is_ascii_digit())
        })
        .filter_map(|entry| {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let holds = |text: &[u8]| String::from_utf8_lossy(text).contains(id);
            (holds(&environment) || holds(&command))
                .then(|| String::from_utf8_lossy(&command).replace('\0', " "))
        })
        .collect()
}

#[test]
fn a_second_running_copy_is_seen_and_a_paused_one_is_not() {
    let lab = start(2, Etcd::None);
    let (n1, n2) = (lab.host("n1"), lab.host("n2"));
    let first = lab.start_plain_guest(n1, "first").unwrap();
    assert_eq!(lab.wait_running_on_one(&first.uuid).unwrap(), "n1");
    assert_eq!(n1.qemu_processes(&first.uuid).len(), 1);
    assert_eq!(n2.domain_state(&first.uuid).unwrap(), None);

    let watch = lab.watch_copies(&first.uuid);
    lab.start_plain_guest_as(n2, "second", &first.uuid).unwrap();
    poll_until("both running", WAIT_LONG, || {
        (lab.running_on(&first.uuid).unwrap() == ["n1", "n2"]).then_some(())
    })
    .unwrap();
    // The round under way may have asked n2 before; the next sees both.
    let before = watch.rounds();
    poll_until("a round with both running", WAIT_LONG, || {
        (watch.rounds() >= before + 2).then_some(())
    })
    .unwrap();
    n2.virsh(&["suspend", "second"]).unwrap();
    let seen = watch.finish();
    assert_eq!(n2.domain_state(&first.uuid).unwrap().as_deref(), Some("paused"));
    assert!(
        seen.doubles.contains(&("n1".to_owned(), "n2".to_owned())),
        "{seen:?}"
    );

    let watch = lab.watch_copies(&first.uuid);
    n1.kill_libvirtd().unwrap();
    assert_eq!(
        n1.qemu_processes(&first.uuid).len(),
        1,
        "the guest outlives its libvirtd"
    );
    // The round under way may have asked n1 before.
    let before = watch.rounds();
    poll_until("a round without n1", WAIT_LONG, || {
        (watch.rounds() >= before + 2).then_some(())
    })
    .unwrap();
    n1.start_libvirtd().unwrap();
    let seen = watch.finish();
    assert_eq!(seen.doubles, Vec::new());
    assert!(seen.unanswered > 0, "{seen:?}");
}

#[test]
fn a_broken_qemu_starts_no_guest_and_a_lost_power_ends_all() {
    let lab = start(1, Etcd::None);
    let n1 = lab.host("n1");
    n1.break_qemu().unwrap();
    let error = lab.start_plain_guest(n1, "broken").unwrap_err();
    assert!(error.to_string().contains(BROKEN_QEMU), "{error}");
    n1.mend_qemu().unwrap();

    let guest = lab.start_plain_guest(n1, "mended").unwrap();
    guest.wait_ready(n1, WAIT_LONG).unwrap();
    n1.lose_power().unwrap();
    assert!(n1.is_up() && n1.qemu_processes(&guest.uuid).is_empty());
    n1.start_libvirtd().unwrap();
    assert_eq!(
        n1.domain_state(&guest.uuid).unwrap(),
        None,
        "a transient domain is forgotten"
    );
    assert!(guest.disk(n1).exists());
}

#[test]
fn without_root_the_lab_says_that_it_needs_root() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("drover-lab");
    std::fs::copy(env!("CARGO_BIN_EXE_drover-lab"), &program).unwrap();
    // Nobody may not enter the directories of the one who builds.
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut nobody = Command::new("setpriv");
    nobody
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&program);
    let output = nobody.args(["up", "--hosts", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("drover-lab: the lab needs root"), "{stderr}");
}

#[test]
fn certificates_are_issued_by_drover_pki() {
    let lab = start(1, Etcd::None);
    let issued = lab.pki().unwrap().issue("agent", "n1").unwrap();
    assert_eq!(identity(&issued), "spiffe://lab/agent/n1");
    let foreign = lab
        .another_pki("other-pki", "other")
        .unwrap()
        .issue("operator", "eve")
        .unwrap();
    assert_eq!(identity(&foreign), "spiffe://other/operator/eve");
    assert_ne!(
        std::fs::read(&issued.ca_file).unwrap(),
        std::fs::read(&foreign.ca_file).unwrap()
    );
}

fn identity(files: &TlsFiles) -> String {
    let mut show = Command::new(binary("drover").expect("drover is built"));
    show.args(["pki", "show", "--json"]).arg(&files.cert_file);
    let output = show.output().expect("drover can be run");
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("--json prints JSON");
    shown["identity"]
        .as_str()
        .expect("the certificate has an identity")
        .to_owned()
}
