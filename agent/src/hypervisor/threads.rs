//! Runs the hypervisor's blocking calls on blocking threads: a bounded number at a time, each with a deadline.

use super::{Hypervisor, HypervisorError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// libvirtd serves 20 requests at a time by default (`max_workers`); what waits here does not clog it.
const AT_ONCE: usize = 12;

/// Longest time for an ordinary call. A start with several disks takes seconds on a busy host.
const LIMIT: Duration = Duration::from_secs(60);

/// The hypervisor, for async callers.
#[derive(Clone)]
pub struct HypervisorThreads {
    hypervisor: Arc<dyn Hypervisor>,
    permits: Arc<Semaphore>,
}

impl std::fmt::Debug for HypervisorThreads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HypervisorThreads").finish_non_exhaustive()
    }
}

impl HypervisorThreads {
    /// Wraps a hypervisor.
    #[must_use]
    pub fn new(hypervisor: Arc<dyn Hypervisor>) -> Self {
        Self {
            hypervisor,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// The hypervisor itself, for what does not block.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn Hypervisor> {
        &self.hypervisor
    }

    /// Runs a call, named for messages by `attempt`, within the ordinary deadline. A call that is late goes on
    /// in its thread: what it did must be looked up, not assumed.
    ///
    /// # Errors
    /// The call's own, or that it took too long.
    pub async fn run<T, F>(&self, attempt: &'static str, call: F) -> Result<T, HypervisorError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Hypervisor) -> Result<T, HypervisorError> + Send + 'static,
    {
        match tokio::time::timeout(LIMIT, self.run_to_end(attempt, call)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(HypervisorError::TimedOut {
                attempt,
                limit: LIMIT,
            }),
        }
    }

    /// Runs a call however long it takes: a migration.
    ///
    /// # Errors
    /// The call's own.
    pub async fn run_to_end<T, F>(&self, attempt: &'static str, call: F) -> Result<T, HypervisorError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Hypervisor) -> Result<T, HypervisorError> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let hypervisor = Arc::clone(&self.hypervisor);
        let thread = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            call(hypervisor.as_ref())
        });
        match thread.await {
            Ok(answer) => answer,
            Err(source) => Err(HypervisorError::ThreadLost { attempt, source }),
        }
    }
}
