//! A tree over the hosts eligible for one distinct request: the best host with enough room, in logarithmic time.
//!
//! Each node carries the most room of each resource and the best key below it, so a search leaves out what cannot
//! win. Consuming changes one leaf and its ancestors.

use super::state::HostIndex;

/// How much of each resource a host can still give one server; infinite where no filter asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Room {
    pub(crate) ram: f64,
    pub(crate) disk: f64,
    pub(crate) vcpus: f64,
}

impl Room {
    const NONE: Self = Self {
        ram: f64::NEG_INFINITY,
        disk: f64::NEG_INFINITY,
        vcpus: f64::NEG_INFINITY,
    };

    fn most(self, other: Self) -> Self {
        Self {
            ram: self.ram.max(other.ram),
            disk: self.disk.max(other.disk),
            vcpus: self.vcpus.max(other.vcpus),
        }
    }

    /// Whether a server that wants this much fits.
    pub(crate) fn holds(&self, wants: &Self) -> bool {
        wants.ram <= self.ram && wants.disk <= self.disk && wants.vcpus <= self.vcpus
    }
}

/// A host's room, and how good it is: the higher the key the better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Node {
    pub(crate) room: Room,
    pub(crate) key: f64,
    /// How bad it is: minus the key.
    pub(crate) opposite: f64,
}

/// Which end of the hosts is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extreme {
    /// The highest key.
    Best,
    /// The lowest.
    Worst,
}

impl Node {
    const NONE: Self = Self {
        room: Room::NONE,
        key: f64::NEG_INFINITY,
        opposite: f64::NEG_INFINITY,
    };

    fn toward(&self, extreme: Extreme) -> f64 {
        match extreme {
            Extreme::Best => self.key,
            Extreme::Worst => self.opposite,
        }
    }

    fn over(left: Self, right: Self) -> Self {
        Self {
            room: left.room.most(right.room),
            key: left.key.max(right.key),
            opposite: left.opposite.max(right.opposite),
        }
    }
}

/// The tree; leaf `n` is the `n`th eligible host.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    /// A power of two; the leaves are the second half of `nodes`, the root is at 1.
    width: usize,
    nodes: Vec<Node>,
    /// How much of the log of changes this tree has seen.
    pub(crate) seen: usize,
}

impl Index {
    pub(crate) fn new(hosts: &[HostIndex], node: impl Fn(HostIndex) -> Node, seen: usize) -> Self {
        let width = hosts.len().next_power_of_two();
        let mut index = Self {
            width,
            nodes: vec![Node::NONE; 2 * width],
            seen,
        };
        index.rebuild(hosts, node, seen);
        index
    }

    pub(crate) fn rebuild(&mut self, hosts: &[HostIndex], node: impl Fn(HostIndex) -> Node, seen: usize) {
        self.seen = seen;
        for (at, host) in hosts.iter().enumerate() {
            self.nodes[self.width + at] = node(*host);
        }
        for at in (1..self.width).rev() {
            self.nodes[at] = Node::over(self.nodes[2 * at], self.nodes[2 * at + 1]);
        }
    }

    pub(crate) fn set(&mut self, leaf: usize, node: Node) {
        let mut at = self.width + leaf;
        self.nodes[at] = node;
        while at > 1 {
            at /= 2;
            let node = Node::over(self.nodes[2 * at], self.nodes[2 * at + 1]);
            if self.nodes[at] == node {
                break;
            }
            self.nodes[at] = node;
        }
    }

    /// Whether the leaf has room.
    pub(crate) fn holds(&self, leaf: usize, wants: &Room) -> bool {
        self.nodes[self.width + leaf].room.holds(wants)
    }

    /// The first of the leaves at that end among those with room that are `accepted`.
    pub(crate) fn first(
        &self,
        extreme: Extreme,
        wants: &Room,
        accepted: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        // Depth is at most 64 and each level leaves one sibling behind.
        let mut stack = [0_usize; 65];
        let mut height = 1;
        stack[0] = 1;
        let mut best: Option<(f64, usize)> = None;
        while height > 0 {
            height -= 1;
            let at = stack[height];
            let node = &self.nodes[at];
            let key = node.toward(extreme);
            if !node.room.holds(wants) || !self.may_win(at, key, best) {
                continue;
            }
            if at >= self.width {
                let leaf = at - self.width;
                if accepted(leaf) {
                    best = Some((key, leaf));
                }
                continue;
            }
            let (left, right) = (2 * at, 2 * at + 1);
            let left_first = self.nodes[left].toward(extreme) >= self.nodes[right].toward(extreme);
            let (first, second) = if left_first { (left, right) } else { (right, left) };
            stack[height] = second;
            stack[height + 1] = first;
            height += 2;
        }
        best.map(|(_, leaf)| leaf)
    }

    /// Whether a leaf below this node could be better than the best so far: a higher key, or as high and earlier.
    fn may_win(&self, at: usize, key: f64, best: Option<(f64, usize)>) -> bool {
        match best {
            None => true,
            Some((best_key, _)) if key != best_key => key > best_key,
            Some((_, best_leaf)) => self.first_leaf(at) < best_leaf,
        }
    }

    fn first_leaf(&self, mut at: usize) -> usize {
        while at < self.width {
            at *= 2;
        }
        at - self.width
    }
}
