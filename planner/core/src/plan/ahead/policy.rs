//! What the `policy` block asks of the fleet as a plan leaves it.

use super::super::build::Inputs;
use super::super::place::Placements;
use super::super::types::{Finding, PlanMode, Severity};
use super::loss::losses;
use super::standing::{Moment, Newcomers, Standing};
use crate::diff::FleetDiff;
use crate::model::Strictness;

/// So many hosts are told of one by one.
const HOSTS: usize = 10;

/// So many servers of a host are named.
const SERVERS: usize = 3;

/// Where the fleet would not outlive the loss of a host once the plan was carried out, and the policy minds.
pub(in crate::plan) fn findings(
    inputs: &Inputs<'_>,
    diff: &FleetDiff,
    placements: &Placements,
) -> Vec<Finding> {
    let severity = match inputs.desired.policy.n_plus_one {
        Strictness::Off => return Vec::new(),
        Strictness::Warning => Severity::Warning,
        // Who moves servers about makes the fleet neither fuller nor smaller, and may well be about to mend it.
        Strictness::Error if !diff.options.migrate.is_empty() => Severity::Warning,
        Strictness::Error => Severity::Error,
    };
    match diff.options.mode {
        PlanMode::Apply => {}
        PlanMode::RefreshOnly | PlanMode::Destroy => return Vec::new(),
    }
    // What is wrong with the settings was found by the placement already.
    let Ok(mut standing) = Standing::new(inputs, diff, Moment::After(placements), Newcomers::LeftOut) else {
        return Vec::new();
    };
    let mut broken = losses(&mut standing);
    broken.retain(|loss| !loss.stranded.is_empty());
    let more = broken.len().saturating_sub(HOSTS);
    let mut findings: Vec<Finding> = broken
        .iter()
        .take(HOSTS)
        .map(|loss| {
            let named: Vec<String> = loss
                .stranded
                .iter()
                .take(SERVERS)
                .map(ToString::to_string)
                .collect();
            let left = loss.stranded.len().saturating_sub(SERVERS);
            let rest = if left > 0 {
                format!("; and {left} more")
            } else {
                String::new()
            };
            Finding {
                severity,
                address: None,
                message: format!(
                    "policy n_plus_one: if host {} were lost, {} of its {} would fit nowhere else: {}{rest}",
                    loss.host,
                    loss.stranded.len(),
                    count(loss.servers),
                    named.join("; ")
                ),
                hint: "add a host, make servers smaller or fewer, or relax the policy block; \
                       `drover capacity --after-apply` shows every host"
                    .to_owned(),
            }
        })
        .collect();
    if more > 0 {
        findings.push(Finding {
            severity,
            address: None,
            message: format!(
                "policy n_plus_one: the loss of {more} more hosts would leave servers without one"
            ),
            hint: "`drover capacity --after-apply` shows every host".to_owned(),
        });
    }
    findings
}

fn count(servers: usize) -> String {
    let plural = if servers == 1 { "" } else { "s" };
    format!("{servers} server{plural}")
}
