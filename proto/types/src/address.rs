//! Addresses of declared things, in Terraform's notation: `server.web[0]`, `module.shop.server.db["primary"]`.

use crate::name::{NameError, ResourceName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What kind of block an address points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A libvirt host with an agent.
    Host,
    /// A size of server.
    Flavor,
    /// A disk image.
    Image,
    /// A placement group.
    Group,
    /// A set of hosts with metadata.
    Aggregate,
    /// A virtual machine.
    Server,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Host,
        Self::Flavor,
        Self::Image,
        Self::Group,
        Self::Aggregate,
        Self::Server,
    ];

    /// The block's type in HCL and the word in addresses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Flavor => "flavor",
            Self::Image => "image",
            Self::Group => "group",
            Self::Aggregate => "aggregate",
            Self::Server => "server",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which instance of a block with `count` or `for_each`. Numbers sort before words, numbers by value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstanceKey {
    /// An instance of `count`.
    Index(u64),
    /// An instance of `for_each`.
    Key(String),
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Key(key) => {
                f.write_str("[\"")?;
                for character in key.chars() {
                    match character {
                        '"' => f.write_str("\\\"")?,
                        '\\' => f.write_str("\\\\")?,
                        '\n' => f.write_str("\\n")?,
                        '\r' => f.write_str("\\r")?,
                        '\t' => f.write_str("\\t")?,
                        other if other.is_control() => write!(f, "\\u{:04x}", u32::from(other))?,
                        other => write!(f, "{other}")?,
                    }
                }
                f.write_str("\"]")
            }
        }
    }
}

/// One `module` call on the way to a block.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleStep {
    /// The module block's label.
    pub name: ResourceName,
    /// Its instance, where it has `count` or `for_each`.
    pub key: Option<InstanceKey>,
}

impl fmt::Display for ModuleStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "module.{}", self.name)?;
        match &self.key {
            Some(key) => write!(f, "{key}"),
            None => Ok(()),
        }
    }
}

/// Where a declared thing stands: modules, kind, label, instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// The modules it is in, outermost first; empty in the root module.
    pub modules: Vec<ModuleStep>,
    /// The kind of block.
    pub kind: Kind,
    /// The block's label.
    pub name: ResourceName,
    /// The instance, where the block has `count` or `for_each`.
    pub key: Option<InstanceKey>,
}

/// Longest instance key accepted, in bytes: keys become part of store keys and messages.
const MAX_KEY_BYTES: usize = 255;

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `kind.name`.
    #[error("{0:?} is not an address; write for example server.web[0] or server.db[\"primary\"]")]
    Form(String),
    /// The kind is none of ours.
    #[error("{0:?} is not a kind of resource; use host, flavor, image, group or server")]
    Kind(String),
    /// The label is not a name.
    #[error("{part:?} in an address is not a name")]
    Name {
        /// The part.
        part: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// The instance key cannot be read, or is too long.
    #[error("{0:?} is not an instance key; write a number or a quoted text of at most {MAX_KEY_BYTES} bytes")]
    Key(String),
}

impl Address {
    /// The address of a block without `count` or `for_each` in the root module.
    #[must_use]
    pub const fn root(kind: Kind, name: ResourceName) -> Self {
        Self {
            modules: Vec::new(),
            kind,
            name,
            key: None,
        }
    }

    /// The same block's address for one of its instances.
    #[must_use]
    pub fn instance(&self, key: InstanceKey) -> Self {
        Self {
            key: Some(key),
            ..self.clone()
        }
    }

    /// Whether `self` names `other` or, without an instance key, every instance of it: how `--target` reads
    /// an address.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.modules == other.modules
            && self.kind == other.kind
            && self.name == other.name
            && (self.key.is_none() || self.key == other.key)
    }
}

