//! A server goes: destroyed, or forgotten.

use super::super::action::{ActionKind, Keep, Precondition};
use super::super::reason::{Impact, Reason};
use super::Chain;
use serde_json::Value;

impl Chain<'_, '_> {
    pub(super) fn delete(&mut self, why: &Reason, keep: Keep, impact: Impact) {
        let (host, epoch) = self.held();
        let id = self
            .graph
            .operation("destroy", self.address, &format!("{host} {epoch}"));
        let kind = ActionKind::DeleteServer {
            server: self.server.id,
            epoch,
            keep,
            imported_from: self.server.imported.clone(),
        };
        let before = self.before();
        let held = Precondition::Held {
            host: host.clone(),
            epoch,
        };
        self.push(
            (id, Some(host.clone())),
            kind,
            held,
            why,
            (before, Value::Null),
            impact,
        );
        // The room of a server that was replaced is not counted on by anybody.
        if keep == Keep::Nothing || keep == Keep::Record {
            let name = self.present().name.clone();
            self.graph.deletions.entry(host).or_default().push((id, name));
        }
    }

    pub(super) fn forget(&mut self, why: &Reason) {
        let id = self.graph.operation("forget", self.address, "");
        let kind = ActionKind::ForgetServer {
            server: self.server.id,
        };
        let before = self.before();
        self.push(
            (id, None),
            kind,
            Precondition::Unplaced,
            why,
            (before, Value::Null),
            Impact::None,
        );
    }
}
