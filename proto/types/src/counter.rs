//! The counters that order changes. They are never mixed, so each is a type of its own.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! counter {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The counter at this value.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The value.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The value after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

counter!(
    /// Who may apply: raised in the transaction that takes the fleet's lock. Agents refuse a lower one than
    /// they have seen.
    FencingToken
);
counter!(
    /// A resource's desired state: raised each time an apply records a new one.
    Generation
);
counter!(
    /// Who may run a server: each hand-over reserves a new one, and a reserved one is never used again.
    Epoch
);
