//! A plan's actions as a reader thinks of them: one change per resource, with what it does to it.

use super::action::{Action, ActionKind, Keep};
use super::types::Plan;
use crate::model::Power;
use drover_types::{Address, ServerId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a change does to its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// A server comes to be.
    Create,
    /// A server changes where it is, without a restart; it may be started or stopped.
    Update,
    /// A server changes and restarts for it.
    Reboot,
    /// A server moves.
    Migrate,
    /// A server's root disk is made anew.
    Replace,
    /// Another server takes a server's place, which goes once that is there.
    Succeed,
    /// A server goes.
    Destroy,
    /// A domain becomes a server, as it is.
    Import,
    /// A server is written down as it was found.
    Adopt,
    /// A server's record goes; nothing of it exists.
    Forget,
    /// A server's record goes; its guest stays.
    Release,
    /// A record gets another address.
    RecordMoved,
    /// A host, flavor, image or group is written down for the first time.
    RecordNew,
    /// A record changes, and no host is touched.
    RecordChanged,
    /// A host's, flavor's, image's or group's record goes.
    RecordGone,
    /// An image comes to a host or leaves it, or an open operation is settled.
    HostWork,
}

impl ChangeKind {
    /// The symbol in front of it, at most three characters.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Create | Self::RecordNew => "+",
            Self::Update | Self::Reboot | Self::Adopt | Self::RecordChanged => "~",
            Self::Migrate => ">",
            Self::Release => ".",
            Self::RecordMoved => "=",
            Self::Replace => "-/+",
            Self::Succeed => "+/-",
            Self::Destroy | Self::Forget | Self::RecordGone => "-",
            Self::Import => "<",
            Self::HostWork => " ",
        }
    }

    /// Terraform's words for it in `change.actions`.
    #[must_use]
    pub const fn terraform_actions(self) -> &'static [&'static str] {
        match self {
            Self::Create | Self::RecordNew => &["create"],
            Self::Update | Self::Reboot | Self::Adopt | Self::RecordChanged | Self::Migrate => &["update"],
            Self::Replace => &["delete", "create"],
            Self::Succeed => &["create", "delete"],
            Self::Destroy | Self::RecordGone => &["delete"],
            Self::Forget | Self::Release => &["forget"],
            Self::HostWork | Self::RecordMoved | Self::Import => &["no-op"],
        }
    }
}

/// One change, and the actions that bring it about (two for a rebuild).
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// What it does.
    pub kind: ChangeKind,
    /// To what.
    pub address: &'a Address,
    /// The action that says where, why and from what to what; of a rebuild, the create.
    pub action: &'a Action,
    /// Of a rebuild, the destroy before it.
    pub removal: Option<&'a Action>,
}

/// The plan's changes, outputs left out, in the order of addresses.
#[must_use]
pub fn changes(plan: &Plan) -> Vec<Change<'_>> {
    let mut removals: BTreeMap<&Address, &Action> = BTreeMap::new();
    for action in &plan.actions {
        if let ActionKind::DeleteServer {
            keep: Keep::Record | Keep::Successor,
            ..
        } = &action.kind
        {
            removals.insert(&action.address, action);
        }
    }
    let successors: BTreeSet<ServerId> = plan
        .actions
        .iter()
        .filter_map(|action| {
            if let ActionKind::CreateServer { replaces, .. } = &action.kind {
                *replaces
            } else {
                None
            }
        })
        .collect();
    let mut all: Vec<Change<'_>> = plan
        .actions
        .iter()
        .filter_map(|action| {
            let kind = kind_of(action, removals.get(&action.address).copied(), &successors)?;
            let removal = matches!(kind, ChangeKind::Replace | ChangeKind::Succeed)
                .then(|| removals.get(&action.address).copied())
                .flatten();
            Some(Change {
                kind,
                address: &action.address,
                action,
                removal,
            })
        })
        .collect();
    all.sort_by(|a, b| (a.address, a.kind).cmp(&(b.address, b.kind)));
    all
}

