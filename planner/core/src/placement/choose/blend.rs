//! Soft groups without a pass over all hosts: only the hosts of members differ from what the tree knows.
//!
//! Where one weigher orders the hosts and a soft policy is added to it, every host without a member gets the same
//! from the policy, so that the best of them is the tree's best; it competes with the members' hosts alone.

use super::super::eligibility::TraitsId;
use super::super::index::Extreme;
use super::super::input::Request;
use super::super::state::{GroupIndex, HostIndex, World};
use super::super::weighers::{Of, Scale, Span, Weigher};
use super::{Chooser, EXACT, active, changing_pass, is_unchanging, wanted};

/// Shares of a total nearer than this may be rounded to one.
const APART: f64 = 1.0 / (1_u64 << 45) as f64;

/// A weigher of hosts and the policy's, with their multipliers.
struct Blend {
    host: (Weigher, f64),
    soft: (Weigher, f64),
}

fn blend(world: &World, group: Option<GroupIndex>) -> Option<Blend> {
    let mut active = active(world, group);
    let blend = Blend {
        host: active.next()?,
        soft: active.next()?,
    };
    let (host, soft) = (blend.host.0, blend.soft.0);
    let ordered = active.next().is_none()
        && host.row().of == Of::Host
        && host.row().whole
        && host.row().scale == Scale::FromZero
        && matches!(soft.row().of, Of::Group(_))
        && !world.fixed.differs(host)
        && !world.fixed.differs(soft)
        && EXACT.contains(&blend.host.1.abs());
    ordered.then_some(blend)
}

impl Chooser {
    /// The host that `explain` would choose, `Some(None)` for none; nothing where only a pass over all hosts tells.
    pub(super) fn by_blend(
        &mut self,
        world: &World,
        request: &Request,
        group: Option<GroupIndex>,
        traits: TraitsId,
    ) -> Option<Option<HostIndex>> {
        let Blend {
            host: (host, host_multiplier),
            soft: (soft, soft_multiplier),
        } = blend(world, group)?;
        if self.eligibility.get(traits).reads_usage {
            return None;
        }
        let members = world.group_view(group?).members;
        let position = self.tree(world, request, traits, (host, host_multiplier));
        let index = &self.trees[position].index;
        let eligible = self.eligibility.get(traits);
        let wants = wanted(world, request);
        let passes = |at: HostIndex| {
            is_unchanging(world, request) || changing_pass(world, &world.ask_member(at, request, group))
        };
        let raw = |weigher: Weigher, at: HostIndex| weigher.raw(&world.ask_member(at, request, group));
        let extreme = |extreme| {
            let leaf = index.first(extreme, &wants, |leaf| passes(eligible.hosts[leaf]));
            leaf.map(|leaf| raw(host, eligible.hosts[leaf]))
        };
        let (Some(one), Some(other)) = (extreme(Extreme::Best), extreme(Extreme::Worst)) else {
            return Some(None);
        };
        let span = Span::new(host.row().scale, one.min(other), one.max(other));
        let share = host_multiplier.abs() / span.width().max(1.0);
        if share <= (host_multiplier.abs() + soft_multiplier.abs()) * APART {
            return None;
        }
        let apart = index.first(Extreme::Best, &wants, |leaf| {
            let at = eligible.hosts[leaf];
            members.on(at) == 0 && passes(at)
        });
        let mut candidates: Vec<HostIndex> = members
            .hosts()
            .filter(|at| {
                let leaf = eligible.hosts.binary_search(at);
                leaf.is_ok_and(|leaf| index.holds(leaf, &wants)) && passes(*at)
            })
            .chain(apart.map(|leaf| eligible.hosts[leaf]))
            .collect();
        candidates.sort_unstable();
        let soft_raws: Vec<f64> = candidates.iter().map(|at| raw(soft, *at)).collect();
        let low = soft_raws.iter().copied().fold(f64::INFINITY, f64::min);
        let high = soft_raws.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let soft_span = Span::new(soft.row().scale, low, high);
        let mut best: Option<(f64, HostIndex)> = None;
        for (at, soft_raw) in candidates.into_iter().zip(soft_raws) {
            let facts = &world.fixed.hosts[at];
            // Term by term in the order of `explain`, so that rounding is the same.
            let mut total = 0.0;
            total += host.multiplier(facts, host_multiplier) * span.normalise(raw(host, at));
            total += soft.multiplier(facts, soft_multiplier) * soft_span.normalise(soft_raw);
            if best.is_none_or(|(highest, _)| total > highest) {
                best = Some((total, at));
            }
        }
        Some(best.map(|(_, at)| at))
    }
}
