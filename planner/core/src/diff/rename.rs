//! `moved` blocks, and instances that a block got or lost `count` around: records under their new addresses.
//!
//! Nothing is moved in the store here: the plan has an action for each record, and everything else is planned as
//! if that were done.

use crate::model::{
    DesiredFleet, MoveEnd, Moved, RecordedFleet, Repetition, SourceLocation, inside, shown_within,
};
use drover_types::{Address, InstanceKey, ModuleStep};
use std::collections::{BTreeMap, BTreeSet};

/// Records that change their address: the new one by the old one.
pub type Renames = BTreeMap<Address, Address>;

/// Why records cannot be moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// Two blocks speak of one address.
    #[error("{from} is moved to {first} and to {second}")]
    TwoTargets {
        /// From where.
        from: String,
        /// Where to, by one block.
        first: String,
        /// Where to, by another.
        second: String,
        /// The other block.
        origin: SourceLocation,
    },
    /// The blocks lead back to where they began.
    #[error("the moves of {address} lead in a circle: {path}")]
    Circle {
        /// What is moved.
        address: String,
        /// Every address on the way.
        path: String,
        /// One of the blocks.
        origin: SourceLocation,
    },
    /// Two records would have one address.
    #[error("{from} is to be moved to {to}, where {there} is recorded")]
    Occupied {
        /// From where.
        from: Address,
        /// Where to.
        to: Address,
        /// What is there, or comes there as well.
        there: Address,
        /// The block.
        origin: Option<SourceLocation>,
    },
    /// What is moved is still declared where it was.
    #[error("{from} is moved to {to}, and still declared")]
    StillDeclared {
        /// From where.
        from: Address,
        /// Where to.
        to: Address,
        /// The block.
        origin: SourceLocation,
    },
}

impl RenameError {
    /// The block that is wrong.
    #[must_use]
    pub const fn origin(&self) -> Option<&SourceLocation> {
        match self {
            Self::TwoTargets { origin, .. }
            | Self::Circle { origin, .. }
            | Self::StillDeclared { origin, .. } => Some(origin),
            Self::Occupied { origin, .. } => origin.as_ref(),
        }
    }

    /// What to do.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::TwoTargets { .. } => "keep one of the two moved blocks",
            Self::Circle { .. } => {
                "remove the moved blocks that are done: an address cannot come back to itself"
            }
            Self::Occupied { .. } => {
                "move or destroy what is there first, in an apply of its own, or remove the moved block"
            }
            Self::StillDeclared { .. } => {
                "give the new block another name, or remove the moved block once it was applied"
            }
        }
    }
}

/// Where one step of a move leads.
fn step(moved: &Moved, address: &Address) -> Option<Address> {
    let (outer, inner) = inside(&moved.within, address)?;
    let mut there = step_inside(moved, &inner)?;
    there.modules.splice(0..0, outer);
    Some(there)
}

/// The same as its module sees it.
fn step_inside(moved: &Moved, address: &Address) -> Option<Address> {
    match (&moved.from, &moved.to) {
        (MoveEnd::Resource(from), MoveEnd::Resource(to)) => {
            let same =
                from.modules == address.modules && from.kind == address.kind && from.name == address.name;
            let key = match (&from.key, &to.key) {
                // The whole resource: each instance keeps its key.
                (None, None) => address.key.clone(),
                (from, to) if *from == address.key => to.clone(),
                (_, _) => return None,
            };
            same.then(|| Address { key, ..to.clone() })
        }
        (MoveEnd::Module(from), MoveEnd::Module(to)) => {
            let (inner, rest) = address.modules.split_at_checked(from.len())?;
            let (last, before) = (from.last()?, from.len() - 1);
            let there = inner.last()?;
            let fits = inner[..before] == from[..before]
                && there.name == last.name
                && (last.key == there.key || (last.key.is_none() && to.last()?.key.is_none()));
            fits.then(|| {
                let mut modules: Vec<ModuleStep> = to.clone();
                if last.key.is_none()
                    && let Some(step) = modules.last_mut().filter(|step| step.key.is_none())
                {
                    step.key.clone_from(&there.key);
                }
                modules.extend_from_slice(rest);
                Address {
                    modules,
                    ..address.clone()
                }
            })
        }
        (MoveEnd::Resource(_), MoveEnd::Module(_)) | (MoveEnd::Module(_), MoveEnd::Resource(_)) => None,
    }
}

