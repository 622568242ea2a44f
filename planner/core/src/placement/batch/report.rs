//! A batch for people: how it was placed, and why servers are left without a host.

use super::super::input::Name;
use super::super::text::names;
use super::{BatchOutcome, Method, Unplaced};
use indexmap::IndexMap;

impl BatchOutcome {
    /// A line for the batch as a whole, and one for each reason why servers found no host, with all of them.
    #[must_use]
    pub fn report(&self) -> Vec<String> {
        let (placed, all) = (self.order.len(), self.placements.len());
        let mut lines = vec![format!(
            "{placed} of {all} servers placed, {}.",
            self.method.words()
        )];
        if self.greedy_placed != placed {
            lines.push(format!(
                "In the order given, one after another, {} would have found a host.",
                self.greedy_placed
            ));
        }
        let unplaced = self.unplaced.iter();
        lines.extend(alike(
            unplaced.map(|unplaced| (unplaced.server.clone(), unplaced.why())),
        ));
        lines
    }
}

/// A line for each reason, with all the servers that have it.
pub fn alike(servers: impl IntoIterator<Item = (Name, String)>) -> Vec<String> {
    let mut alike: IndexMap<String, Vec<Name>> = IndexMap::new();
    for (server, why) in servers {
        alike.entry(why).or_default().push(server);
    }
    let lines = alike.iter();
    lines
        .map(|(why, servers)| format!("{}: {why}", names(servers)))
        .collect()
}

impl Method {
    fn words(&self) -> String {
        match self {
            Self::Greedy => "in the order given".to_owned(),
            Self::Order { order } => format!("in another order ({order})"),
            Self::Search { steps, proven: true } => {
                format!("arranged by a search of {steps} steps; it is proven that no more fit")
            }
            Self::Search { steps, proven: false } => format!("arranged by a search of {steps} steps"),
        }
    }
}

impl Unplaced {
    fn why(&self) -> String {
        let why = match &self.conflict {
            Some(conflict) if self.even_alone => {
                format!("even without the other servers of the batch {conflict}")
            }
            Some(conflict) => conflict.to_string(),
            None => "no host is left, and too many fail in other ways to look at each: simulate it without the others \
                     to see why"
                .to_owned(),
        };
        match &self.given_up_for {
            Some(given_up_for) => format!("{why}; {given_up_for}"),
            None => why,
        }
    }
}
