//! The end of the source's own QEMU, seen ahead of libvirt's final word.
//!
//! libvirt ends the source's QEMU once the destination has taken the guest, and looks every 200 ms whether it has
//! gone (`virProcessKillPainfully`); the guest stands still meanwhile. That it has gone is to be seen at once. It
//! counts only while the connection stands over which the two libvirts speak: one that broke may have lost the
//! answer to libvirt's Finish, after which the guest goes on here, and may end by itself.

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::sync::OnceLock;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks: each is one system call.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The QEMU of a guest that is being migrated away.
#[derive(Debug, Default)]
pub(super) struct OwnProcess {
    process: OnceLock<Pid>,
    disconnected: CancellationToken,
}

impl OwnProcess {
    /// Names the process, before the migration begins.
    pub(super) fn is(&self, process: i32) {
        // A transfer begins once; a second name would be of the same process.
        let _same = self.process.set(Pid::from_raw(process));
    }

    /// Cancelled when the connection of the two libvirts ends.
    pub(super) const fn disconnected(&self) -> &CancellationToken {
        &self.disconnected
    }

    /// Whether it has ended and the migration stands.
    pub(super) fn has_ended(&self) -> bool {
        let gone = |process: &Pid| kill(*process, None) == Err(Errno::ESRCH);
        self.process.get().is_some_and(gone) && !self.disconnected.is_cancelled()
    }

    /// Resolves when [`Self::has_ended`] becomes true; never where that cannot be seen.
    pub(super) async fn ended(&self) {
        while !self.has_ended() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::OwnProcess;
    use std::process::Command;

    fn sleeper() -> (std::process::Child, OwnProcess) {
        let child = Command::new("sleep").arg("600").spawn().expect("a process");
        let process = OwnProcess::default();
        process.is(child.id().try_into().expect("a process number"));
        (child, process)
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_seen() {
        let (mut child, process) = sleeper();
        assert!(!process.has_ended());
        child.kill().expect("our child");
        child.wait().expect("our child");
        process.ended().await;
        assert!(!OwnProcess::default().has_ended(), "of none nothing is known");
    }

    #[test]
    fn it_counts_only_while_the_two_libvirts_are_connected() {
        let (mut child, process) = sleeper();
        process.disconnected().cancel();
        child.kill().expect("our child");
        child.wait().expect("our child");
        assert!(!process.has_ended());
    }
}
