//! What a plan and an apply say to programs: one JSON object per line, in the form of Terraform's machine-readable UI.
//! `docs/events.schema.json` describes every one.

use super::progress::now;
use drover_core::plan::change::{Change, ChangeKind, Counts, changes, cost, count};
use drover_core::plan::json::{key, module, output_action};
use drover_core::plan::{Balance, BlockedBy, Plan, Severity, json, text};
use drover_lang::diagnostic::DiagnosticJson;
use drover_types::Address;
use serde_json::{Map, Value, json};

/// Version of the events' form. The minor part rises when something is added, the major when something changes.
const UI_VERSION: &str = "1.0";

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Info,
    Warn,
    Error,
}

/// One event: what all have, and what is its own.
pub(super) fn event(level: Level, kind: &str, message: &str, own: Value) -> Value {
    let mut event = json!({
        "@level": match level {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        },
        "@message": message,
        "@module": "drover.ui",
        "@timestamp": now(),
        "type": kind,
    });
    if let (Some(event), Value::Object(own)) = (event.as_object_mut(), own) {
        event.extend(own);
    }
    event
}

/// The resource that an event is about, by Terraform's names.
pub(super) fn resource(address: &Address) -> Value {
    let full = address.to_string();
    let module = module(address);
    let own = full
        .strip_prefix(&module)
        .map_or(full.as_str(), |rest| rest.trim_start_matches('.'));
    json!({
        "addr": full,
        "module": module,
        "resource": own,
        "implied_provider": "drover",
        "resource_type": address.kind.as_str(),
        "resource_name": address.name,
        "resource_key": key(address),
    })
}

/// The first event of every stream.
pub(super) fn version() -> Value {
    let drover = env!("CARGO_PKG_VERSION");
    event(
        Level::Info,
        "version",
        &format!("Drover {drover}"),
        json!({ "drover": drover, "ui": UI_VERSION }),
    )
}

/// A mistake in the files, or something to know about them.
///
/// # Errors
/// Where it cannot be written as JSON.
pub(super) fn diagnostic(diagnostic: &DiagnosticJson) -> Result<Value, serde_json::Error> {
    let (level, title) = match diagnostic.severity {
        drover_lang::diagnostic::Severity::Error => (Level::Error, "Error"),
        drover_lang::diagnostic::Severity::Warning => (Level::Warn, "Warning"),
    };
    let summary = format!("{title}: {}", diagnostic.summary);
    let body = json!({ "diagnostic": serde_json::to_value(diagnostic)? });
    Ok(event(level, "diagnostic", &summary, body))
}

/// How evenly hosts are filled, before and after moves.
pub(super) fn balance(balance: &Balance) -> Value {
    let message = text::balance(balance);
    event(Level::Info, "balance", &message, json!({ "balance": balance }))
}

/// Everything that a plan says.
pub(super) fn of_plan(plan: &Plan) -> Vec<Value> {
    let all = changes(plan);
    let whole = json::render(plan);
    let mut events: Vec<Value> = Vec::new();
    if let Some(taken) = &plan.inventory {
        let message = format!("Planned from an inventory file of {taken}; no host was asked");
        events.push(event(
            Level::Info,
            "inventory",
            &message,
            json!({ "taken": taken }),
        ));
    }
    if let Some(found) = &plan.balance {
        events.push(balance(found));
    }
    for entry in whole["resource_drift"].as_array().into_iter().flatten() {
        events.extend(drift(entry));
    }
    let mut entries = whole["resource_changes"].as_array().into_iter().flatten();
    for change in all.iter().filter(|change| change.kind != ChangeKind::HostWork) {
        // Both are in the order of `changes`.
        let entry = entries.next().cloned().unwrap_or_default();
        events.push(planned(change, &entry));
    }
    for change in all.iter().filter(|change| change.kind == ChangeKind::HostWork) {
        events.push(host_action(change));
    }
    for entry in whole["explanations"].as_array().into_iter().flatten() {
        let about = entry["address"].as_str().unwrap_or("fleet");
        events.push(event(
            Level::Info,
            "explanation",
            &format!("{about}: explanation"),
            json!({ "change": entry }),
        ));
    }
    events.extend(diagnostics(plan));
    events.push(summary(
        &count(&all),
        "plan",
        &text::summary(plan),
        plan.is_whole(),
    ));
    let outputs: Map<String, Value> = plan
        .outputs
        .iter()
        .map(|(name, change)| {
            let sensitive = change
                .after
                .as_ref()
                .or(change.before.as_ref())
                .is_some_and(|output| output.sensitive);
            let mut output = json!({ "sensitive": sensitive, "action": output_action(change) });
            if let Some(value) = change
                .after
                .as_ref()
                .filter(|after| !after.sensitive)
                .and_then(|after| after.value.clone())
            {
                output["value"] = value;
            }
            (name.clone(), output)
        })
        .collect();
    events.push(outputs_event(&outputs));
    events
}

