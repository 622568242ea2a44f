//! Why something recorded is no longer declared: its block is gone, or only its instance.

use crate::model::{DesiredFleet, Repetition};
use crate::plan::{PlanMode, Reason};
use drover_types::{Address, InstanceKey, ModuleStep};
use std::collections::BTreeSet;

/// Tells the reasons apart, as Terraform's `action_reason` does.
#[derive(Debug)]
pub(super) struct Gone<'a> {
    desired: &'a DesiredFleet,
    mode: PlanMode,
    modules: BTreeSet<&'a [ModuleStep]>,
}

impl<'a> Gone<'a> {
    pub(super) fn new(desired: &'a DesiredFleet, mode: PlanMode) -> Self {
        Self {
            desired,
            mode,
            modules: desired
                .blocks
                .keys()
                .map(|block| block.modules.as_slice())
                .collect(),
        }
    }

    /// Why this address is not declared.
    pub(super) fn why(&self, address: &Address) -> Reason {
        match self.mode {
            PlanMode::Destroy => return Reason::DestroyRequested,
            PlanMode::Apply | PlanMode::RefreshOnly => {}
        }
        let block = Address {
            key: None,
            ..address.clone()
        };
        let Some(repetition) = self.desired.blocks.get(&block) else {
            let known = address.modules.is_empty() || self.modules.contains(address.modules.as_slice());
            return if known {
                Reason::NotDeclared
            } else {
                Reason::ModuleGone
            };
        };
        match (&address.key, repetition) {
            (Some(InstanceKey::Index(index)), Repetition::Counted(_)) => {
                Reason::CountIndexOutOfRange { index: *index }
            }
            (Some(InstanceKey::Key(key)), Repetition::Keyed) => Reason::EachKeyGone { key: key.clone() },
            (None, Repetition::Single) => Reason::NotDeclared,
            (None, Repetition::Counted(_) | Repetition::Keyed)
            | (Some(InstanceKey::Index(_)), Repetition::Single | Repetition::Keyed)
            | (Some(InstanceKey::Key(_)), Repetition::Single | Repetition::Counted(_)) => {
                Reason::WrongRepetition
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{address, desired};

    #[test]
    fn each_way_to_be_gone_has_its_reason() {
        let mut fleet = desired();
        fleet.blocks.insert(address("server.web"), Repetition::Counted(1));
        fleet.blocks.insert(address("server.db"), Repetition::Keyed);
        fleet.blocks.insert(address("server.one"), Repetition::Single);
        let gone = Gone::new(&fleet, PlanMode::Apply);
        let why = |at: &str| gone.why(&address(at));
        assert_eq!(why("server.web[2]"), Reason::CountIndexOutOfRange { index: 2 });
        assert_eq!(
            why("server.db[\"a\"]"),
            Reason::EachKeyGone { key: "a".to_owned() }
        );
        for wrong in ["server.web", "server.web[\"a\"]", "server.db[0]", "server.one[0]"] {
            assert_eq!(why(wrong), Reason::WrongRepetition, "{wrong}");
        }
        assert_eq!(why("server.gone"), Reason::NotDeclared);
        assert_eq!(why("module.shop.server.web"), Reason::ModuleGone);
        let gone = Gone::new(&fleet, PlanMode::Destroy);
        assert_eq!(gone.why(&address("server.one")), Reason::DestroyRequested);
    }
}
