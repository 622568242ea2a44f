//! The steps that all work on a server is made of: look, define, start, end, remove. Each succeeds where
//! things are as they shall be.

use super::directory::{DirectoryError, ServerDirectory, ServerFile};
use super::disk::{self, DiskError};
use super::failure::WorkError;
use super::found::{Definition, FoundDirectory, FoundServer, Kept, kept};
use crate::agent::Agent;
use crate::hypervisor::{DomainReport, DomainState, Hypervisor, HypervisorError};
use crate::operations::OperationHandle;
use drover_agent_core::domain::{DomainMetadata, render, render_marks};
use drover_proto::v1;
use drover_types::{Epoch, PowerState, ServerId};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks at a guest that was asked to shut down, where libvirt's events do not come.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Between two looks whether libvirt answers.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A guest may miss the button while it boots, so it is pressed again.
const PRESS_EVERY: Duration = Duration::from_secs(5);

/// One server on this host.
pub(crate) struct ServerHere<'a> {
    agent: &'a Agent,
    server: ServerId,
}

impl<'a> ServerHere<'a> {
    pub(crate) const fn new(agent: &'a Agent, server: ServerId) -> Self {
        Self { agent, server }
    }

    pub(crate) const fn id(&self) -> ServerId {
        self.server
    }

    pub(crate) fn directory(&self) -> ServerDirectory {
        ServerDirectory::new(&self.agent.config.servers_dir(), self.server)
    }

