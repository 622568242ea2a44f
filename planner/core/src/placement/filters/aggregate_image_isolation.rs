//! As Nova's AggregateImagePropertiesIsolation: where the host's aggregates name an image property, an image that
//! sets it must set it to one of their values.

use super::{Ask, Rejection, Unmet};

pub(super) fn check(ask: &Ask<'_>) -> Result<(), Rejection> {
    let prefix = ask.fixed.config.image_isolation_prefix.as_deref().unwrap_or("");
    let keys = ask.facts.metadata.iter();
    let unmet = keys
        .filter(|(key, _)| key.starts_with(prefix))
        .filter_map(|(key, values)| {
            let set = ask.request.needs.image.get(key)?;
            (!values.contains(set)).then(|| Unmet {
                key: key.clone(),
                wanted: set.to_owned(),
                found: values.iter().cloned().collect(),
            })
        });
    Unmet::none_of(unmet, |unmet| Rejection::AggregateImage { unmet })
}
