//! `--ignore ADDR/ATTRIBUTE`: what a look for drift is not to speak of.

use drover_core::plan::{Drift, DriftKind};
use drover_types::Address;
use std::str::FromStr;

/// One attribute, or every one, of a server or of every instance of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ignored {
    address: Address,
    attribute: Attribute,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Attribute {
    Any,
    Named(String),
}

/// A text that names no attribute of an address.
#[derive(Debug, thiserror::Error)]
#[error("write a server's address, a slash and an attribute: server.web[0]/power")]
pub(super) struct IgnoredError;

impl FromStr for Ignored {
    type Err = IgnoredError;

    fn from_str(text: &str) -> Result<Self, IgnoredError> {
        // A key of `for_each` may hold a slash, an attribute never does.
        let (address, attribute) = text.rsplit_once('/').ok_or(IgnoredError)?;
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let attribute = match attribute {
            "*" => Attribute::Any,
            name if !name.is_empty() && name.chars().all(known) => Attribute::Named(name.to_owned()),
            _ => return Err(IgnoredError),
        };
        Ok(Self {
            address: address.parse().map_err(|_| IgnoredError)?,
            attribute,
        })
    }
}

impl Ignored {
    fn covers(&self, address: &Address, attribute: &str) -> bool {
        self.address.covers(address)
            && match &self.attribute {
                Attribute::Any => true,
                Attribute::Named(name) => name == attribute,
            }
    }
}

/// The word for a kind of drift, in `--ignore` and in figures.
pub(super) const fn word(kind: &DriftKind) -> &'static str {
    match kind {
        DriftKind::Power { .. } => "power",
        DriftKind::Moved { .. } => "host",
        DriftKind::Epoch { .. } => "epoch",
        DriftKind::DomainGone | DriftKind::Orphan { .. } => "domain",
        DriftKind::Attributes { .. } => "attributes",
    }
}

/// What is left of a difference when what is to be ignored is taken out.
pub(super) fn left(drift: Drift, ignore: &[Ignored]) -> Option<Drift> {
    let covered = |attribute: &str| {
        ignore
            .iter()
            .any(|ignored| ignored.covers(&drift.address, attribute))
    };
    let what = match drift.what.clone() {
        DriftKind::Attributes { mut attributes } => {
            attributes.retain(|attribute| !covered(&attribute.attribute));
            (!attributes.is_empty()).then_some(DriftKind::Attributes { attributes })
        }
        other @ (DriftKind::Power { .. }
        | DriftKind::Moved { .. }
        | DriftKind::Epoch { .. }
        | DriftKind::DomainGone
        | DriftKind::Orphan { .. }) => (!covered(word(&other))).then_some(other),
    };
    what.map(|what| Drift { what, ..drift })
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_core::model::{AttributeDrift, SavedConfiguration};
    use drover_types::{PowerState, ServerId};

    fn drift(what: DriftKind) -> Drift {
        Drift {
            address: "server.web[1]".parse().expect("an address"),
            server: ServerId::from_uuid(uuid::Uuid::nil()),
            host: "n1".parse().expect("a name"),
            what,
        }
    }

    fn speaks(what: DriftKind, ignore: &[&str]) -> bool {
        let ignore: Vec<Ignored> = ignore.iter().map(|text| text.parse().expect("parsed")).collect();
        left(drift(what), &ignore).is_some()
    }

    #[test]
    fn what_is_named_is_not_spoken_of() {
        let power = || DriftKind::Power {
            recorded: "on".to_owned(),
            found: PowerState::Shutdown,
        };
        assert!(speaks(
            power(),
            &["server.web[0]/power", "server.web[1]/host", "server.db/*"]
        ));
        assert!(!speaks(power(), &["server.web[1]/power"]));
        assert!(!speaks(power(), &["server.web/power"]));
        assert!(!speaks(power(), &["server.web/*"]));
        assert!(!speaks(DriftKind::DomainGone, &["server.web/domain"]));
    }

    #[test]
    fn one_attribute_of_several_is_taken_out() {
        let attribute = |name: &str| AttributeDrift {
            attribute: name.to_owned(),
            expected: "1".to_owned(),
            found: "2".to_owned(),
            configuration: SavedConfiguration::Live,
            heals_live: false,
        };
        let both = DriftKind::Attributes {
            attributes: vec![attribute("vcpus"), attribute("disk.vda.file")],
        };
        let ignore = ["server.web/disk.vda.file".parse().expect("parsed")];
        let rest = left(drift(both), &ignore).expect("one is left");
        assert_eq!(
            rest.what,
            DriftKind::Attributes {
                attributes: vec![attribute("vcpus")]
            }
        );
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for bad in [
            "server.web",
            "server.web/",
            "/power",
            "web/power",
            "server.web/a b",
        ] {
            assert!(bad.parse::<Ignored>().is_err(), "{bad}");
        }
        let slash: Ignored = "server.web[\"a/b\"]/power".parse().expect("parsed");
        assert!(slash.covers(&"server.web[\"a/b\"]".parse().expect("an address"), "power"));
    }
}
