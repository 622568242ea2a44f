//! Words about guests and hypervisors that planner and agents share.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A word that is none of those known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not {what}; use one of: {allowed}")]
pub struct UnknownWord {
    /// What was written.
    pub word: String,
    /// What should have been written.
    pub what: &'static str,
    /// The known words, separated by commas.
    pub allowed: String,
}

macro_rules! word_enum {
    ($(#[$meta:meta])* $name:ident, $what:literal { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as users and documents write it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| UnknownWord {
                    word: text.to_owned(),
                    what: $what,
                    allowed: [$($word),+].join(", "),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

word_enum!(
    /// What the hypervisor says of a domain, as libvirt's virDomainState.
    PowerState, "a power state" {
        /// No state could be told.
        NoState = "nostate",
        /// vCPUs run or wait for work.
        Running = "running",
        /// vCPUs stand still, memory is kept.
        Paused = "paused",
        /// On its way to being shut off.
        ShuttingDown = "shutting-down",
        /// No process.
        Shutdown = "shutdown",
        /// The guest crashed.
        Crashed = "crashed",
        /// Suspended by the guest's own power management.
        Suspended = "suspended",
    }
);

word_enum!(
    /// A guest architecture, by libvirt's names.
    Architecture, "an architecture" {
        /// 32-bit x86.
        I686 = "i686",
        /// 64-bit x86.
        X86_64 = "x86_64",
        /// 64-bit ARM.
        Aarch64 = "aarch64",
        /// 64-bit little-endian POWER.
        Ppc64le = "ppc64le",
        /// IBM Z.
        S390x = "s390x",
        /// 64-bit RISC-V.
        Riscv64 = "riscv64",
    }
);

word_enum!(
    /// How guests are executed: libvirt's domain type.
    HypervisorType, "a hypervisor type" {
        /// Hardware virtualisation.
        Kvm = "kvm",
        /// Software emulation.
        Qemu = "qemu",
    }
);

word_enum!(
    /// The agent's `virt_type` setting.
    VirtType, "a virt_type" {
        /// `kvm` where a throw-away guest proved that it works, `qemu` otherwise.
        Auto = "auto",
        /// Always hardware virtualisation.
        Kvm = "kvm",
        /// Always software emulation.
        Qemu = "qemu",
    }
);
