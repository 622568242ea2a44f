//! Names: what may stand in an address, a path, a certificate and a libvirt document without quoting.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest name accepted, in bytes: a DNS label's limit, so every name can become part of a host name.
const MAX_NAME_BYTES: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a name must not be empty")]
    Empty,
    /// The text is longer than a name may be.
    #[error("a name has at most {MAX_NAME_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// The first character is not allowed in front.
    #[error("a name cannot begin with {0:?}; begin with a letter{1}")]
    BadStart(char, &'static str),
    /// A later character is not allowed.
    #[error("a name cannot contain {0:?}; use letters, digits, '-' and '_'{1}")]
    BadCharacter(char, &'static str),
    /// A letter beyond those of ASCII, in a name that does not stay within the files.
    #[error(
        "a name cannot contain {0:?}: its letters are those of ASCII, since it becomes part of the names of guests, of \
         addresses and of certificates"
    )]
    NotAscii(char),
    /// Two dots in a row, or one at the end: the text could be read as a path.
    #[error("a name cannot contain '..' or end with '.'")]
    Dots,
}

#[derive(Clone, Copy)]
struct Rule {
    digit_first: bool,
    underscore_first: bool,
    dots: bool,
    /// Letters and digits of every script, as in HCL's identifiers.
    every_script: bool,
}

impl Rule {
    fn begins(self, first: char) -> bool {
        first.is_ascii_alphabetic()
            || (self.digit_first && first.is_ascii_digit())
            || (self.underscore_first && first == '_')
            || (self.every_script && unicode_ident::is_xid_start(first))
    }

    fn goes_on(self, character: char) -> bool {
        character.is_ascii_alphanumeric()
            || matches!(character, '-' | '_')
            || (self.dots && character == '.')
            || (self.every_script && unicode_ident::is_xid_continue(character))
    }
}

fn check(text: &str, rule: Rule) -> Result<(), NameError> {
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong(text.len()));
    }
    let mut characters = text.chars();
    let first = characters.next().ok_or(NameError::Empty)?;
    let foreign = |character: char| {
        let letter = !character.is_ascii() && unicode_ident::is_xid_continue(character);
        letter && !rule.every_script
    };
    if foreign(first) {
        return Err(NameError::NotAscii(first));
    }
    if !rule.begins(first) {
        let more = match (rule.digit_first, rule.underscore_first) {
            (true, true) => ", a digit or '_'",
            (true, false) => " or a digit",
            (false, true) => " or '_'",
            (false, false) => "",
        };
        return Err(NameError::BadStart(first, more));
    }
    for character in characters {
        if foreign(character) {
            return Err(NameError::NotAscii(character));
        }
        if !rule.goes_on(character) {
            return Err(NameError::BadCharacter(
                character,
                if rule.dots { ", and '.'" } else { "" },
            ));
        }
    }
    if text.contains("..") || text.ends_with('.') {
        return Err(NameError::Dots);
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$meta:meta])* $name:ident, $rule:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text, $rule)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name_type!(
    /// The name of a fleet: one store, one set of hosts, one certificate authority.
    FleetName,
    Rule { digit_first: false, underscore_first: false, dots: false, every_script: false }
);
name_type!(
    /// The name of a project: a part of a fleet with resources of its own.
    ProjectName,
    Rule { digit_first: false, underscore_first: false, dots: false, every_script: false }
);
name_type!(
    /// The name of a host, as the label of its `host` block and the last part of its agent's identity.
    HostName,
    Rule { digit_first: true, underscore_first: false, dots: true, every_script: false }
);
name_type!(
    /// The label of a block: an identifier of HCL, as in Terraform, of ASCII alone. It becomes part of the names of
    /// guests, which are host names.
    ResourceName,
    Rule { digit_first: false, underscore_first: true, dots: false, every_script: false }
);
name_type!(
    /// The name of a variable, local value, output or check: an identifier of HCL, of any script.
    VariableName,
    Rule { digit_first: false, underscore_first: true, dots: false, every_script: true }
);
name_type!(
    /// The name of something that hosts measure, as in Nova: `cpu.percent`.
    MetricName,
    Rule { digit_first: false, underscore_first: false, dots: true, every_script: false }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_directory_are_refused() {
        for bad in ["", "/", "a/b", "..", "a..b", "a\0b", ".a", "a.", "-a", "a b", "é"] {
            assert!(
                bad.parse::<HostName>().is_err(),
                "{bad:?} was accepted as a host name"
            );
            assert!(
                bad.parse::<ResourceName>().is_err(),
                "{bad:?} was accepted as a resource name"
            );
        }
        let long = "a".repeat(4096);
        assert_eq!(long.parse::<ResourceName>(), Err(NameError::TooLong(4096)));
    }

    #[test]
    fn usual_names_are_accepted() {
        assert_eq!(
            "n1.example".parse::<HostName>().map(|n| n.to_string()),
            Ok("n1.example".to_owned())
        );
        assert_eq!(
            "_x-1".parse::<ResourceName>().map(|n| n.to_string()),
            Ok("_x-1".to_owned())
        );
        assert!("1a".parse::<ResourceName>().is_err());
    }

    #[test]
    fn what_stays_within_the_files_is_named_in_any_script() {
        for good in ["größe", "名前", "имя-2", "_é", "e\u{301}", "a٣"] {
            assert_eq!(
                good.parse::<VariableName>().map(|name| name.to_string()),
                Ok(good.to_owned())
            );
            let foreign = good.chars().find(|letter| !letter.is_ascii()).expect("one");
            assert_eq!(good.parse::<ResourceName>(), Err(NameError::NotAscii(foreign)));
        }
        for bad in ["٣a", "-é", "é b", "a→b", "a.b", "\u{301}e", "☃"] {
            assert!(bad.parse::<VariableName>().is_err(), "{bad:?} was accepted");
        }
        assert_eq!(
            "a→b".parse::<HostName>(),
            Err(NameError::BadCharacter('→', ", and '.'"))
        );
    }
}
