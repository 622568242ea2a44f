//! The operation log as a file: one owner thread appends, syncs and compacts; everybody else sends it
//! decisions. What the records mean is `drover_agent_core::oplog`'s.
//!
//! Order within one transaction: decide on the present state, check that the records follow from it, write,
//! sync, only then change the state and answer. So what an answer says is on disk.

mod file;

pub use file::{AppendError, LogFile, OpenError};

use drover_agent_core::oplog::{Record, State};
use tokio::sync::{mpsc, oneshot, watch};

/// Transactions waiting for the owner thread. Each takes one sync; callers beyond this wait to send.
const WAITING: usize = 64;

type Job = Box<dyn FnOnce(&mut LogFile) + Send>;

/// A handle on the open operation log; the file is closed and unlocked when the last one is gone.
#[derive(Debug, Clone)]
pub struct OperationLog {
    jobs: mpsc::Sender<Job>,
    broken: watch::Receiver<bool>,
}

impl OperationLog {
    /// Gives the file to its own thread.
    ///
    /// # Errors
    /// Where the system starts no thread.
    pub fn start(mut file: LogFile) -> std::io::Result<Self> {
        let (jobs, mut waiting) = mpsc::channel::<Job>(WAITING);
        let (tell_broken, broken) = watch::channel(false);
        std::thread::Builder::new()
            .name("operation-log".to_owned())
            .spawn(move || {
                while let Some(job) = waiting.blocking_recv() {
                    job(&mut file);
                    if file.is_broken() {
                        tell_broken.send_replace(true);
                    }
                }
            })?;
        Ok(Self { jobs, broken })
    }

    /// Looks at the state.
    ///
    /// # Errors
    /// [`AppendError::Closed`] where the owner thread is gone.
    pub async fn read<T, F>(&self, look: F) -> Result<T, AppendError>
    where
        T: Send + 'static,
        F: FnOnce(&State) -> T + Send + 'static,
    {
        self.send(|file| look(file.state())).await
    }

    /// Decides on the present state and appends what was decided; nothing comes between the two. The answer
    /// comes after the sync.
    ///
    /// # Errors
    /// [`AppendError`]; the records are then not in the log and the state is as before.
    pub async fn transact<T, F>(&self, decide: F) -> Result<T, AppendError>
    where
        T: Send + 'static,
        F: FnOnce(&State) -> (Vec<Record>, T) + Send + 'static,
    {
        self.transact_then(decide, |_| ()).await
    }

    /// As [`Self::transact`]; `then` runs after the sync and before any later transaction decides.
    ///
    /// # Errors
    /// As [`Self::transact`]; `then` has not run.
    pub async fn transact_then<T, F, G>(&self, decide: F, then: G) -> Result<T, AppendError>
    where
        T: Send + 'static,
        F: FnOnce(&State) -> (Vec<Record>, T) + Send + 'static,
        G: FnOnce(&T) + Send + 'static,
    {
        self.send(|file| {
            let (records, answer) = decide(file.state());
            file.append(&records)?;
            then(&answer);
            Ok(answer)
        })
        .await?
    }

    /// Appends records that need no look at the state.
    ///
    /// # Errors
    /// As [`Self::transact`].
    pub async fn append(&self, records: Vec<Record>) -> Result<(), AppendError> {
        self.transact(|_| (records, ())).await
    }

    /// Resolves once the log can no longer be trusted to take records; the agent must then end.
    pub async fn broken(&self) {
        let mut broken = self.broken.clone();
        // An error means that the thread ended, which is as bad.
        let _ended = broken.wait_for(|broken| *broken).await;
    }

    async fn send<T, F>(&self, work: F) -> Result<T, AppendError>
    where
        T: Send + 'static,
        F: FnOnce(&mut LogFile) -> T + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |file| {
            // The asker may be gone; what was decided stands all the same.
            let _unheard = answer.send(work(file));
        });
        self.jobs.send(job).await.map_err(|_| AppendError::Closed)?;
        answered.await.map_err(|_| AppendError::Closed)
    }
}

#[cfg(test)]
mod tests;
