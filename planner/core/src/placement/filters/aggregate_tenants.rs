//! As Nova's AggregateMultiTenancyIsolation: where the host's aggregates name projects, only those come in.

use super::{Ask, Rejection};

const KEY: &str = "filter_tenant_id";

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let lists = ask.facts.metadata.iter().filter(|(key, _)| key.starts_with(KEY));
    let mut allowed = lists.flat_map(|(_, projects)| projects).peekable();
    let project = ask.request.needs.project.as_ref();
    if allowed.peek().is_none() || allowed.any(|one| project.is_some_and(|own| own.as_str() == one)) {
        return Ok(());
    }
    Err(Rejection::Tenant {
        project: project.cloned().unwrap_or_default(),
    })
}
