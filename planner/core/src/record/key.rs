//! Keys of the store: `/drover/v1/<fleet>/…`, one per object.

use drover_types::{Address, FleetName, HostName, Kind, OperationId, ProjectName, ServerId};
use std::fmt;
use std::str::FromStr;

/// What every key of every fleet begins with.
const PREFIX: &str = "/drover/v1/";

/// A key of the store, in full.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Reads back a key that a store holds; [`Layout`] makes new ones.
impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.strip_prefix(PREFIX) {
            Some(rest) if !rest.is_empty() => Ok(Self(text.to_owned())),
            Some(_) | None => Err(KeyError(text.to_owned())),
        }
    }
}

/// A key that is none of a fleet's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key of this fleet's layout")]
pub struct KeyError(pub String);

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// The store's own record.
    Meta,
    /// The apply lock.
    Lock,
    /// A flavor, image, group or server of this project.
    Resource(Address),
    /// A host of this project.
    Host(HostName),
    /// How many servers an address has had.
    Incarnation(Address),
    /// A server that was replaced and is still to be destroyed.
    Deposed(ServerId),
    /// An output's value.
    Output(String),
    /// Who may run a server.
    Ownership(ServerId),
    /// A journal entry.
    Operation(OperationId),
    /// An event for people.
    Event,
    /// Something of another project.
    OtherProject(ProjectName),
}

/// The keys of one fleet and project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: String,
    fleet: FleetName,
    project: ProjectName,
}

impl Layout {
    /// The layout of this fleet and project.
    #[must_use]
    pub fn new(fleet: &FleetName, project: &ProjectName) -> Self {
        Self {
            root: format!("{PREFIX}{fleet}/"),
            fleet: fleet.clone(),
            project: project.clone(),
        }
    }

    /// The fleet.
    #[must_use]
    pub const fn fleet(&self) -> &FleetName {
        &self.fleet
    }

    /// What every key of the fleet begins with.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// `meta`.
    #[must_use]
    pub fn meta(&self) -> Key {
        Key(format!("{}meta", self.root))
    }

    /// `lock`.
    #[must_use]
    pub fn lock(&self) -> Key {
        Key(format!("{}lock", self.root))
    }

    /// A resource's record.
    #[must_use]
    pub fn resource(&self, address: &Address) -> Key {
        Key(format!(
            "{}{}/res/{}/{address}",
            self.root, self.project, address.kind
        ))
    }

    /// A host's record.
    #[must_use]
    pub fn host(&self, host: &HostName) -> Key {
        Key(format!("{}{}/res/{}/{host}", self.root, self.project, Kind::Host))
    }

    /// The counter of servers at an address.
    #[must_use]
    pub fn incarnation(&self, address: &Address) -> Key {
        Key(format!("{}{}/inc/{address}", self.root, self.project))
    }

    /// A server that was replaced.
    #[must_use]
    pub fn deposed(&self, id: ServerId) -> Key {
        Key(format!("{}{}/dep/{id}", self.root, self.project))
    }

    /// An output's value.
    #[must_use]
    pub fn output(&self, name: &str) -> Key {
        Key(format!("{}{}/out/{name}", self.root, self.project))
    }

    /// Who may run a server.
    #[must_use]
    pub fn ownership(&self, id: ServerId) -> Key {
        Key(format!("{}own/{id}", self.root))
    }

    /// A journal entry.
    #[must_use]
    pub fn operation(&self, id: OperationId) -> Key {
        Key(format!("{}ops/{id}", self.root))
    }

    /// What a key of this fleet holds. A project cannot be called as one of the sections beside it.
    ///
    /// # Errors
    /// Where it is no key of the fleet.
    pub fn parse(&self, key: &str) -> Result<Object, KeyError> {
        let bad = || KeyError(key.chars().take(300).collect());
        let rest = key.strip_prefix(&self.root).ok_or_else(bad)?;
        match rest {
            "meta" => return Ok(Object::Meta),
            "lock" => return Ok(Object::Lock),
            _ => {}
        }
        let (first, rest) = rest.split_once('/').ok_or_else(bad)?;
        match first {
            "own" => return rest.parse().map(Object::Ownership).map_err(|_| bad()),
            "ops" => return rest.parse().map(Object::Operation).map_err(|_| bad()),
            "events" => return Ok(Object::Event),
            // Leases of lock waiters, where a store keeps any.
            "lock" => return Ok(Object::Lock),
            _ => {}
        }
        let project: ProjectName = first.parse().map_err(|_| bad())?;
        if project != self.project {
            return Ok(Object::OtherProject(project));
        }
        let (section, rest) = rest.split_once('/').ok_or_else(bad)?;
        match section {
            "res" => {
                let (kind, name) = rest.split_once('/').ok_or_else(bad)?;
                if kind == Kind::Host.as_str() {
                    return name.parse().map(Object::Host).map_err(|_| bad());
                }
                let address: Address = name.parse().map_err(|_| bad())?;
                if address.kind.as_str() == kind {
                    Ok(Object::Resource(address))
                } else {
                    Err(bad())
                }
            }
            "inc" => rest.parse().map(Object::Incarnation).map_err(|_| bad()),
            "dep" => rest.parse().map(Object::Deposed).map_err(|_| bad()),
            "out" if !rest.is_empty() => Ok(Object::Output(rest.to_owned())),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::new(&"prod".parse().expect("name"), &"default".parse().expect("name"))
    }

    #[test]
    fn every_key_is_read_back() {
        let layout = layout();
        let id: ServerId = "0f0e0d0c-0b0a-4908-8706-050403020100".parse().expect("id");
        let operation = OperationId::from_uuid(id.uuid());
        let web: Address = "module.a[1].server.web[\"x/../y\"]".parse().expect("address");
        let host: HostName = "n1.example".parse().expect("name");
        for (key, object) in [
            (layout.meta(), Object::Meta),
            (layout.lock(), Object::Lock),
            (layout.resource(&web), Object::Resource(web.clone())),
            (layout.host(&host), Object::Host(host.clone())),
            (layout.incarnation(&web), Object::Incarnation(web.clone())),
            (layout.deposed(id), Object::Deposed(id)),
            (layout.output("a"), Object::Output("a".to_owned())),
            (layout.ownership(id), Object::Ownership(id)),
            (layout.operation(operation), Object::Operation(operation)),
        ] {
            assert_eq!(layout.parse(key.as_str()), Ok(object), "{key}");
        }
        let other = layout.parse("/drover/v1/prod/shop/res/server/server.a");
        assert_eq!(other, Ok(Object::OtherProject("shop".parse().expect("name"))));
    }

    #[test]
    fn keys_of_nobody_are_refused() {
        for bad in [
            "",
            "/drover/v1/prod",
            "/drover/v1/other/meta",
            "/drover/v1/prod/own/x",
            "/drover/v1/prod/default/res/server/image.a",
            "/drover/v1/prod/default/res/host/a/b",
            "/drover/v1/prod/default/x/y",
        ] {
            assert_eq!(layout().parse(bad), Err(KeyError(bad.to_owned())));
        }
    }
}
