//! The weighers: which of the hosts that passed is best.
//!
//! To add one: a file with one `raw` function, and a row in the table below.

mod build_failures;
mod cpu;
mod disk;
mod hypervisor_version;
mod image_properties;
mod instances;
mod io_ops;
mod metrics;
mod pci;
mod ram;
mod soft_affinity;
mod soft_anti_affinity;

use super::config::Profile;
use super::input::Policy;
use super::state::{Ask, HostFacts};
use serde::{Serialize, Serializer};
use std::fmt;

/// How Nova scales a weigher's raw values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// The range always includes zero (`minval = 0`), and the modern profile counts negative values as zero.
    FromZero,
    /// From the smallest to the largest value of the hosts that passed.
    Spread,
}

/// What a raw value depends on beside the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Nothing.
    Host,
    /// The members of a group of this policy; the value is zero for any other request.
    Group(Policy),
    /// The request.
    Request,
}

/// What is to be known about a weigher.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    key: &'static str,
    /// The aggregates' metadata that sets another multiplier.
    pub(crate) metadata: &'static str,
    raw: fn(&Ask<'_>) -> f64,
    pub(crate) scale: Scale,
    pub(crate) of: Of,
    /// Nova's raw value is an `int`, and is written as one.
    pub(crate) whole: bool,
    /// Nova counts a positive multiplier against the host.
    against: bool,
}

impl Row {
    const fn new(key: &'static str, metadata: &'static str, raw: fn(&Ask<'_>) -> f64, scale: Scale) -> Self {
        Self {
            key,
            metadata,
            raw,
            scale,
            of: Of::Host,
            whole: true,
            against: false,
        }
    }

    const fn of(mut self, of: Of) -> Self {
        self.of = of;
        self
    }

    const fn fractional(mut self) -> Self {
        self.whole = false;
        self
    }

    const fn against(mut self) -> Self {
        self.against = true;
        self
    }
}

/// Makes the list of weighers out of the table, so that a weigher is one row.
macro_rules! weighers {
    ($($(#[$doc:meta])* $weigher:ident = $row:expr;)*) => {
        /// A weigher, by its key in the settings.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Weigher {
            $($(#[$doc])* $weigher,)*
        }

        impl Weigher {
            /// How many there are.
            pub const COUNT: usize = [$(stringify!($weigher)),*].len();

            /// In the order in which Nova adds them up.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$weigher),*];

            pub(crate) const fn row(self) -> Row {
                match self {
                    $(Self::$weigher => $row,)*
                }
            }
        }
    };
}

weighers! {
    /// Free memory.
    Ram = Row::new("ram", "ram_weight_multiplier", ram::raw, Scale::FromZero);
    /// Free vCPUs at the host's ratio.
    Cpu = Row::new("cpu", "cpu_weight_multiplier", cpu::raw, Scale::FromZero).fractional();
    /// Free disk.
    Disk = Row::new("disk", "disk_weight_multiplier", disk::raw, Scale::FromZero);
    /// Servers being built there; a negative multiplier spreads builds.
    IoOps = Row::new("io_ops", "io_ops_weight_multiplier", io_ops::raw, Scale::FromZero);
    /// Members of a soft-affinity group there.
    SoftAffinity =
        Row::new("soft_affinity", "soft_affinity_weight_multiplier", soft_affinity::raw, Scale::Spread)
            .of(Of::Group(Policy::SoftAffinity));
    /// Minus the members of a soft-anti-affinity group there.
    SoftAntiAffinity = Row::new(
        "soft_anti_affinity", "soft_anti_affinity_weight_multiplier", soft_anti_affinity::raw, Scale::Spread)
            .of(Of::Group(Policy::SoftAntiAffinity));
    /// Servers there.
    NumInstances = Row::new("num_instances", "num_instances_weight_multiplier", instances::raw, Scale::Spread);
    /// The hypervisor's version.
    HypervisorVersion = Row::new(
        "hypervisor_version", "hypervisor_version_weight_multiplier", hypervisor_version::raw, Scale::Spread);
    /// What the host's monitors measure.
    Metrics = Row::new("metrics", "metrics_weight_multiplier", metrics::raw, Scale::Spread).fractional();
    /// Few free devices.
    Pci = Row::new("pci", "pci_weight_multiplier", pci::raw, Scale::Spread);
    /// Builds that failed there; a positive multiplier counts against it.
    BuildFailure = Row::new(
        "build_failure", "build_failure_weight_multiplier", build_failures::raw, Scale::Spread).against();
    /// Servers there whose image has the same properties.
    ImageProperties = Row::new(
        "image_props", "image_props_weight_multiplier", image_properties::raw, Scale::Spread)
            .of(Of::Request).fractional();
}

impl Weigher {
    /// Its key in the settings.
    #[must_use]
    pub const fn key(self) -> &'static str {
        self.row().key
    }

    /// The weigher of that key.
    #[must_use]
    pub fn named(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|weigher| weigher.key() == key)
    }

    /// What the host's normalised value is multiplied with: what its aggregates say, or the settings.
    pub(crate) fn multiplier(self, facts: &HostFacts, configured: f64) -> f64 {
        let multiplier = facts.aggregate.multipliers[self as usize].unwrap_or(configured);
        if self.row().against {
            -multiplier
        } else {
            multiplier
        }
    }

    /// The host's value before normalisation, in the profile's way.
    pub(crate) fn raw(self, ask: &Ask<'_>) -> f64 {
        let row = self.row();
        let raw = (row.raw)(ask);
        match (ask.fixed.config.profile, row.scale) {
            (Profile::Modern, Scale::FromZero) => raw.max(0.0),
            (Profile::Modern, Scale::Spread) | (Profile::Legacy, Scale::FromZero | Scale::Spread) => raw,
        }
    }
}

/// The lowest and highest raw value of the hosts that passed, as normalisation uses them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    low: f64,
    high: f64,
}

impl Span {
    /// `low` and `high` over the hosts that passed.
    pub(crate) fn new(scale: Scale, low: f64, high: f64) -> Self {
        let low = match scale {
            Scale::FromZero => low.min(0.0),
            Scale::Spread => low,
        };
        Self { low, high }
    }

    /// How far the highest is above the lowest.
    pub(crate) fn width(self) -> f64 {
        self.high - self.low
    }

    /// True when no host stands out: every normalised value is zero.
    pub(crate) fn is_flat(self) -> bool {
        self.low == self.high
    }

    /// Nova's `normalize`; monotone in `raw`, also after rounding.
    pub(crate) fn normalise(self, raw: f64) -> f64 {
        if self.is_flat() {
            0.0
        } else {
            (raw - self.low) / (self.high - self.low)
        }
    }
}

impl fmt::Display for Weigher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

impl Serialize for Weigher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.key())
    }
}