/// Blocks by the name that each begins with, modules without their keys, so that an address is looked up, not searched for.
struct Blocks<'a> {
    resources: BTreeMap<Address, Vec<&'a Moved>>,
    modules: Vec<&'a Moved>,
}

impl<'a> Blocks<'a> {
    fn new(moved: &'a [Moved]) -> Self {
        let mut blocks = Self {
            resources: BTreeMap::new(),
            modules: Vec::new(),
        };
        for one in moved {
            match &one.from {
                MoveEnd::Resource(from) => {
                    let modules = one.within.iter().chain(&from.modules).cloned().collect();
                    let whole = Address {
                        modules,
                        ..from.clone()
                    };
                    blocks
                        .resources
                        .entry(without_keys(&whole))
                        .or_default()
                        .push(one);
                }
                MoveEnd::Module(_) => blocks.modules.push(one),
            }
        }
        blocks
    }

    fn next(&self, address: &Address) -> Option<(&'a Moved, Address)> {
        let own = self.resources.get(&without_keys(address));
        own.into_iter()
            .flatten()
            .chain(&self.modules)
            .find_map(|moved| Some((*moved, step(moved, address)?)))
    }
}

fn without_keys(address: &Address) -> Address {
    let mut plain = block_of(address);
    for module in &mut plain.modules {
        module.key = None;
    }
    plain
}

fn block_of(address: &Address) -> Address {
    Address {
        key: None,
        ..address.clone()
    }
}

fn recorded_addresses(recorded: &RecordedFleet) -> impl Iterator<Item = &Address> {
    recorded
        .servers
        .keys()
        .chain(recorded.flavors.keys())
        .chain(recorded.images.keys())
        .chain(recorded.groups.keys())
        .chain(recorded.aggregates.keys())
}

/// Mistakes in the blocks that show without any record.
#[must_use]
pub fn check_moved(moved: &[Moved]) -> Vec<RenameError> {
    let mut errors = Vec::new();
    // Each within its own module.
    let mut first: BTreeMap<(&[ModuleStep], &MoveEnd), &Moved> = BTreeMap::new();
    for one in moved {
        match first.get(&(one.within.as_slice(), &one.from)) {
            Some(other) => errors.push(RenameError::TwoTargets {
                from: shown_within(&one.within, &one.from),
                first: shown_within(&one.within, &other.to),
                second: shown_within(&one.within, &one.to),
                origin: one.origin.clone(),
            }),
            None => {
                first.insert((one.within.as_slice(), &one.from), one);
            }
        }
    }
    let mut on_circle: BTreeSet<(&[ModuleStep], &MoveEnd)> = BTreeSet::new();
    for one in first.values() {
        let at = |end| (one.within.as_slice(), end);
        let mut path = vec![at(&one.from)];
        let mut next = Some(at(&one.to));
        while let Some(end) = next {
            if path.contains(&end) || on_circle.contains(&end) {
                break;
            }
            path.push(end);
            next = first.get(&end).map(|moved| at(&moved.to));
        }
        if next == Some(at(&one.from)) && !path.iter().any(|end| on_circle.contains(end)) {
            on_circle.extend(path.iter().copied());
            path.push(at(&one.from));
            errors.push(RenameError::Circle {
                address: shown_within(&one.within, &one.from),
                path: path
                    .iter()
                    .map(|(within, end)| shown_within(within, end))
                    .collect::<Vec<_>>()
                    .join(" -> "),
                origin: one.origin.clone(),
            });
        }
    }
    errors
}

