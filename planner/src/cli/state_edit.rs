//! `drover state mv`, `rm`, `pull` and `push`: the records changed by hand, under the fleet's lock.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::fleet::Fleet;
use super::options::VariableOptions;
use super::output::Output;
use super::project::{Form, Project};
use crate::store::{ExpectMeta, Lock, MAX_OPERATIONS, Outcome, Snapshot};
use clap::Args;
use drover_core::diff::{Renames, renames};
use drover_core::model::{Meta, MoveEnd, Moved, RecordedFleet, SourceLocation};
use drover_core::record::{DocumentError, StateDocument, Transaction, Write, edit};
use drover_types::{Address, FencingToken, Lineage, RequestId};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Beside the records, each transaction writes `meta` and compares the lock.
const WRITES_AT_ONCE: usize = MAX_OPERATIONS - 2;
/// A transaction may hold so many bytes of records; the store's limit leaves room for keys.
const BYTES_AT_ONCE: usize = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct MoveOptions {
    /// The address in the records: server.old, server.web[0], module.shop
    from: MoveEnd,
    /// Its new address
    to: MoveEnd,
    #[command(flatten)]
    variables: VariableOptions,
}

#[derive(Debug, Args)]
pub(super) struct RemoveOptions {
    /// Addresses; without an instance key, every instance
    #[arg(required = true)]
    addresses: Vec<Address>,
    #[command(flatten)]
    variables: VariableOptions,
}

#[derive(Debug, Args)]
pub(super) struct PullOptions {
    #[command(flatten)]
    variables: VariableOptions,
}

