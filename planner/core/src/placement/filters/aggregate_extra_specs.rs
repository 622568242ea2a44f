//! As Nova's AggregateInstanceExtraSpecsFilter: some value of the host's aggregates meets each extra spec.

use super::super::matching::matches;
use super::{Ask, Rejection, Unmet};

const SCOPE: &str = "aggregate_instance_extra_specs";

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let specs = ask.request.needs.extra_specs.iter();
    let unmet = specs.filter_map(|(key, requirement)| {
        let key = match key.split_once(':') {
            Some((SCOPE, rest)) => rest,
            Some(_) => return None,
            None => key,
        };
        let values = ask.facts.metadata.get(key);
        let met = values.is_some_and(|values| values.iter().any(|value| matches(value, requirement)));
        (!met).then(|| Unmet {
            key: key.to_owned(),
            wanted: requirement.clone(),
            found: values.into_iter().flatten().cloned().collect(),
        })
    });
    Unmet::none_of(unmet, |unmet| Rejection::AggregateSpec { unmet })
}
