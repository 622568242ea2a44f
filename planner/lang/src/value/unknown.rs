//! What is not known yet, of which type it will be, and why.

use super::Type;
use std::fmt;
use std::sync::Arc;

/// Why a value is not known yet. Where several meet, the first in this order is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Making it failed, which was reported.
    Failed,
    /// The planner has not chosen a host yet; the reference as written in addresses, for example
    /// `server.web[0].host`.
    Placement(Arc<str>),
    /// It is derived from what the store holds, which was not read.
    Store(Arc<str>),
    /// A variable without a value, while only the files are checked.
    Variable(Arc<str>),
}

impl Cause {
    /// What is waited for, as it is written in expressions; nothing where there is nothing to wait for.
    #[must_use]
    pub fn reference(&self) -> Option<String> {
        match self {
            Self::Failed => None,
            Self::Placement(reference) | Self::Store(reference) => Some(reference.to_string()),
            Self::Variable(name) => Some(format!("var.{name}")),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("its value could not be computed"),
            Self::Placement(reference) => write!(f, "{reference} is known after placement"),
            Self::Store(reference) => write!(f, "{reference} is known once the fleet's store was read"),
            Self::Variable(name) => write!(f, "var.{name} has no value while the files alone are checked"),
        }
    }
}

/// A value that is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    ty: Type,
    cause: Cause,
}

impl Unknown {
    /// Not known for this reason, of this type once it is.
    #[must_use]
    pub fn new(ty: Type, cause: Cause) -> Self {
        Self { ty, cause }
    }

    /// The type it will have; [`Type::Any`] where that is open too.
    #[must_use]
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// Why it is not known.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}