#[derive(Debug, Args)]
pub(super) struct PushOptions {
    /// A document that `state pull` printed; - reads it from the input
    file: PathBuf,
    /// Also where the document is of another lineage or serial
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

async fn open(
    variables: &VariableOptions,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<Fleet, Failure> {
    let project = Project::load(variables, Form::new(false, no_color))?;
    Fleet::open(&project.settings(output)?, request).await
}

async fn snapshot(fleet: &Fleet) -> Result<(Snapshot, RecordedFleet), Failure> {
    let snapshot = fleet.store.read_all().await?;
    let recorded = RecordedFleet::from_entries(&fleet.layout, snapshot.revision, &snapshot.entries)?;
    Ok((snapshot, recorded))
}

/// Takes the lock on the store as it was read.
async fn lock(
    fleet: &Fleet,
    operation: &str,
    recorded: &RecordedFleet,
    new_lineage: Lineage,
) -> Result<Lock, Failure> {
    let expect = match &recorded.meta {
        Some((_, revision)) => ExpectMeta::At(*revision),
        None => ExpectMeta::Absent,
    };
    fleet
        .lock(operation, expect, new_lineage, None, Duration::ZERO)
        .await
}

/// Writes groups of changes, each group whole, and releases the lock.
async fn write(fleet: &Fleet, lock: Lock, groups: Vec<Vec<Write>>) -> Result<(), Failure> {
    let token = lock.token();
    write_from(fleet, lock, token, groups).await
}

/// The same, and no later apply has a token that is not above this one.
async fn write_from(
    fleet: &Fleet,
    lock: Lock,
    token: FencingToken,
    groups: Vec<Vec<Write>>,
) -> Result<(), Failure> {
    let mut meta = lock.meta().clone();
    meta.token = meta.token.max(token);
    let written = write_groups(fleet, &lock, &meta, groups).await;
    let released = lock.release().await;
    written?;
    Ok(released?)
}

async fn write_groups(
    fleet: &Fleet,
    lock: &Lock,
    meta: &Meta,
    groups: Vec<Vec<Write>>,
) -> Result<(), Failure> {
    let size = |write: &Write| match write {
        Write::Put { key, value } => key.as_str().len() + value.len(),
        Write::Delete { key } => key.as_str().len(),
    };
    let mut groups = groups.into_iter().peekable();
    while groups.peek().is_some() {
        let mut writes = vec![fleet.layout.put_meta(meta)];
        let mut bytes = 0;
        while let Some(group) = groups.next_if(|group| {
            let more: usize = group.iter().map(size).sum();
            writes.len() == 1
                || (writes.len() + group.len() <= WRITES_AT_ONCE && bytes + more <= BYTES_AT_ONCE)
        }) {
            bytes += group.iter().map(size).sum::<usize>();
            writes.extend(group);
        }
        let transaction = Transaction {
            compares: vec![lock.guard()],
            writes,
        };
        match fleet.store.commit(&transaction).await? {
            Outcome::Committed { .. } => {}
            Outcome::Conflict { .. } => {
                return Err(Failure::new("the lock was lost before everything was written")
                    .hint("look at what is recorded with `drover state list`, and repeat the command"));
            }
        }
    }
    Ok(())
}

fn refuse_busy(recorded: &RecordedFleet, covers: impl Fn(&Address) -> bool) -> Result<(), Failure> {
    match edit::busy(recorded, covers).into_iter().next() {
        None => Ok(()),
        Some(busy) => Err(Failure::from(busy)
            .hint("wait for it, or let `drover apply` settle what an earlier command left open")),
    }
}

pub(super) async fn move_records(
    options: &MoveOptions,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let fleet = open(&options.variables, no_color, request, output).await?;
    let (_, recorded) = snapshot(&fleet).await?;
    let Some((meta, _)) = &recorded.meta else {
        return Err(Failure::new("nothing is recorded yet"));
    };
    let moved = Moved {
        within: Vec::new(),
        from: options.from.clone(),
        to: options.to.clone(),
        origin: SourceLocation {
            file: "command line".into(),
            line: 1,
            column: 1,
        },
    };
    let found = match renames(&[moved], None, &recorded) {
        Ok(found) => found,
        Err(errors) => {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            return Err(Failure::new(format!("cannot move it: {}", all.join("; ")))
                .hint("move what is there first, or remove it"));
        }
    };
    check_kinds(&found)?;
    if found.is_empty() {
        return Err(Failure::new(format!("nothing is recorded at {}", options.from))
            .hint("`drover state list` lists what is recorded"));
    }
    refuse_busy(&recorded, |address| {
        found.contains_key(address) || found.values().any(|to| to == address)
    })?;
    let lock = lock(&fleet, "state mv", &recorded, meta.lineage).await?;
    write(&fleet, lock, edit::moves(&fleet.layout, &recorded, &found)).await?;
    for (from, to) in &found {
        output.line(&format!("{from} is recorded at {to} now."))?;
    }
    output
        .line("Declare it there, too: what is recorded and not declared is destroyed by the next apply.")?;
    Ok(ExitStatus::Done)
}

fn check_kinds(found: &Renames) -> Result<(), Failure> {
    match found.iter().find(|(from, to)| from.kind != to.kind) {
        None => Ok(()),
        Some((from, to)) => Err(Failure::new(format!(
            "cannot move {from} to {to}: a {} stays a {}",
            from.kind, from.kind
        ))),
    }
}

pub(super) async fn remove_records(
    options: &RemoveOptions,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let fleet = open(&options.variables, no_color, request, output).await?;
    let (_, recorded) = snapshot(&fleet).await?;
    let covers = |address: &Address| options.addresses.iter().any(|asked| asked.covers(address));
    let removals = edit::removals(&fleet.layout, &recorded, covers);
    let missing = options
        .addresses
        .iter()
        .find(|asked| !removals.iter().any(|removal| asked.covers(&removal.address)));
    if let Some(missing) = missing {
        return Err(Failure::new(format!("nothing is recorded at {missing}"))
            .hint("`drover state list` lists what is recorded; hosts go with their block"));
    }
    let Some((meta, _)) = &recorded.meta else {
        return Err(Failure::new("nothing is recorded yet"));
    };
    refuse_busy(&recorded, covers)?;
    let lock = lock(&fleet, "state rm", &recorded, meta.lineage).await?;
    let groups = removals.iter().map(|removal| removal.writes.clone()).collect();
    write(&fleet, lock, groups).await?;
    let mut guests = false;
    for removal in &removals {
        let line = match &removal.server {
            Some((id, Some(host))) => {
                guests = true;
                format!(
                    "{} is no longer recorded; its guest {id} on {host} runs on.",
                    removal.address
                )
            }
            Some((_, None)) | None => format!("{} is no longer recorded.", removal.address),
        };
        output.line(&line)?;
    }
    if guests {
        output.line(
            "Hosts still hold such guests, and plans show them as not recorded. To have a host let go of one, use a \
             removed block instead.",
        )?;
    }
    Ok(ExitStatus::Done)
}

pub(super) async fn pull(
    options: &PullOptions,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let fleet = open(&options.variables, no_color, request, output).await?;
    let (snapshot, recorded) = snapshot(&fleet).await?;
    let document = StateDocument::pull(
        &fleet.layout,
        &fleet.project,
        &recorded,
        &snapshot.entries,
        env!("CARGO_PKG_VERSION"),
    )?;
    match document {
        Some(document) => {
            output.json(&document)?;
            Ok(ExitStatus::Done)
        }
        None => Err(Failure::new("nothing is recorded yet").hint("the first apply writes the records")),
    }
}

pub(super) async fn push(
    options: &PushOptions,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let fleet = open(&options.variables, no_color, request, output).await?;
    let name = options.file.display();
    let unusable = |error: DocumentError| Failure::because(format!("{name} cannot be pushed"), error);
    let document = StateDocument::read(&content(&options.file)?).map_err(unusable)?;
    let (snapshot, recorded) = snapshot(&fleet).await?;
    let mut mistakes = document.mistakes(&fleet.layout, &fleet.project, &recorded);
    mistakes.retain(|mistake| !(options.force && mistake.yields_to_force()));
    if !mistakes.is_empty() {
        return Err(refusal(&options.file, &mistakes));
    }
    let lineage = recorded
        .meta
        .as_ref()
        .map_or(document.lineage, |(meta, _)| meta.lineage);
    let writes = document
        .writes(&fleet.layout, &recorded, &snapshot.entries)
        .map_err(unusable)?;
    if writes.is_empty() {
        output.line("The store holds these records already.")?;
        return Ok(ExitStatus::Done);
    }
    let (put, deleted): (Vec<Write>, Vec<Write>) = writes
        .into_iter()
        .partition(|write| matches!(write, Write::Put { .. }));
    let counts = (put.len(), deleted.len());
    let lock = lock(&fleet, "state push", &recorded, lineage).await?;
    // What is new comes first: a push that is cut short has lost nothing.
    let groups = put.into_iter().chain(deleted).map(|write| vec![write]).collect();
    write_from(&fleet, lock, document.token, groups).await?;
    output.line(&format!(
        "Wrote {} records and removed {}. `drover plan` shows how hosts and files differ from them.",
        counts.0, counts.1
    ))?;
    Ok(ExitStatus::Done)
}

fn content(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::because(format!("could not read {}", path.display()), error);
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(failed)?;
        return Ok(bytes);
    }
    std::fs::read(path).map_err(failed)
}

/// One failure that says all that is wrong.
fn refusal(path: &Path, mistakes: &[DocumentError]) -> Failure {
    let all: Vec<String> = mistakes
        .iter()
        .map(|mistake| match std::error::Error::source(mistake) {
            Some(source) => format!("{mistake}: {source}"),
            None => mistake.to_string(),
        })
        .collect();
    let failure = Failure::new(format!(
        "{} was not pushed, and nothing was written: {}",
        path.display(),
        all.join("; ")
    ));
    if mistakes.iter().all(DocumentError::yields_to_force) {
        failure.hint("pull again and make the change there; --force writes it all the same")
    } else if mistakes
        .iter()
        .any(|mistake| matches!(mistake, DocumentError::Open(_)))
    {
        failure.hint("let `drover apply` settle what is open first")
    } else {
        failure.hint("correct the document; --force does not help with that")
    }
}