/// Reads one name or `name[key]` off the front; the rest is returned without its leading dot.
fn take_step(text: &str) -> Result<(&str, Option<InstanceKey>, &str), AddressError> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let (key, rest) = match rest.strip_prefix('[') {
        None => (None, rest),
        Some(inner) => {
            let (key, rest) = take_key(inner)?;
            (Some(key), rest)
        }
    };
    let rest = match rest.strip_prefix('.') {
        Some(after) if !after.is_empty() => after,
        None if rest.is_empty() => rest,
        Some(_) | None => return Err(AddressError::Form(text.chars().take(200).collect())),
    };
    Ok((name, key, rest))
}

fn take_key(inner: &str) -> Result<(InstanceKey, &str), AddressError> {
    let bad = || AddressError::Key(inner.chars().take(80).collect());
    let Some(quoted) = inner.strip_prefix('"') else {
        let end = inner.find(']').ok_or_else(bad)?;
        let digits = &inner[..end];
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        return Ok((
            InstanceKey::Index(digits.parse().map_err(|_| bad())?),
            &inner[end + 1..],
        ));
    };
    let mut key = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let rest = quoted[at + 1..].strip_prefix(']').ok_or_else(bad)?;
                if key.len() > MAX_KEY_BYTES {
                    return Err(bad());
                }
                return Ok((InstanceKey::Key(key), rest));
            }
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('n') => key.push('\n'),
                Some('r') => key.push('\r'),
                Some('t') => key.push('\t'),
                Some('u') => {
                    let digits: String = characters.by_ref().take(4).map(|(_, digit)| digit).collect();
                    let code = u32::from_str_radix(&digits, 16).map_err(|_| bad())?;
                    key.push(char::from_u32(code).ok_or_else(bad)?);
                }
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                Some(_) | None => return Err(bad()),
            },
            other => key.push(other),
        }
    }
    Err(bad())
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let form = || AddressError::Form(text.chars().take(200).collect());
        let name_of = |part: &str| {
            part.parse::<ResourceName>().map_err(|source| AddressError::Name {
                part: part.chars().take(80).collect(),
                source,
            })
        };
        let mut modules = Vec::new();
        let mut rest = text;
        while let Some(inner) = rest.strip_prefix("module.") {
            let (name, key, after) = take_step(inner)?;
            modules.push(ModuleStep {
                name: name_of(name)?,
                key,
            });
            rest = after;
        }
        let (kind, after) = rest.split_once('.').ok_or_else(form)?;
        let kind = Kind::ALL
            .iter()
            .copied()
            .find(|known| known.as_str() == kind)
            .ok_or_else(|| AddressError::Kind(kind.chars().take(80).collect()))?;
        let (name, key, after) = take_step(after)?;
        if !after.is_empty() {
            return Err(form());
        }
        Ok(Self {
            modules,
            kind,
            name: name_of(name)?,
            key,
        })
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.modules {
            write!(f, "{step}.")?;
        }
        write!(f, "{}.{}", self.kind, self.name)?;
        if let Some(key) = &self.key {
            write!(f, "{key}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_terraforms_notation() {
        for text in [
            "server.web",
            "server.web[0]",
            "server.db[\"primary\"]",
            "module.shop.server.web[0]",
            "module.a[1].module.b[\"x.y\"].server.c[\"a]\\\"b\"]",
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        for bad in [
            "",
            "server",
            "server.",
            "server.web.",
            "server.web[",
            "server.web[x]",
            "server.web[-1]",
            "server.web[\"a\"",
            "volume.x",
            "server.a/b",
            "module.a",
            "server.web[0]x",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn instances_sort_by_number() {
        let mut all: Vec<Address> = ["server.web[10]", "server.web[9]", "server.web"]
            .iter()
            .map(|t| t.parse().expect(t))
            .collect();
        all.sort();
        let sorted: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["server.web", "server.web[9]", "server.web[10]"]);
    }

    proptest! {
        #[test]
        fn printing_then_parsing_gives_the_same_address(key in ".{0,60}") {
            let address = Address::root(Kind::Server, "web".parse().expect("a name")).instance(InstanceKey::Key(key));
            prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
        }
    }
}
