//! As Nova's AggregateInstanceExtraSpecsFilter: some value of the host's aggregates meets each extra spec.

use super::super::matching::matches;
use super::{Ask, Rejection, Unmet};

const SCOPE: &str = "aggregate_instance_extra_specs";

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    for (key, requirement) in &ask.request.needs.extra_specs {
        let key = match key.split_once(':') {
            Some((SCOPE, rest)) => rest,
            Some(_) => continue,
            None => key,
        };
        let values = ask.facts.metadata.get(key);
        if !values.is_some_and(|values| values.iter().any(|value| matches(value, requirement))) {
            return Err(Rejection::AggregateSpec(Unmet {
                key: key.to_owned(),
                wanted: requirement.clone(),
                found: values.into_iter().flatten().cloned().collect(),
            }));
        }
    }
    Ok(())
}
