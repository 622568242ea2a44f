//! As Nova's IoOpsFilter and AggregateIoOpsFilter: not too many builds and moves on a host at once.

use super::{Ask, Rejection};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    within(ask, ask.fixed.config.max_io_ops_per_host)
}

pub(super) fn check_aggregate(ask: &Ask<'_>) -> Result<(), Rejection> {
    within(ask, ask.facts.aggregate.max_io_ops)
}

fn within(ask: &Ask<'_>, limit: u64) -> Result<(), Rejection> {
    let io_ops = ask.usage.io_ops;
    if io_ops < limit {
        Ok(())
    } else {
        Err(Rejection::IoOps { io_ops, limit })
    }
}