fn kind_of(action: &Action, removal: Option<&Action>, succeeded: &BTreeSet<ServerId>) -> Option<ChangeKind> {
    use super::reason::Impact;
    Some(match &action.kind {
        // Shown with the create that follows it.
        ActionKind::DeleteServer {
            keep: Keep::Record, ..
        } => return None,
        ActionKind::DeleteServer {
            server,
            keep: Keep::Successor,
            ..
        } if succeeded.contains(server) => return None,
        ActionKind::DeleteServer {
            keep: Keep::Nothing | Keep::Successor,
            ..
        } => ChangeKind::Destroy,
        ActionKind::DeleteServer {
            keep: Keep::Guest, ..
        } => ChangeKind::Release,
        ActionKind::Move { .. } => ChangeKind::RecordMoved,
        ActionKind::DeleteServer {
            keep: Keep::Leftover, ..
        } => ChangeKind::HostWork,
        ActionKind::CreateServer {
            replaces: Some(_), ..
        } => ChangeKind::Succeed,
        ActionKind::CreateServer { order, .. }
            if removal.is_some_and(|removal| removal.kind.server() == Some(order.id)) =>
        {
            ChangeKind::Replace
        }
        ActionKind::CreateServer { .. } => ChangeKind::Create,
        ActionKind::UpdateServer { .. } if action.impact >= Impact::Reboot => ChangeKind::Reboot,
        // What is started or stopped changes an attribute; a reboot is what nobody asked for by itself.
        ActionKind::UpdateServer { .. } | ActionKind::SetPower { .. } => ChangeKind::Update,
        ActionKind::Migrate { .. } => ChangeKind::Migrate,
        ActionKind::Import { .. } => ChangeKind::Import,
        ActionKind::Adopt { .. } | ActionKind::TakeOver { .. } => ChangeKind::Adopt,
        ActionKind::ForgetServer { .. } => ChangeKind::Forget,
        ActionKind::RecordServer { .. } => ChangeKind::RecordChanged,
        ActionKind::Record(_) if action.before.is_null() => ChangeKind::RecordNew,
        ActionKind::Record(_) if action.after.is_null() => ChangeKind::RecordGone,
        ActionKind::Record(_) => ChangeKind::RecordChanged,
        ActionKind::EnsureImage { .. } | ActionKind::DeleteImage { .. } | ActionKind::Settle { .. } => {
            ChangeKind::HostWork
        }
    })
}

/// How many changes of each kind a plan has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Domains that become servers.
    pub import: usize,
    /// Servers that come to be.
    pub create: usize,
    /// Servers that change without a restart, adopted, started and stopped ones too.
    pub update: usize,
    /// Servers that move.
    pub migrate: usize,
    /// Servers that restart for a change.
    pub reboot: usize,
    /// Servers whose root disk is made anew.
    pub replace: usize,
    /// Servers that go.
    pub destroy: usize,
    /// Records that change without touching a host.
    pub record: usize,
}

