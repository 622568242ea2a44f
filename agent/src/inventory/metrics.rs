//! What the host measures: samples of its processors' counters, one a minute and one for each inventory. What follows
//! from them is decided by `drover_agent_core::inventory`.

use crate::agent::Agent;
use crate::hypervisor::{HypervisorError, HypervisorThreads};
use crate::operations::chain;
use drover_agent_core::inventory::CpuHistory;
use drover_types::{MetricName, MetricValue};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// As often as Nova's compute nodes measure by default. Without it shares would be over the time since somebody last
/// asked, a second or a week.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The samples so far.
#[derive(Debug, Default)]
pub struct Monitor(Mutex<CpuHistory>);

impl Monitor {
    /// What is known at this moment; nothing where libvirt counts no processor's time.
    pub(super) async fn measure(
        &self,
        hypervisor: &HypervisorThreads,
    ) -> Result<BTreeMap<MetricName, MetricValue>, HypervisorError> {
        let sample = hypervisor
            .run("reading the host's processor times", |hypervisor| {
                hypervisor.cpu_sample()
            })
            .await?;
        let Some(sample) = sample else {
            return Ok(BTreeMap::new());
        };
        let mut history = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = history.measure(&sample);
        history.keep(sample);
        Ok(known)
    }
}

/// Takes samples until `stopping`.
pub(crate) async fn run(agent: Arc<Agent>, stopping: CancellationToken) {
    let mut failed = false;
    loop {
        match agent.monitor.measure(&agent.hypervisor).await {
            Ok(_) => failed = false,
            // That libvirt does not answer is said elsewhere.
            Err(error) if error.is_unavailable() => {}
            Err(error) => {
                if !failed {
                    tracing::warn!("this host reports no metrics: {}", chain(&error));
                }
                failed = true;
            }
        }
        // Both arms only wait, so dropping either of them loses nothing.
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