/// The outputs, changing or recorded.
pub(super) fn outputs_event(outputs: &Map<String, Value>) -> Value {
    event(
        Level::Info,
        "outputs",
        &format!("Outputs: {}", outputs.len()),
        json!({ "outputs": outputs }),
    )
}

/// Terraform's one word for a change; `migrate` is ours.
const fn action(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Create | ChangeKind::RecordNew => "create",
        ChangeKind::Import => "import",
        ChangeKind::Update | ChangeKind::Reboot | ChangeKind::Adopt | ChangeKind::RecordChanged => "update",
        ChangeKind::Migrate => "migrate",
        ChangeKind::Replace | ChangeKind::Succeed => "replace",
        ChangeKind::Destroy | ChangeKind::RecordGone => "delete",
        ChangeKind::Forget | ChangeKind::Release => "forget",
        ChangeKind::RecordMoved => "move",
        ChangeKind::HostWork => "noop",
    }
}

fn planned(change: &Change<'_>, entry: &Value) -> Value {
    let word = action(change.kind);
    let mut details = json!({
        "resource": resource(change.address),
        "action": word,
        "impact": { "class": change.action.impact.as_str(), "words": cost(change) },
        "words": change.action.why.to_string(),
    });
    for (from, to) in [
        ("action_reason", "reason"),
        ("host", "host"),
        ("placement", "placement"),
        ("migration", "migration"),
    ] {
        if !entry[from].is_null() {
            details[to] = entry[from].clone();
        }
    }
    if !entry["change"]["importing"].is_null() {
        details["importing"] = entry["change"]["importing"].clone();
    }
    if !entry["change"]["changed_attributes"].is_null() {
        details["changed_attributes"] = entry["change"]["changed_attributes"].clone();
    }
    event(
        Level::Info,
        "planned_change",
        &format!("{}: Plan to {word}", change.address),
        json!({ "change": details }),
    )
}

fn drift(entry: &Value) -> Option<Value> {
    let address: Address = entry["address"].as_str()?.parse().ok()?;
    let action = entry["change"]["actions"][0].as_str()?;
    Some(event(
        Level::Info,
        "resource_drift",
        &format!("{address}: Drift detected ({action})"),
        json!({
            "change": {
                "resource": resource(&address),
                "action": action,
                "host": entry["host"],
                "what": entry["what"],
            }
        }),
    ))
}

fn host_action(change: &Change<'_>) -> Value {
    let verb = change.action.kind.verb();
    event(
        Level::Info,
        "planned_host_action",
        &format!("{}: Plan to {verb}", change.address),
        json!({
            "change": {
                "resource": resource(change.address),
                "action": verb,
                "host": change.action.host,
                "words": change.action.why.to_string(),
            }
        }),
    )
}