/// Counts a plan's changes.
#[must_use]
pub fn count(changes: &[Change<'_>]) -> Counts {
    let mut counts = Counts::default();
    for change in changes {
        let slot = match change.kind {
            ChangeKind::Import => &mut counts.import,
            ChangeKind::Create => &mut counts.create,
            ChangeKind::Update | ChangeKind::Adopt => &mut counts.update,
            ChangeKind::Reboot => &mut counts.reboot,
            ChangeKind::Migrate => &mut counts.migrate,
            ChangeKind::Replace | ChangeKind::Succeed => &mut counts.replace,
            ChangeKind::Destroy => &mut counts.destroy,
            ChangeKind::Forget
            | ChangeKind::Release
            | ChangeKind::RecordMoved
            | ChangeKind::RecordNew
            | ChangeKind::RecordChanged
            | ChangeKind::RecordGone => &mut counts.record,
            ChangeKind::HostWork => continue,
        };
        *slot += 1;
    }
    counts
}

/// What a migration copies: memory that the guest writes meanwhile is copied again, and of disks what was written to
/// them.
pub(super) fn copied(memory: u64, disk: u64) -> String {
    let disk = format!("up to {} of disk", amount(disk));
    if memory == 0 {
        disk
    } else {
        format!("{} of memory, {disk}", amount(memory))
    }
}

/// What a change costs the running guest, in words; empty where it costs nothing.
#[must_use]
pub fn cost(change: &Change<'_>) -> String {
    let from = change
        .action
        .host
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    match &change.action.kind {
        ActionKind::Migrate {
            order,
            to,
            cold,
            copy_bytes,
            ..
        } => {
            let disk = order.disk_bytes;
            let (how, copied) = if *cold {
                ("cold migration (it is off)", copied(0, disk))
            } else {
                ("live migration", copied(copy_bytes.saturating_sub(disk), disk))
            };
            format!("{how} {from} → {to}, {copied}")
        }
        ActionKind::SetPower { power: Power::On, .. } => "starts the guest".to_owned(),
        ActionKind::SetPower {
            power: Power::Off, ..
        } => "shuts the guest down".to_owned(),
        ActionKind::UpdateServer { order, .. }
            if change.kind == ChangeKind::Reboot && order.power == Power::Off =>
        {
            "shuts the guest down".to_owned()
        }
        ActionKind::UpdateServer { .. } if change.kind == ChangeKind::Reboot => {
            "reboots the guest, about 20 s".to_owned()
        }
        ActionKind::UpdateServer { .. } => "without interruption".to_owned(),
        ActionKind::DeleteServer {
            keep: Keep::Nothing | Keep::Successor,
            imported_from: Some(_),
            ..
        } => "its disks stay where they are".to_owned(),
        ActionKind::DeleteServer {
            keep: Keep::Nothing | Keep::Successor,
            ..
        } => "its disk is lost".to_owned(),
        ActionKind::DeleteServer {
            keep: Keep::Guest, ..
        } => "the guest runs on, and its disk stays".to_owned(),
        ActionKind::DeleteServer {
            keep: Keep::Record | Keep::Leftover,
            ..
        } => String::new(),
        ActionKind::CreateServer { .. } if change.removal.is_some_and(was_imported) => {
            "it gets a disk made from its image; those that it has stay where they are, unused".to_owned()
        }
        ActionKind::CreateServer { .. } if change.kind == ChangeKind::Replace => {
            "the root disk is made anew: what is on it is lost".to_owned()
        }
        ActionKind::CreateServer { .. } if change.kind == ChangeKind::Succeed => {
            "another server takes its place, then it is destroyed with its disk".to_owned()
        }
        ActionKind::Import { .. } => "the guest does not notice".to_owned(),
        ActionKind::CreateServer { .. }
        | ActionKind::Adopt { .. }
        | ActionKind::TakeOver { .. }
        | ActionKind::RecordServer { .. }
        | ActionKind::ForgetServer { .. }
        | ActionKind::Move { .. }
        | ActionKind::Record(_)
        | ActionKind::EnsureImage { .. }
        | ActionKind::DeleteImage { .. }
        | ActionKind::Settle { .. } => String::new(),
    }
}

/// Whether what is removed was imported.
fn was_imported(removal: &Action) -> bool {
    matches!(
        removal.kind,
        ActionKind::DeleteServer {
            imported_from: Some(_),
            ..
        }
    )
}

/// Bytes for people: "64 MiB", "4 GiB", "1.5 GiB".
pub(super) fn amount(bytes: u64) -> String {
    let mib = bytes.div_ceil(1 << 20);
    if mib < 1024 {
        format!("{mib} MiB")
    } else {
        let tenths = mib.saturating_mul(10).div_ceil(1024);
        if tenths.is_multiple_of(10) {
            format!("{} GiB", tenths / 10)
        } else {
            format!("{}.{} GiB", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        assert_eq!(amount(1), "1 MiB");
        assert_eq!(amount(64 << 20), "64 MiB");
        assert_eq!(amount(4 << 30), "4 GiB");
        assert_eq!(amount((3 << 30) / 2), "1.5 GiB");
    }
}