    async fn call<T: Send + 'static>(
        &self,
        attempt: &'static str,
        call: impl FnOnce(&dyn Hypervisor) -> Result<T, HypervisorError> + Send + 'static,
    ) -> Result<T, WorkError> {
        let server = self.server;
        self.agent
            .hypervisor
            .run(attempt, call)
            .await
            .map_err(|source| WorkError::Hypervisor {
                attempt,
                server,
                source,
            })
    }

    /// Waits until libvirt answers, for work that cannot be left as it is and must look first.
    pub(crate) async fn until_libvirt_answers(&self, operation: &OperationHandle) {
        let mut looks = tokio::time::interval(ASK_EVERY);
        loop {
            looks.tick().await;
            let hypervisor = &self.agent.hypervisor;
            let answer = hypervisor.run("describing the host", |h| h.host()).await;
            match answer {
                Err(error) if error.is_unavailable() => operation.phase("waiting for libvirt"),
                Ok(_) | Err(_) => return,
            }
        }
    }

    pub(crate) async fn state(&self) -> Result<Option<DomainState>, WorkError> {
        let server = self.server;
        self.call("look at", move |h| h.state(server)).await
    }

    pub(crate) async fn report(&self) -> Result<Option<DomainReport>, WorkError> {
        let server = self.server;
        self.call("look at", move |h| h.domain(server)).await
    }

    pub(crate) async fn is_active(&self) -> Result<bool, WorkError> {
        Ok(self.state().await?.is_some_and(DomainState::is_active))
    }

    /// Runs a short piece of file work on a blocking thread.
    async fn files<T: Send + 'static>(
        &self,
        work: impl FnOnce(ServerDirectory) -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, WorkError> {
        let (server, directory) = (self.server, self.directory());
        tokio::task::spawn_blocking(move || work(directory))
            .await
            .expect("file work does not panic and is not aborted")
            .map_err(|source| WorkError::Directory { server, source })
    }

    pub(crate) async fn make_directory(&self) -> Result<(), WorkError> {
        self.files(|directory| directory.make()).await
    }

    pub(crate) async fn write_file(&self, file: ServerFile) -> Result<(), WorkError> {
        self.files(move |directory| directory.write(&file)).await
    }

    /// What is kept of the server; nothing of one whose disks alone are left.
    pub(crate) async fn kept(&self) -> Result<Option<Kept>, WorkError> {
        Ok(self.remains().await?.filter(|kept| match kept {
            Kept::Made(_) => true,
            Kept::Found(found) => !found.destroyed,
        }))
    }

    /// The same, of one that was taken over and destroyed too.
    pub(crate) async fn remains(&self) -> Result<Option<Kept>, WorkError> {
        let (data_dir, server) = (self.agent.config.data_dir.clone(), self.server);
        self.files(move |directory| kept(&data_dir, &directory, server))
            .await
    }

    /// What is kept of the server, which must be there.
    pub(crate) async fn record(&self) -> Result<Kept, WorkError> {
        self.kept().await?.ok_or_else(|| self.lacks("none"))
    }

    /// The record of a server that Drover made, which must be there.
    pub(crate) async fn file(&self) -> Result<ServerFile, WorkError> {
        match self.kept().await? {
            Some(Kept::Made(file)) => Ok(*file),
            Some(Kept::Found(_)) => Err(self.lacks("one of a server that was taken over as it was found")),
            None => Err(self.lacks("none")),
        }
    }

    fn lacks(&self, found: &str) -> WorkError {
        WorkError::Conflict {
            server: self.server,
            expected: "the server's record in its directory",
            found: found.to_owned(),
        }
    }

    fn found_directory(&self) -> FoundDirectory {
        FoundDirectory::new(&self.agent.config.data_dir, self.server)
    }

    pub(crate) async fn write_found(&self, server: FoundServer) -> Result<(), WorkError> {
        let found = self.found_directory();
        self.files(move |_| found.write(&server)).await
    }

    /// Forgets a server that was taken over and is nobody's again.
    pub(crate) async fn forget_found(&self) -> Result<(), WorkError> {
        let found = self.found_directory();
        self.files(move |_| found.forget(Definition::Goes)).await
    }

    /// Makes way for a server of the same id. What it would overwrite must not be a disk that is to be kept.
    pub(crate) async fn make_way(&self) -> Result<(), WorkError> {
        match self.remains().await? {
            Some(Kept::Found(found)) if found.destroyed => {}
            Some(Kept::Found(_)) => {
                return Err(self.lacks("one of a server that was taken over as it was found"));
            }
            Some(Kept::Made(_)) | None => return Ok(()),
        }
        let disk = self.directory().disk();
        if disk.exists() {
            return Err(WorkError::Conflict {
                server: self.server,
                expected: "room for the server's disk",
                found: format!(
                    "{}, a disk of the server that was taken over and destroyed; move it away",
                    disk.display()
                ),
            });
        }
        let found = self.found_directory();
        self.files(move |_| found.forget(Definition::Stays)).await
    }

    pub(crate) async fn remove_directory(&self) -> Result<(), WorkError> {
        self.files(|directory| directory.remove()).await
    }

    /// Makes the root disk as large as it is to be: by QEMU where the guest runs, in its file otherwise.
    pub(crate) async fn grow_disk(&self, file: &ServerFile) -> Result<(), WorkError> {
        let server = self.server;
        let failed = |source| WorkError::Disk { server, source };
        let Some(root) = file.spec.disks.first() else {
            return Ok(());
        };
        let (path, target, wanted) = (Path::new(root.file.as_str()), root.target, file.disk_bytes);
        let found = disk::virtual_size(path).await.map_err(failed)?;
        if wanted < found {
            return Err(failed(DiskError::WouldShrink {
                disk_bytes: wanted,
                found_bytes: found,
            }));
        }
        if wanted == found {
            return Ok(());
        }
        if self.is_active().await? {
            let target = target.to_string();
            self.call("grow the disk of", move |h| h.grow_disk(server, &target, wanted))
                .await
        } else {
            disk::grow(path, wanted).await.map_err(failed)
        }
    }

    pub(crate) async fn define(&self, file: &ServerFile) -> Result<(), WorkError> {
        self.define_xml(render(&file.spec)).await
    }

    pub(crate) async fn define_xml(&self, xml: String) -> Result<(), WorkError> {
        let server = self.server;
        self.call("define the domain of", move |h| h.define(server, &xml))
            .await
    }

    /// The definition with its secrets; none of a transient domain.
    pub(crate) async fn definition(&self) -> Result<Option<String>, WorkError> {
        let server = self.server;
        self.call("read the definition of", move |h| h.definition(server))
            .await
    }

    pub(crate) async fn autostart(&self) -> Result<bool, WorkError> {
        let server = self.server;
        self.call("look at the autostart of", move |h| h.autostart(server))
            .await
    }

    pub(crate) async fn set_autostart(&self, autostart: bool) -> Result<(), WorkError> {
        let server = self.server;
        self.call("set the autostart of", move |h| {
            h.set_autostart(server, autostart)
        })
        .await
    }

    /// Writes our mark into the domain, running and defined.
    pub(crate) async fn mark(&self, mark: &DomainMetadata) -> Result<(), WorkError> {
        let (server, marks) = (self.server, live_marks(&render_marks(mark)));
        self.call("mark the domain of", move |h| h.mark(server, &marks))
            .await
    }

    /// Takes the mark away from a server that was taken over, and has libvirt start it as before.
    pub(crate) async fn release_found(&self, found: &FoundServer) -> Result<(), WorkError> {
        if self.state().await?.is_none() {
            return Ok(());
        }
        if found.autostart {
            self.set_autostart(true).await?;
        }
        self.release().await
    }

    pub(crate) async fn undefine_keeping_nvram(&self) -> Result<(), WorkError> {
        let server = self.server;
        self.call("undefine the domain of", move |h| {
            h.undefine_keeping_nvram(server)
        })
        .await
    }

    /// Gives a running domain the marks that its next start would have.
    pub(crate) async fn mark_live(&self, file: &ServerFile) -> Result<(), WorkError> {
        let (server, marks) = (self.server, live_marks(&render(&file.spec)));
        self.call("mark the domain of", move |h| h.set_marks(server, &marks))
            .await
    }

    /// Takes the marks away. Guest, domain and directory stay: its disk stands on an image of the cache, which is
    /// kept as long as the server's record here names it.
    pub(crate) async fn release(&self) -> Result<(), WorkError> {
        let server = self.server;
        match self.state().await? {
            Some(_) => {
                self.call("unmark the domain of", move |h| h.clear_marks(server))
                    .await
            }
            None => Ok(()),
        }
    }

    pub(crate) async fn start(&self) -> Result<(), WorkError> {
        let server = self.server;
        self.call("start", move |h| h.start(server)).await
    }

    pub(crate) async fn pause(&self) -> Result<(), WorkError> {
        let server = self.server;
        self.call("pause", move |h| h.pause(server)).await
    }

    pub(crate) async fn resume(&self) -> Result<(), WorkError> {
        let server = self.server;
        self.call("resume", move |h| h.resume(server)).await
    }

    pub(crate) async fn end(&self) -> Result<(), WorkError> {
        let server = self.server;
        self.call("end", move |h| h.end(server)).await
    }

    pub(crate) async fn undefine(&self) -> Result<(), WorkError> {
        let server = self.server;
        self.call("undefine the domain of", move |h| h.undefine(server))
            .await
    }

    /// Defines the domain if need be, and lets the guest run.
    pub(crate) async fn run(&self) -> Result<(), WorkError> {
        // A guest that stands still after a migration waits for this: its state is asked first, and alone.
        match self.state().await?.map(|state| state.power) {
            Some(PowerState::Running) => return Ok(()),
            Some(PowerState::Paused) => return self.resume().await,
            Some(_) | None => {}
        }
        match self.report().await? {
            Some(domain) if domain.persistent => self.start().await,
            Some(_) | None => {
                self.define_xml(self.record().await?.definition()).await?;
                self.start().await
            }
        }
    }

    /// Asks the guest to shut down, waits for up to `grace` from then on, then ends it.
    pub(crate) async fn shut_down(&self, grace: Duration) -> Result<(), WorkError> {
        let mut deadline = Instant::now() + grace;
        let mut asked = false;
        let mut changes = self.agent.hypervisor.inner().changes();
        let mut press = Instant::now();
        while Instant::now() < deadline {
            let Some(state) = self.state().await?.filter(|state| state.is_active()) else {
                return Ok(());
            };
            if state.power == PowerState::Paused {
                // Standing still it can answer nothing.
                break;
            }
            if Instant::now() >= press {
                let server = self.server;
                self.call("ask the guest to shut down:", move |h| h.ask_shutdown(server))
                    .await?;
                if !asked {
                    // A libvirt that is slow to ask does not shorten what the guest has.
                    asked = true;
                    deadline = Instant::now() + grace;
                }
                press = Instant::now() + PRESS_EVERY;
            }
            changes.mark_unchanged();
            let until = deadline.min(Instant::now() + LOOK_EVERY);
            // A timeout, a change and a closed channel all lead to the next look.
            let _ = tokio::time::timeout_at(until, changes.changed()).await;
        }
        self.end().await?;
        match self.state().await? {
            Some(state) if state.is_active() => Err(WorkError::StillActive {
                server: self.server,
                state: state.power,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Ends the guest and removes domain and directory.
    pub(crate) async fn remove(&self) -> Result<(), WorkError> {
        self.undefine().await?;
        self.end().await?;
        self.remove_directory().await
    }

    /// What the planner records of the server now.
    pub(crate) async fn result(&self, epoch: Epoch) -> Result<v1::ServerResult, WorkError> {
        let state = self.state().await?;
        let kept = self.kept().await?;
        Ok(v1::ServerResult {
            server_id: self.server.to_string(),
            power_state: state
                .map_or(PowerState::Shutdown, |state| state.power)
                .to_string(),
            epoch: epoch.get(),
            frozen: match kept {
                Some(Kept::Made(file)) => Some(super::build::frozen_of(&file.spec, file.base).to_wire()),
                Some(Kept::Found(_)) | None => None,
            },
        })
    }
}

/// Our metadata element without its prefix, as libvirt wants it for a running domain.
fn live_marks(xml: &str) -> String {
    let begin = xml.find("<drover:server");
    let end = xml
        .find("</drover:server>")
        .map(|end| end + "</drover:server>".len());
    let element = begin
        .zip(end)
        .and_then(|(begin, end)| xml.get(begin..end))
        .unwrap_or_default();
    let attribute = format!(" xmlns:drover=\"{}\"", drover_agent_core::domain::NAMESPACE);
    element
        .replace(&attribute, "")
        .replace("<drover:", "<")
        .replace("</drover:", "</")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_of_a_running_domain_lose_their_prefix() {
        let xml = "<domain><metadata><drover:server xmlns:drover=\"urn:drover:domain:1\">\
                   <drover:epoch>3</drover:epoch></drover:server></metadata></domain>";
        assert_eq!(live_marks(xml), "<server><epoch>3</epoch></server>");
        assert_eq!(live_marks("<domain/>"), "");
    }
}
