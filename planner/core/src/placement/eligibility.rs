//! Which hosts facts allow for a request, worked out once per distinct request.

use super::filters::reads_usage;
use super::input::{Needs, Request};
use super::state::{HostIndex, World};
use indexmap::IndexMap;

/// The position of a distinct request in the table.
pub(crate) type TraitsId = usize;

/// What facts say about one distinct request.
#[derive(Debug, Clone)]
pub(crate) struct Eligible {
    /// Hosts no fact speaks against, in the order given.
    pub(crate) hosts: Vec<HostIndex>,
    /// An extra spec names something that placements change: the specs must be asked again each time.
    pub(crate) reads_usage: bool,
}

/// Whether it asks for nothing: such needs are not even hashed.
fn is_plain(needs: &Needs) -> bool {
    let Needs {
        zone,
        extra_specs,
        image,
        image_name,
        flavor,
        project,
        network,
        tried_hosts,
    } = needs;
    zone.is_none()
        && extra_specs.is_empty()
        && image.0.is_empty()
        && image_name.is_none()
        && flavor.is_none()
        && project.is_none()
        && network.is_none()
        && tried_hosts.is_empty()
}

/// Distinct requests seen so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Eligibility {
    table: IndexMap<Needs, Eligible>,
    /// The request that asks for nothing special, by far the most frequent.
    plain: Option<TraitsId>,
}

impl Eligibility {
    pub(crate) fn id(&mut self, world: &World, request: &Request) -> TraitsId {
        let plain = is_plain(&request.needs);
        if let (true, Some(id)) = (plain, self.plain) {
            return id;
        }
        if let Some(id) = self.table.get_index_of(&request.needs) {
            return id;
        }
        let eligible = Eligible::new(world, request);
        let (id, _) = self.table.insert_full(request.needs.clone(), eligible);
        if plain {
            self.plain = Some(id);
        }
        id
    }

    pub(crate) fn get(&self, id: TraitsId) -> &Eligible {
        &self.table[id]
    }
}

impl Eligible {
    fn new(world: &World, request: &Request) -> Self {
        let passes = |host: &HostIndex| {
            let ask = world.ask_member(*host, request, None);
            world.fixed.filters.iter().all(|filter| filter.facts_pass(&ask))
        };
        Self {
            hosts: (0..world.len()).filter(passes).collect(),
            reads_usage: reads_usage(request),
        }
    }
}
