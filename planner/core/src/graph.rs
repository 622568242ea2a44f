//! Graphs of what is declared and of what is planned, as DOT and as Mermaid. What points at something needs it.

use crate::model::DesiredFleet;
use crate::plan::{Plan, host_address};
use drover_types::{Address, OperationId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Nodes with what is written in them, and who needs whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<String>,
    edges: BTreeSet<(usize, usize)>,
}

impl Graph {
    /// Each declared block, all its instances as one, and the blocks that it refers to.
    #[must_use]
    pub fn of_fleet(fleet: &DesiredFleet) -> Self {
        let mut graph = Self::default();
        let mut places: BTreeMap<Address, usize> = BTreeMap::new();
        let hosts: Vec<Address> = fleet.hosts.keys().map(host_address).collect();
        let blocks = hosts
            .iter()
            .chain(fleet.flavors.keys())
            .chain(fleet.images.keys())
            .chain(fleet.groups.keys())
            .chain(fleet.servers.keys());
        for address in blocks {
            let block = block(address);
            if !places.contains_key(&block) {
                places.insert(block.clone(), graph.nodes.len());
                graph.nodes.push(block.to_string());
            }
        }
        let mut edge = |from: &Address, to: &Address| {
            if let (Some(from), Some(to)) = (places.get(&block(from)), places.get(&block(to)))
                && from != to
            {
                graph.edges.insert((*from, *to));
            }
        };
        for (address, server) in &fleet.servers {
            edge(address, &server.spec.flavor);
            if let Some(image) = server.spec.image_address() {
                edge(address, image);
            }
            if let Some(group) = &server.spec.group {
                edge(address, group);
            }
        }
        // Instances of one block share their sets: each is looked at once for the block.
        let mut seen = BTreeSet::new();
        for (address, needs) in &fleet.depends_on {
            for set in needs.sets() {
                if seen.insert((block(address), Arc::as_ptr(set))) {
                    for needed in set.iter() {
                        edge(address, needed);
                    }
                }
            }
        }
        graph
    }

    /// Each action of a plan, and the actions that must be done before it.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Self {
        let joins = || plan.joins.iter();
        let places: BTreeMap<OperationId, usize> = plan
            .actions
            .iter()
            .enumerate()
            .map(|(at, action)| (action.id, at))
            .chain(
                joins()
                    .enumerate()
                    .map(|(at, join)| (join.id, plan.actions.len() + at)),
            )
            .collect();
        let nodes = plan.actions.iter().map(|action| {
            let on = action
                .host
                .as_ref()
                .map(|host| format!(" on {host}"))
                .unwrap_or_default();
            format!("{} {}{on}", action.kind.verb(), action.address)
        });
        let nodes = nodes.chain(joins().map(|join| format!("{} actions done", join.depends_on.len())));
        let needs = (plan.actions.iter().map(|action| &action.depends_on))
            .chain(joins().map(|join| &join.depends_on));
        let edges = needs.enumerate().flat_map(|(at, needs)| {
            let needed = needs.iter().filter_map(|id| places.get(id));
            needed.map(move |needed| (at, *needed))
        });
        Self {
            nodes: nodes.collect(),
            edges: edges.collect(),
        }
    }

    /// For Graphviz: `drover graph | dot -Tsvg`.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut text = String::from("digraph drover {\n  rankdir = LR;\n  node [shape = box];\n");
        for (at, label) in self.nodes.iter().enumerate() {
            text.push_str(&format!("  n{at} [label = \"{}\"];\n", dot_text(label)));
        }
        for (from, to) in &self.edges {
            text.push_str(&format!("  n{from} -> n{to};\n"));
        }
        text.push_str("}\n");
        text
    }

    /// For Markdown that draws Mermaid.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        for (at, label) in self.nodes.iter().enumerate() {
            text.push_str(&format!("  n{at}[\"{}\"]\n", mermaid_text(label)));
        }
        for (from, to) in &self.edges {
            text.push_str(&format!("  n{from} --> n{to}\n"));
        }
        text
    }
}

/// The block of an instance.
fn block(address: &Address) -> Address {
    let mut block = address.clone();
    block.key = None;
    for module in &mut block.modules {
        module.key = None;
    }
    block
}

fn dot_text(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Mermaid has entities where others have escapes.
fn mermaid_text(text: &str) -> String {
    text.replace('#', "#35;")
        .replace('"', "#quot;")
        .replace('<', "#lt;")
        .replace('>', "#gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GroupPolicy, Needs, RecordedFleet};
    use crate::plan::PlanOptions;
    use crate::plan::tests::plan;
    use crate::testing::{address, desired, observed, with_group, with_hosts, with_server};

    fn fleet() -> DesiredFleet {
        let fleet = with_hosts(desired(), &["n1"]);
        let fleet = with_group(fleet, "group.web", GroupPolicy::SoftAntiAffinity);
        let fleet = with_server(fleet, "server.web[0]", Some("group.web"));
        let fleet = with_server(fleet, "server.web[1]", Some("group.web"));
        let mut fleet = with_server(fleet, "server.db[\"a\"]", None);
        fleet.depends_on.insert(
            address("server.web[0]"),
            Needs::all(vec![Arc::new(BTreeSet::from([address("server.db[\"a\"]")]))]),
        );
        fleet
    }

    #[test]
    fn blocks_and_what_they_refer_to() {
        insta::assert_snapshot!(Graph::of_fleet(&fleet()).dot(), @r#"
        digraph drover {
          rankdir = LR;
          node [shape = box];
          n0 [label = "host.n1"];
          n1 [label = "flavor.small"];
          n2 [label = "image.debian"];
          n3 [label = "group.web"];
          n4 [label = "server.db"];
          n5 [label = "server.web"];
          n4 -> n1;
          n4 -> n2;
          n5 -> n1;
          n5 -> n2;
          n5 -> n3;
          n5 -> n4;
        }
        "#);
        insta::assert_snapshot!(Graph::of_fleet(&fleet()).mermaid(), @r#"
        flowchart LR
          n0["host.n1"]
          n1["flavor.small"]
          n2["image.debian"]
          n3["group.web"]
          n4["server.db"]
          n5["server.web"]
          n4 --> n1
          n4 --> n2
          n5 --> n1
          n5 --> n2
          n5 --> n3
          n5 --> n4
        "#);
    }

    #[test]
    fn actions_and_what_comes_before_them() {
        let fleet = fleet();
        let plan = plan(
            &fleet,
            &RecordedFleet::empty(1),
            &observed(&["n1"]),
            &PlanOptions::default(),
        );
        let graph = Graph::of_plan(&plan);
        assert_eq!(graph.nodes.len(), plan.actions.len());
        let edges: usize = plan.actions.iter().map(|action| action.depends_on.len()).sum();
        assert!(edges > 0 && graph.edges.len() <= edges);
        let text = graph.mermaid();
        assert!(text.contains("create server.db[#quot;a#quot;] on n1"), "{text}");
        assert!(graph.dot().contains("create server.db[\\\"a\\\"] on n1"));
    }
}
