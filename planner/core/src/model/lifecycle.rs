//! What a `lifecycle` block says about changes of one resource, and the other declarations that speak of
//! records rather than of resources.

use super::spec::SourceLocation;
use drover_types::{Address, ModuleStep};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Which attributes a declaration may not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ignored {
    /// These, by the names of their arguments.
    Listed(BTreeSet<String>),
    /// Every one: the resource is only created and destroyed.
    All,
}

impl Default for Ignored {
    fn default() -> Self {
        Self::Listed(BTreeSet::new())
    }
}

impl Ignored {
    /// Whether the argument of this name is among them.
    #[must_use]
    pub fn covers(&self, argument: &str) -> bool {
        match self {
            Self::All => true,
            Self::Listed(names) => names.contains(argument),
        }
    }

    /// Whether nothing is ignored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::All => false,
            Self::Listed(names) => names.is_empty(),
        }
    }
}

/// Something whose change replaces a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trigger {
    /// The resource; without an instance key, every instance of it.
    pub address: Address,
    /// Only this attribute of it.
    pub attribute: Option<String>,
}

/// The `lifecycle` block of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// A plan that would destroy or replace it is refused.
    pub prevent_destroy: bool,
    /// What is left as it is recorded and found.
    pub ignore_changes: Ignored,
    /// A replacement is created before the old server goes.
    pub create_before_destroy: bool,
    /// What replaces it when it changes.
    pub replace_triggered_by: BTreeSet<Trigger>,
    /// The resource's block.
    pub origin: SourceLocation,
}

/// How the instances of a block are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repetition {
    /// There is one, without a key.
    Single,
    /// By `count`: so many.
    Counted(u64),
    /// By `for_each`.
    Keyed,
}

/// One end of a move.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MoveEnd {
    /// A resource, or one instance of it.
    Resource(Address),
    /// A module call, or one instance of it, with everything in it.
    Module(Vec<ModuleStep>),
}

impl fmt::Display for MoveEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(address) => write!(f, "{address}"),
            Self::Module(steps) => {
                for (at, step) in steps.iter().enumerate() {
                    let dot = if at == 0 { "" } else { "." };
                    write!(f, "{dot}module.{}", step.name)?;
                    if let Some(key) = &step.key {
                        write!(f, "{key}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// A text that is neither an address nor a module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address; write for example server.web[0], or module.shop")]
pub struct MoveEndError(String);

impl FromStr for MoveEnd {
    type Err = MoveEndError;

    fn from_str(text: &str) -> Result<Self, MoveEndError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Resource(address));
        }
        match format!("{text}.server.inner").parse::<Address>() {
            Ok(inner) if !inner.modules.is_empty() => Ok(Self::Module(inner.modules)),
            Ok(_) | Err(_) => Err(MoveEndError(text.chars().take(200).collect())),
        }
    }
}

/// A `moved` block: what was declared at one address is declared at another now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The module that it stands in, without keys: it counts in every instance of it, and both addresses are relative
    /// to that. Empty in the root module.
    pub within: Vec<ModuleStep>,
    /// The address before.
    pub from: MoveEnd,
    /// The address now.
    pub to: MoveEnd,
    /// The block.
    pub origin: SourceLocation,
}

/// A `removed` block: what becomes of something that is no longer declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The module that it stands in, as of [`Moved`].
    pub within: Vec<ModuleStep>,
    /// The resource; without an instance key, every instance of it.
    pub from: Address,
    /// Whether it is destroyed; else it is forgotten, and its guest runs on.
    pub destroy: bool,
    /// The block.
    pub origin: SourceLocation,
}

impl Removed {
    /// Whether it speaks of this resource.
    #[must_use]
    pub fn covers(&self, address: &Address) -> bool {
        inside(&self.within, address).is_some_and(|(_, inner)| self.from.covers(&inner))
    }
}

/// An address as a block that stands in a module sees it, and the instance of the module; nothing for what is not in
/// it.
#[must_use]
pub fn inside(within: &[ModuleStep], address: &Address) -> Option<(Vec<ModuleStep>, Address)> {
    let (outer, inner) = address.modules.split_at_checked(within.len())?;
    let fits = outer
        .iter()
        .zip(within)
        .all(|(there, step)| there.name == step.name);
    fits.then(|| {
        let inner = Address {
            modules: inner.to_vec(),
            ..address.clone()
        };
        (outer.to_vec(), inner)
    })
}

/// An address of a block that stands in a module, as the root module writes it.
#[must_use]
pub fn shown_within(within: &[ModuleStep], end: &impl fmt::Display) -> String {
    let outer: Vec<String> = within.iter().map(ToString::to_string).collect();
    if outer.is_empty() {
        end.to_string()
    } else {
        format!("{}.{end}", outer.join("."))
    }
}
