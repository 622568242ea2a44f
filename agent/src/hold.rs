//! Points where tests stop the agent for as long as they need, however busy the machine: a failpoint that waits
//! while a file is there. `FAILPOINTS` alone can only let one sleep for a time that is guessed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const VARIABLE: &str = "HOLDS";
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Reads the variable `HOLDS`: `point=passes=file`, joined by semicolons. The point lets so many pass; whoever comes
/// after them waits while the file is there.
pub(crate) fn set_up() -> Result<(), String> {
    let Ok(holds) = std::env::var(VARIABLE) else {
        return Ok(());
    };
    for hold in holds.split(';') {
        let parts: Vec<&str> = hold.splitn(3, '=').collect();
        let [point, passes, file] = parts[..] else {
            return Err(format!("{VARIABLE}: {hold:?} is not point=passes=file"));
        };
        let passes: usize = passes
            .parse()
            .map_err(|error| format!("{VARIABLE}: {passes:?} in {hold:?}: {error}"))?;
        let (file, passed) = (PathBuf::from(file), AtomicUsize::new(0));
        let wait = move || {
            if passed.fetch_add(1, Ordering::Relaxed) < passes {
                return;
            }
            // Whatever else this thread has to do is done by others meanwhile.
            tokio::task::block_in_place(|| {
                while file.exists() {
                    std::thread::sleep(LOOK_EVERY);
                }
            });
        };
        fail::cfg_callback(point, wait).map_err(|error| format!("{VARIABLE}: {hold:?}: {error}"))?;
    }
    Ok(())
}
