//! Waiting for something that another process does: the one place of the lab that sleeps.

use std::path::Path;
use std::time::{Duration, Instant};

use super::LabError;

/// More than any single step of the lab takes on a loaded machine with two cores; what is broken is told this late.
pub const WAIT_LONG: Duration = Duration::from_secs(180);

const INTERVAL: Duration = Duration::from_millis(20);

/// Asks `probe` until it has an answer; an error when `within` has passed without one.
pub fn poll_until<T>(
    what: impl Into<String>,
    within: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> Result<T, LabError> {
    let begin = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return Ok(answer);
        }
        if begin.elapsed() >= within {
            return Err(LabError::Timeout {
                what: what.into(),
                after: within,
                log: None,
            });
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Puts the end of a log file into a timeout, which otherwise says only what was waited for.
pub(crate) fn with_log(error: LabError, log: &Path) -> LabError {
    match error {
        LabError::Timeout { what, after, log: _ } => {
            let text = std::fs::read_to_string(log).unwrap_or_else(|error| format!("(unreadable: {error})"));
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(15)..].join("\n");
            LabError::Timeout {
                what,
                after,
                log: Some(tail),
            }
        }
        other => other,
    }
}
