//! Attributes of each kind: as JSON for people and programs, and which of two specs differ.
//!
//! Every spec is taken apart field by field, so that a new field does not build until it is classified here.

use crate::model::{AggregateSpec, FlavorSpec, GroupSpec, HostSpec, ImageSpec, PlacementHints, ServerSpec};
use drover_types::{HostName, ServerId};
use serde_json::{Map, Value, json};

fn object(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(
        pairs
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>(),
    )
}

fn labels<V: serde::Serialize>(map: &std::collections::BTreeMap<String, V>) -> Value {
    if map.is_empty() { Value::Null } else { json!(map) }
}

/// A server's attributes; `host` as it is or will be.
pub(crate) fn server(spec: &ServerSpec, id: ServerId, host: Option<&HostName>) -> Value {
    let ServerSpec {
        name,
        flavor,
        size,
        image,
        group,
        availability_zone,
        power,
        labels: marks,
        allow_rebuild,
        sensitive: _,
        hints,
    } = spec;
    let PlacementHints {
        same_host,
        different_host,
        network,
        priority,
    } = hints;
    let named = |servers: &std::collections::BTreeSet<drover_types::Address>| {
        if servers.is_empty() {
            Value::Null
        } else {
            json!(servers)
        }
    };
    let FlavorSpec {
        vcpus,
        ram,
        disk,
        extra_specs,
        sensitive: _,
    } = size;
    object([
        ("id", json!(id)),
        ("name", json!(name)),
        ("flavor", json!(flavor)),
        ("vcpus", json!(vcpus)),
        ("ram", json!(ram)),
        ("disk", json!(disk)),
        ("extra_specs", labels(extra_specs)),
        ("image", json!(image.as_ref().map(|image| &image.address))),
        (
            "image_checksum",
            json!(image.as_ref().map(|image| image.checksum)),
        ),
        ("group", json!(group)),
        ("availability_zone", json!(availability_zone)),
        ("power", json!(power)),
        ("labels", labels(marks)),
        ("same_host", named(same_host)),
        ("different_host", named(different_host)),
        ("host_network", json!(network)),
        (
            "priority",
            if *priority == 0 {
                Value::Null
            } else {
                json!(priority)
            },
        ),
        (
            "allow_rebuild",
            if *allow_rebuild { json!(true) } else { Value::Null },
        ),
        ("host", json!(host)),
    ])
}

/// A host's attributes.
pub(crate) fn host(spec: &HostSpec) -> Value {
    let HostSpec {
        address,
        availability_zone,
        labels: marks,
        state,
        sensitive: _,
    } = spec;
    object([
        ("address", json!(address)),
        ("availability_zone", json!(availability_zone)),
        ("labels", labels(marks)),
        ("state", json!(state)),
    ])
}

/// A flavor's attributes.
pub(crate) fn flavor(spec: &FlavorSpec) -> Value {
    let FlavorSpec {
        vcpus,
        ram,
        disk,
        extra_specs,
        sensitive: _,
    } = spec;
    object([
        ("vcpus", json!(vcpus)),
        ("ram", json!(ram)),
        ("disk", json!(disk)),
        ("extra_specs", labels(extra_specs)),
    ])
}

/// An image's attributes.
pub(crate) fn image(spec: &ImageSpec) -> Value {
    let ImageSpec {
        source,
        checksum,
        format,
        properties,
        sensitive: _,
    } = spec;
    object([
        ("source", json!(source)),
        ("checksum", json!(checksum)),
        ("format", json!(format)),
        ("properties", labels(properties)),
    ])
}

/// A group's attributes.
pub(crate) fn group(spec: &GroupSpec) -> Value {
    let GroupSpec {
        policy,
        max_server_per_host,
    } = spec;
    let limit = (*max_server_per_host != 1).then_some(max_server_per_host);
    object([("policy", json!(policy)), ("max_server_per_host", json!(limit))])
}

/// An aggregate's attributes.
pub(crate) fn aggregate(spec: &AggregateSpec) -> Value {
    let AggregateSpec {
        hosts,
        metadata,
        sensitive: _,
    } = spec;
    object([("hosts", json!(hosts)), ("metadata", labels(metadata))])
}

/// The names of attributes that differ, in the order in which they are shown.
pub(crate) fn changed(before: &Value, after: &Value) -> Vec<String> {
    let empty = Map::new();
    let before = before.as_object().unwrap_or(&empty);
    let after = after.as_object().unwrap_or(&empty);
    let mut names: Vec<String> = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value))
        .map(|(name, _)| name.clone())
        .collect();
    names.extend(before.keys().filter(|name| !after.contains_key(*name)).cloned());
    names
}

/// What a changed server attribute needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServerChange {
    /// All that differ.
    pub(super) attributes: Vec<String>,
    /// The image's content.
    pub(super) image: bool,
    /// There is an image before and after.
    pub(super) other_image: bool,
    /// Processors or memory.
    pub(super) size: bool,
    /// The disk grows.
    pub(super) disk_grows: bool,
    /// The disk would shrink.
    pub(super) disk_shrinks: bool,
    /// Whether it runs.
    pub(super) power: bool,
}

/// Compares a recorded server with the declared one.
pub(super) fn compare(before: &ServerSpec, after: &ServerSpec) -> ServerChange {
    let ServerSpec {
        name: _,
        flavor: _,
        size,
        image,
        group: _,
        availability_zone: _,
        power,
        labels: _,
        allow_rebuild: _,
        sensitive,
        hints: _,
    } = before;
    let FlavorSpec {
        vcpus,
        ram,
        disk,
        extra_specs: _,
        sensitive: _,
    } = size;
    // What is not looked at one by one only concerns the record and the placement.
    let nobody = ServerId::from_uuid(uuid::Uuid::nil());
    let mut attributes = changed(&server(before, nobody, None), &server(after, nobody, None));
    // What is hidden from now on must be hidden in the record too, and the other way round.
    let turned: Vec<String> = sensitive
        .symmetric_difference(&after.sensitive)
        .filter(|name| !attributes.contains(name))
        .cloned()
        .collect();
    attributes.extend(turned);
    ServerChange {
        attributes,
        image: image.as_ref().map(|image| image.checksum) != after.image_checksum(),
        other_image: image.is_some() && after.image.is_some(),
        size: *vcpus != after.size.vcpus || *ram != after.size.ram,
        disk_grows: *disk < after.size.disk,
        disk_shrinks: *disk > after.size.disk,
        power: *power != after.power,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_names_come_in_the_order_shown() {
        let before = json!({"a": 1, "b": 2, "gone": 3});
        let after = json!({"a": 1, "b": 3, "new": 4});
        assert_eq!(changed(&before, &after), ["b", "new", "gone"]);
        assert_eq!(changed(&Value::Null, &json!({"x": 1})), ["x"]);
    }
}
