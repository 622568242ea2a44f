//! A live migration by Drover, all of it through the agents' mutual TLS, against `virsh migrate` over plain
//! TCP: the time of the whole command, and how long the guest stood still.

use crate::Failed;
use crate::fleet::Fleet;
use crate::table::{Allowed, Row, Times};
use drover_tests::lab::{WAIT_LONG, last_count, poll_until, wait_for_line};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An even number, so that both ways are taken equally often.
const ROUNDS: usize = 6;

pub(crate) fn measure(fleet: &Fleet<'_>) -> Result<Vec<Row>, Failed> {
    let (mut raw, mut raw_stall) = (Times::default(), Times::default());
    let (mut drover, mut drover_stall) = (Times::default(), Times::default());
    by_virsh(fleet, &mut raw, &mut raw_stall)?;
    by_drover(fleet, &mut drover, &mut drover_stall)?;
    Ok(vec![
        Row::Ratio {
            what: "live migration, the whole command",
            drover,
            raw,
            allowed: Allowed {
                factor: 1.5,
                plus: Duration::ZERO,
            },
        },
        Row::Ratio {
            what: "the stall that the guest shows",
            drover: drover_stall,
            raw: raw_stall,
            allowed: Allowed {
                factor: 1.0,
                plus: Duration::from_millis(100),
            },
        },
    ])
}

fn by_virsh(fleet: &Fleet<'_>, times: &mut Times, stalls: &mut Times) -> Result<(), Failed> {
    let (n1, n2) = (fleet.lab.host("n1"), fleet.lab.host("n2"));
    n1.expose_libvirtd()?;
    n2.expose_libvirtd()?;
    let guest = fleet.lab.start_plain_guest(n1, "plain")?;
    guest.wait_ready(n1, WAIT_LONG)?;
    let (mut from, mut to) = (n1, n2);
    for round in 0..=ROUNDS {
        let watch = Watch::start(guest.console(from), guest.console(to))?;
        let took = fleet.lab.migrate_plain_guest(&guest, from, to)?;
        let stall = watch.finish()?;
        if round > 0 {
            times.push(took);
            stalls.push(stall);
        }
        (from, to) = (to, from);
    }
    from.virsh(&["destroy", &guest.name])?;
    for host in [n1, n2] {
        host.kill_libvirtd()?;
        host.start_libvirtd()?;
    }
    for host in fleet.lab.hosts() {
        poll_until("an inventory with the new libvirtd", WAIT_LONG, || {
            fleet.drover(&["plan"]).ok().filter(|_| host.is_up())
        })?;
    }
    Ok(())
}

fn by_drover(fleet: &Fleet<'_>, times: &mut Times, stalls: &mut Times) -> Result<(), Failed> {
    fleet.drover(&["apply", "--auto-approve", "--var", "moved=1"])?;
    let address = "server.moved[0]";
    let (id, mut from) = fleet.server(address)?;
    let console = |host| fleet.server_folder(host, &id).join("console.log");
    wait_for_line(&console(from), "drover-guest: ready", WAIT_LONG)?;
    for round in 0..=ROUNDS {
        let to = fleet.lab.host(if from.name() == "n1" { "n2" } else { "n1" });
        let watch = Watch::start(console(from), console(to))?;
        let arguments = [
            "server",
            "migrate",
            address,
            "--to",
            to.name(),
            "--auto-approve",
            "--var",
            "moved=1",
        ];
        let took = fleet.drover(&arguments)?.took;
        let stall = watch.finish()?;
        if round > 0 {
            times.push(took);
            stalls.push(stall);
        }
        from = to;
    }
    fleet.drover(&["apply", "--auto-approve"])?;
    Ok(())
}

/// Sees when a guest's count goes on, on whichever of two consoles. Its clock stands still with it, so a
/// stall makes one of its seconds longer, seen from here.
struct Watch {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Instant>>,
    consoles: [PathBuf; 2],
}

impl Watch {
    fn start(from: PathBuf, to: PathBuf) -> Result<Self, Failed> {
        // What an earlier stay left there would hide the new lines.
        match std::fs::remove_file(&to) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let ended = Arc::new(AtomicBool::new(false));
        let consoles = [from, to];
        let thread = {
            let (ended, consoles) = (ended.clone(), consoles.clone());
            std::thread::spawn(move || watch(&ended, &consoles))
        };
        let watch = Self {
            ended,
            thread,
            consoles,
        };
        // Some whole seconds of rest first: they say what a second takes on this machine.
        watch.wait_counts(4)?;
        Ok(watch)
    }

    fn wait_counts(&self, more: u64) -> Result<(), Failed> {
        let begin = count(&self.consoles);
        poll_until("the guest to count on", WAIT_LONG, || {
            (count(&self.consoles) >= begin + more).then_some(())
        })?;
        Ok(())
    }

    /// The longest second less the median one.
    fn finish(self) -> Result<Duration, Failed> {
        self.wait_counts(3)?;
        self.ended.store(true, Ordering::Relaxed);
        let seen = self.thread.join().map_err(|_| "the watch ended badly")?;
        let mut seconds = Times::default();
        let mut longest = Duration::ZERO;
        for pair in seen.windows(2) {
            let second = pair[1] - pair[0];
            seconds.push(second);
            longest = longest.max(second);
        }
        Ok(longest.saturating_sub(seconds.median()))
    }
}

fn count(consoles: &[PathBuf; 2]) -> u64 {
    consoles
        .iter()
        .filter_map(|console: &PathBuf| last_count(Path::new(console)))
        .max()
        .unwrap_or(0)
}

fn watch(ended: &AtomicBool, consoles: &[PathBuf; 2]) -> Vec<Instant> {
    let length = |path: &PathBuf| std::fs::metadata(path).map_or(0, |data| data.len());
    let mut lengths = consoles.each_ref().map(length);
    let mut highest = count(consoles);
    let mut seen = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(2));
        let now = consoles.each_ref().map(length);
        if now != lengths {
            lengths = now;
            let reached = count(consoles);
            if reached > highest {
                highest = reached;
                seen.push(Instant::now());
            }
        }
    }
    seen
}
