//! Identifiers of servers, operations, stores and agents' logs.

use crate::address::Address;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! uuid_type {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The id with this UUID.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0.hyphenated().to_string())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

uuid_type!(
    /// A server for all its life; also the UUID of its libvirt domain.
    ServerId
);
uuid_type!(
    /// One operation on one host. Asking twice with the same id does the work once.
    OperationId
);
uuid_type!(
    /// The history of one store, chosen once when the fleet is first written.
    Lineage
);
uuid_type!(
    /// The life of one agent's operation log: a lost or restored log gets a new one.
    IncarnationId
);

impl ServerId {
    /// The id of the server at `address` in the store `lineage`; `incarnation` counts how often a server at
    /// this address was created, and survives deletion, so no id is ever used twice.
    #[must_use]
    pub fn derive(lineage: Lineage, address: &Address, incarnation: u64) -> Self {
        Self(Uuid::new_v5(
            &lineage.0,
            format!("server\n{address}\n{incarnation}").as_bytes(),
        ))
    }
}

impl OperationId {
    /// The id of the operation that `purpose` describes within the store `lineage`: the same purpose gives
    /// the same id, so a plan made twice from the same state carries the same operations.
    #[must_use]
    pub fn derive(lineage: Lineage, purpose: &str) -> Self {
        Self(Uuid::new_v5(
            &lineage.0,
            format!("operation\n{purpose}").as_bytes(),
        ))
    }
}

/// One run of a command, carried from the CLI to the agents and into their logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// `req-` and the UUID, as OpenStack writes request ids.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(format!("req-{}", uuid.hyphenated()))
    }

    /// A request id that came over the wire: at most 64 printable ASCII characters are kept, the rest is
    /// dropped, so that it can stand in a log line.
    #[must_use]
    pub fn from_untrusted(text: &str) -> Self {
        Self(text.chars().filter(char::is_ascii_graphic).take(64).collect())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
