//! The shortest log with the same meaning: what is written to a new file when the old one has grown long.

use super::record::{Carried, FORMAT, Record};
use super::state::State;

/// Records that replay to exactly this state; none for a log that was never opened. Write them to a new
/// file, sync it, and rename it over the old one.
#[must_use]
pub fn compact(state: &State) -> Vec<Record> {
    let Some((incarnation, host)) = &state.opened else {
        return Vec::new();
    };
    let mut records = vec![Record::Opened {
        format: FORMAT,
        incarnation: *incarnation,
        host: host.clone(),
    }];
    if state.voided {
        records.push(Record::EpochsVoided);
    }
    records.push(Record::TokenSeen {
        token: state.highest_token,
    });
    let carried = |carried| Record::Carried(Box::new(carried));
    records.extend(state.servers.iter().map(|(server, log)| {
        carried(Carried::Server {
            server: *server,
            log: log.clone(),
        })
    }));
    records.extend(state.operations.iter().map(|(operation, known)| {
        carried(Carried::Operation {
            operation: *operation,
            state: known.clone(),
        })
    }));
    if !state.retired.is_empty() {
        records.push(carried(Carried::Retired {
            operations: state.retired.clone(),
        }));
    }
    records
}
