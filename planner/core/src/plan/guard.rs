//! What a plan may not do: destroy what is protected, or more than was allowed.

use super::action::{Action, ActionKind, Keep, RecordChange};
use super::types::Plan;
use crate::model::{DesiredFleet, SourceLocation};
use drover_types::Address;
use std::collections::BTreeSet;

/// A change that `prevent_destroy` forbids.
#[derive(Debug, Clone, PartialEq)]
pub struct Forbidden<'a> {
    /// Of what.
    pub address: &'a Address,
    /// Its block.
    pub origin: &'a SourceLocation,
    /// The action that would destroy it.
    pub action: &'a Action,
    /// Whether another would take its place.
    pub replaced: bool,
}

/// Whether the action destroys a server; and whether that comes again.
fn destroys(kind: &ActionKind) -> Option<bool> {
    match kind {
        ActionKind::DeleteServer { keep, .. } => match keep {
            Keep::Nothing => Some(false),
            Keep::Record | Keep::Successor => Some(true),
            Keep::Leftover | Keep::Guest => None,
        },
        ActionKind::Record(change) => match change {
            RecordChange::Flavor(None) | RecordChange::Image(None) | RecordChange::Group(None) => Some(false),
            RecordChange::Aggregate(_) => None,
            RecordChange::Host(_)
            | RecordChange::Flavor(Some(_))
            | RecordChange::Image(Some(_))
            | RecordChange::Group(Some(_)) => None,
        },
        ActionKind::Settle { .. }
        | ActionKind::EnsureImage { .. }
        | ActionKind::DeleteImage { .. }
        | ActionKind::CreateServer { .. }
        | ActionKind::Import { .. }
        | ActionKind::UpdateServer { .. }
        | ActionKind::SetPower { .. }
        | ActionKind::Migrate { .. }
        | ActionKind::Adopt { .. }
        | ActionKind::TakeOver { .. }
        | ActionKind::RecordServer { .. }
        | ActionKind::ForgetServer { .. }
        | ActionKind::Move { .. } => None,
    }
}

/// Everything that the plan would destroy although its `lifecycle` block forbids it, by address.
#[must_use]
pub fn forbidden<'a>(plan: &'a Plan, desired: &'a DesiredFleet) -> Vec<Forbidden<'a>> {
    let mut found: Vec<Forbidden<'a>> = plan
        .actions
        .iter()
        .filter_map(|action| {
            let replaced = destroys(&action.kind)?;
            let lifecycle = desired.lifecycle.get(&action.address)?;
            lifecycle.prevent_destroy.then_some(Forbidden {
                address: &action.address,
                origin: &lifecycle.origin,
                action,
                replaced,
            })
        })
        .collect();
    found.sort_by_key(|forbidden| forbidden.address);
    found
}

/// The servers that the plan destroys, those included that others take the place of.
#[must_use]
pub fn destroyed_servers(plan: &Plan) -> BTreeSet<&Address> {
    plan.actions
        .iter()
        .filter(|action| matches!(action.kind, ActionKind::DeleteServer { .. }))
        .filter(|action| destroys(&action.kind).is_some())
        .map(|action| &action.address)
        .collect()
}