/// What stands in the way or must be known, as diagnostics: readers of Terraform's events look there.
fn diagnostics(plan: &Plan) -> Vec<Value> {
    let one = |severity: Severity, summary: String, detail: String, address: Option<&Address>, own: Value| {
        let (level, word, title) = match severity {
            Severity::Error => (Level::Error, "error", "Error"),
            Severity::Warning => (Level::Warn, "warning", "Warning"),
        };
        let mut diagnostic = json!({ "severity": word, "summary": summary, "detail": detail });
        if let Some(address) = address {
            diagnostic["address"] = json!(address);
        }
        let mut body = json!({ "diagnostic": diagnostic });
        if let (Some(body), Value::Object(own)) = (body.as_object_mut(), own) {
            body.extend(own);
        }
        event(level, "diagnostic", &format!("{title}: {summary}"), body)
    };
    let mut all = Vec::new();
    for finding in &plan.findings {
        let address = finding.address.as_ref();
        let summary = address.map_or_else(
            || finding.message.clone(),
            |address| format!("{address}: {}", finding.message),
        );
        all.push(one(
            finding.severity,
            summary,
            finding.hint.clone(),
            address,
            json!({}),
        ));
    }
    for host in &plan.unobserved {
        let severity = if host.accepted {
            Severity::Warning
        } else {
            Severity::Error
        };
        let summary = format!("host {} cannot be looked at", host.host);
        let mut detail = format!("It {}. Nothing is planned on it or away from it.", host.why);
        if !host.accepted {
            let remedy = host.why.remedy();
            detail.push_str(&format!(
                " Hint: {remedy}, or accept it with --allow-unreachable {}.",
                host.host
            ));
        }
        all.push(one(
            severity,
            summary,
            detail,
            None,
            json!({ "unobserved_host": host }),
        ));
    }
    for blocked in &plan.blocked {
        let summary = format!("{}: {} is blocked", blocked.address, blocked.verb);
        let by = match &blocked.by {
            BlockedBy::NoHost { .. } => "No host can take it.".to_owned(),
            BlockedBy::CannotImport { problems, .. } => {
                let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
                format!("It cannot be taken over: {}.", all.join("; "))
            }
            BlockedBy::Imported { host } => {
                format!("It was imported as it was found on {host}, and stays there as it is.")
            }
            BlockedBy::HasDevices { host } => {
                format!("It has PCI devices of {host}, and such a guest cannot be moved while it runs.")
            }
            BlockedBy::NoImage => "It has no image to be made from.".to_owned(),
            BlockedBy::DataLoss => "It would lose what is on the root disk.".to_owned(),
            BlockedBy::Unobserved { host } => format!("Host {host} did not answer."),
            BlockedBy::Needs { address } => format!("It needs {address}, which is blocked itself."),
            BlockedBy::DiskShrinks { has, asked } => format!("Its {}.", text::disk_shrinks(*has, *asked)),
            BlockedBy::HostInUse { host } => format!("Host {host} is no longer declared and still holds it."),
        };
        let detail = format!("{by} {}", blocked.hint).trim_end().to_owned();
        all.push(one(
            Severity::Error,
            summary,
            detail,
            Some(&blocked.address),
            json!({ "blocked": blocked }),
        ));
    }
    if !plan.targets.is_empty() {
        let names: Vec<String> = plan.targets.iter().map(ToString::to_string).collect();
        all.push(one(
            Severity::Warning,
            format!("this plan is limited to {}", names.join(", ")),
            "Everything else is left as it is, also where it differs from the configuration.".to_owned(),
            None,
            json!({}),
        ));
    }
    all
}

/// The counts, by Terraform's names and by ours.
pub(super) fn summary(counts: &Counts, operation: &str, message: &str, complete: bool) -> Value {
    let mut all = json!(counts);
    if let Some(all) = all.as_object_mut() {
        all.insert("add".to_owned(), json!(counts.create + counts.replace));
        all.insert(
            "change".to_owned(),
            json!(counts.update + counts.migrate + counts.reboot),
        );
        all.insert("remove".to_owned(), json!(counts.destroy + counts.replace));
        all.insert("operation".to_owned(), json!(operation));
    }
    let level = if complete { Level::Info } else { Level::Error };
    event(
        level,
        "change_summary",
        message,
        json!({ "changes": all, "complete": complete }),
    )
}