/// Where every recorded resource goes that moves: by the blocks, then because its block got or lost `count`.
/// `declared` is what is known of the blocks' repetition; nothing before the files were evaluated.
///
/// # Errors
/// Every move that cannot be.
pub fn renames(
    moved: &[Moved],
    declared: Option<&DesiredFleet>,
    recorded: &RecordedFleet,
) -> Result<Renames, Vec<RenameError>> {
    let mut errors = check_moved(moved);
    if !errors.is_empty() {
        return Err(errors);
    }
    let blocks = Blocks::new(moved);
    let known: BTreeSet<&Address> = recorded_addresses(recorded).collect();
    let mut ends: BTreeMap<Address, (Address, Option<SourceLocation>)> = BTreeMap::new();
    let mut renames = Renames::new();
    for address in &known {
        let mut at = (*address).clone();
        let mut origin = None;
        let mut seen = BTreeSet::from([at.clone()]);
        while let Some((block, next)) = blocks.next(&at) {
            origin = Some(block.origin.clone());
            if !seen.insert(next.clone()) {
                errors.push(RenameError::Circle {
                    address: address.to_string(),
                    path: seen
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join(", "),
                    origin: block.origin.clone(),
                });
                break;
            }
            at = next;
        }
        if let Some(declared) = declared {
            if let Some(origin) = origin.clone().filter(|_| is_declared(declared, address)) {
                errors.push(RenameError::StillDeclared {
                    from: (*address).clone(),
                    to: at.clone(),
                    origin,
                });
            }
            if let Some(implied) = implied(declared, &at).filter(|implied| !known.contains(implied)) {
                at = implied;
            }
        }
        match ends.get(&at) {
            Some((there, other)) => errors.push(RenameError::Occupied {
                from: if origin.is_some() {
                    (*address).clone()
                } else {
                    there.clone()
                },
                to: at.clone(),
                there: if origin.is_some() {
                    there.clone()
                } else {
                    (*address).clone()
                },
                origin: origin.or_else(|| other.clone()),
            }),
            None => {
                ends.insert(at.clone(), ((*address).clone(), origin));
            }
        }
        if at != **address {
            renames.insert((*address).clone(), at);
        }
    }
    if errors.is_empty() {
        Ok(renames)
    } else {
        Err(errors)
    }
}

fn is_declared(desired: &DesiredFleet, address: &Address) -> bool {
    desired.servers.contains_key(address)
        || desired.flavors.contains_key(address)
        || desired.images.contains_key(address)
        || desired.groups.contains_key(address)
        || desired.aggregates.contains_key(address)
}

/// The first instance of a block that got `count`, or the only one of a block that lost it.
fn implied(desired: &DesiredFleet, address: &Address) -> Option<Address> {
    let block = block_of(address);
    match (&address.key, desired.blocks.get(&block)?) {
        (None, Repetition::Counted(number)) if *number > 0 => Some(block.instance(InstanceKey::Index(0))),
        (Some(InstanceKey::Index(0)), Repetition::Single) => Some(block),
        (
            None | Some(InstanceKey::Index(_) | InstanceKey::Key(_)),
            Repetition::Single | Repetition::Counted(_) | Repetition::Keyed,
        ) => None,
    }
}

fn rekey<V>(map: BTreeMap<Address, V>, renames: &Renames) -> BTreeMap<Address, V> {
    map.into_iter()
        .map(|(address, value)| (renamed(&address, renames), value))
        .collect()
}

fn renamed(address: &Address, renames: &Renames) -> Address {
    renames.get(address).unwrap_or(address).clone()
}

/// The records as they will be once every move is done; what a record refers to stays as it is written.
#[must_use]
pub fn rename(mut recorded: RecordedFleet, renames: &Renames) -> RecordedFleet {
    if renames.is_empty() {
        return recorded;
    }
    recorded.servers = rekey(recorded.servers, renames);
    recorded.flavors = rekey(recorded.flavors, renames);
    recorded.images = rekey(recorded.images, renames);
    recorded.groups = rekey(recorded.groups, renames);
    recorded.aggregates = rekey(recorded.aggregates, renames);
    for deposed in recorded.deposed.values_mut() {
        deposed.address = renamed(&deposed.address, renames);
    }
    for operation in recorded.operations.values_mut() {
        operation.address = renamed(&operation.address, renames);
    }
    recorded
}
