//! Marks of values: what must not become of them. They pass on to everything that is made of a marked value.

/// The marks of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    sensitive: bool,
    ephemeral: bool,
}

impl Marks {
    /// No mark.
    pub const NONE: Self = Self {
        sensitive: false,
        ephemeral: false,
    };
    /// Must not be shown.
    pub const SENSITIVE: Self = Self {
        sensitive: true,
        ephemeral: false,
    };
    /// Must not be stored.
    pub const EPHEMERAL: Self = Self {
        sensitive: false,
        ephemeral: true,
    };

    /// Whether it must not be shown.
    #[must_use]
    pub fn is_sensitive(self) -> bool {
        self.sensitive
    }

    /// Whether it must not be stored.
    #[must_use]
    pub fn is_ephemeral(self) -> bool {
        self.ephemeral
    }

    /// These marks without those of `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self {
            sensitive: self.sensitive && !other.sensitive,
            ephemeral: self.ephemeral && !other.ephemeral,
        }
    }

    /// These marks where `wanted` says so, else none.
    #[must_use]
    pub fn when(self, wanted: bool) -> Self {
        if wanted { self } else { Self::NONE }
    }
}

impl std::ops::BitOr for Marks {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self {
            sensitive: self.sensitive || other.sensitive,
            ephemeral: self.ephemeral || other.ephemeral,
        }
    }
}

impl std::ops::BitOrAssign for Marks {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}
