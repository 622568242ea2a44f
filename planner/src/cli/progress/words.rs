//! The words for what runs: verbs, how far it is, for how long.

use drover_core::executor::Progress;
use serde_json::json;
use std::time::Duration;

/// A verb begun, going on, and done.
pub(super) fn words(verb: &str) -> (&'static str, &'static str, &'static str) {
    match verb {
        "create" => ("Creating", "Still creating", "Creation complete"),
        "destroy" => ("Destroying", "Still destroying", "Destruction complete"),
        "update" => ("Updating", "Still updating", "Update complete"),
        "migrate" => ("Migrating", "Still migrating", "Migration complete"),
        "fetch" => ("Fetching image", "Still fetching image", "Image ready"),
        "evict" => ("Removing image", "Still removing image", "Image removed"),
        "start" => ("Starting", "Still starting", "Started"),
        "stop" => ("Stopping", "Still stopping", "Stopped"),
        "reboot" => ("Rebooting", "Still rebooting", "Rebooted"),
        "settle" => ("Settling an earlier operation", "Still settling", "Settled"),
        "import" => ("Importing", "Still importing", "Import complete"),
        "adopt" => ("Adopting", "Still adopting", "Adopted"),
        "forget" => ("Forgetting", "Still forgetting", "Forgotten"),
        _ => ("Recording", "Still recording", "Recorded"),
    }
}

pub(super) fn progress_words(progress: &Progress) -> String {
    let mib = |bytes: u64| bytes / (1 << 20);
    let mut text = progress.phase.clone();
    if let Some(percent) = progress
        .done_bytes
        .saturating_mul(100)
        .checked_div(progress.total_bytes)
    {
        text.push_str(&format!(" {percent} % of {} MiB", mib(progress.total_bytes)));
    } else if progress.done_bytes > 0 {
        text.push_str(&format!(" {} MiB", mib(progress.done_bytes)));
    }
    if progress.remaining_bytes > 0 {
        text.push_str(&format!(", {} MiB left", mib(progress.remaining_bytes)));
    }
    if progress.dirty_bytes_per_second > 0 {
        text.push_str(&format!(
            ", {} MiB/s dirtied",
            mib(progress.dirty_bytes_per_second)
        ));
    }
    text
}

pub(super) fn progress_json(progress: &Progress) -> serde_json::Value {
    json!({
        "phase": progress.phase,
        "done_bytes": progress.done_bytes,
        "total_bytes": progress.total_bytes,
        "remaining_bytes": progress.remaining_bytes,
        "dirty_bytes_per_second": progress.dirty_bytes_per_second,
        "elapsed_ms": progress.elapsed_ms,
    })
}

pub(super) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    if whole >= 60 {
        format!("{}m{:02}s", whole / 60, whole % 60)
    } else {
        format!("{whole}s")
    }
}
