//! Which named thing a traversal begins with: `var.x`, `local.x`, `server.web`, `count.index`, `each.key`, …

use crate::diagnostic::{Diagnostic, did_you_mean};
use drover_types::Kind;
use hcl::edit::Decorated;
use hcl::edit::expr::TraversalOperator;
use std::sync::Arc;

/// A name that expressions can refer to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// `var.NAME`.
    Variable(Arc<str>),
    /// `local.NAME`.
    Local(Arc<str>),
    /// `KIND.NAME`.
    Resource(Kind, Arc<str>),
    /// `module.NAME`.
    Module(Arc<str>),
    /// `data.KIND.NAME`.
    Data(DataKind, Arc<str>),
    /// `count.index`.
    CountIndex,
    /// `each.key`.
    EachKey,
    /// `each.value`.
    EachValue,
    /// `path.NAME`.
    Path(Arc<str>),
    /// `drover.NAME`.
    Drover(Arc<str>),
    /// `self`.
    Itself,
}

/// What a `data` block reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataKind {
    /// One recorded host.
    Host,
    /// One recorded image.
    Image,
    /// One recorded server.
    Server,
    /// Recorded hosts.
    Hosts,
    /// Recorded servers.
    Servers,
}

impl DataKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Host, Self::Image, Self::Server, Self::Hosts, Self::Servers];

    /// The block's first label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Image => "image",
            Self::Server => "server",
            Self::Hosts => "hosts",
            Self::Servers => "servers",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Arguments that say what is wanted, beside `project`.
    #[must_use]
    pub const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Host => &["name"],
            Self::Image | Self::Server => &["address"],
            Self::Hosts => &["labels", "availability_zone", "state"],
            Self::Servers => &["labels", "availability_zone", "host"],
        }
    }

    /// What its value has.
    #[must_use]
    pub const fn attributes(self) -> &'static [&'static str] {
        match self {
            Self::Host => &["name", "address", "availability_zone", "labels", "state"],
            Self::Image => &["name", "address", "source", "checksum", "format", "properties"],
            Self::Server => &[
                "id",
                "name",
                "address",
                "host",
                "flavor",
                "image",
                "group",
                "availability_zone",
                "power",
                "labels",
                "vcpus",
                "ram",
                "ram_bytes",
                "disk",
                "disk_bytes",
            ],
            Self::Hosts => &["names", "hosts"],
            Self::Servers => &["addresses", "servers"],
        }
    }
}

impl std::fmt::Display for DataKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why the beginning of a traversal names nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceError {
    /// What is wrong.
    pub detail: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

/// What a traversal can begin with.
const ROOTS: [&str; 13] = [
    "var", "local", "host", "flavor", "image", "group", "server", "module", "data", "count", "each", "path",
    "drover",
];

impl Reference {
    /// Reads the root and the operators it needs; also tells how many of these belong to the name.
    ///
    /// # Errors
    /// When the root is unknown, or what must follow it is missing.
    pub fn parse(
        root: &str,
        operators: &[Decorated<TraversalOperator>],
    ) -> Result<(Self, usize), ReferenceError> {
        let attribute = match operators.first().map(Decorated::value) {
            Some(TraversalOperator::GetAttr(name)) => Some(name.as_str()),
            Some(
                TraversalOperator::Index(_)
                | TraversalOperator::LegacyIndex(_)
                | TraversalOperator::AttrSplat(_)
                | TraversalOperator::FullSplat(_),
            )
            | None => None,
        };
        let need = |example: &str| {
            attribute.ok_or_else(|| ReferenceError {
                detail: format!(
                    "{root:?} alone is no value: it must be followed by a name, for example {example}."
                ),
                hint: None,
            })
        };
        if let Some(kind) = Kind::ALL.iter().copied().find(|kind| kind.as_str() == root) {
            let name = need(&format!("{root}.name"))?;
            return Ok((Self::Resource(kind, name.into()), 1));
        }
        match root {
            "var" => Ok((Self::Variable(need("var.name")?.into()), 1)),
            "local" => Ok((Self::Local(need("local.name")?.into()), 1)),
            "module" => Ok((Self::Module(need("module.name")?.into()), 1)),
            "data" => {
                let kind = need("data.host.name")?;
                let Some(kind) = DataKind::named(kind) else {
                    return Err(ReferenceError {
                        detail: format!(
                            "There is no data of type {kind:?}. There are {}.",
                            DataKind::ALL.map(DataKind::as_str).join(", ")
                        ),
                        hint: did_you_mean(kind, DataKind::ALL.map(DataKind::as_str)),
                    });
                };
                match operators.get(1).map(Decorated::value) {
                    Some(TraversalOperator::GetAttr(name)) => Ok((Self::Data(kind, name.as_str().into()), 2)),
                    Some(
                        TraversalOperator::Index(_)
                        | TraversalOperator::LegacyIndex(_)
                        | TraversalOperator::AttrSplat(_)
                        | TraversalOperator::FullSplat(_),
                    )
                    | None => Err(ReferenceError {
                        detail: format!(
                            "\"data.{kind}\" must be followed by the name of a block: data.{kind}.name."
                        ),
                        hint: None,
                    }),
                }
            }
            "path" => Ok((Self::Path(need("path.module")?.into()), 1)),
            "drover" => Ok((Self::Drover(need("drover.fleet")?.into()), 1)),
            "self" => Ok((Self::Itself, 0)),
            "count" => match need("count.index")? {
                "index" => Ok((Self::CountIndex, 1)),
                other => Err(ReferenceError {
                    detail: format!("count has no attribute {other:?}: it has only count.index."),
                    hint: did_you_mean(other, ["index"]),
                }),
            },
            "each" => match need("each.key")? {
                "key" => Ok((Self::EachKey, 1)),
                "value" => Ok((Self::EachValue, 1)),
                other => Err(ReferenceError {
                    detail: format!("each has no attribute {other:?}: it has each.key and each.value."),
                    hint: did_you_mean(other, ["key", "value"]),
                }),
            },
            other => Err(ReferenceError {
                detail: format!(
                    "There is nothing named {other:?} here. A reference begins with var, local, host, flavor, image, \
                     group, server, module, data, count, each, path or drover; a text stands in quotes."
                ),
                hint: match other {
                    "locals" => Some("did you mean \"local\"?".to_owned()),
                    "variable" | "vars" => Some("did you mean \"var\"?".to_owned()),
                    _ => did_you_mean(other, ROOTS),
                },
            }),
        }
    }

    /// Why this reference stands for nothing where it is used; `known` are the names of its kind.
    pub(crate) fn undeclared<'n>(&self, known: impl IntoIterator<Item = &'n str>) -> Diagnostic {
        let unknown = |what: &str, name: &str, fix: String| {
            let detail = format!("No {what} named {name:?} is declared. {fix}");
            Diagnostic::error("Unknown reference", detail).hint(did_you_mean(name, known))
        };
        match self {
            Self::Variable(name) => unknown(
                "variable",
                name,
                format!("Declare it with:\nvariable \"{name}\" {{}}"),
            ),
            Self::Local(name) => unknown("local value", name, "Declare it in a locals block.".to_owned()),
            Self::Resource(kind, name) => unknown(
                kind.as_str(),
                name,
                format!("Declare it with:\n{kind} \"{name}\" {{ ... }}"),
            ),
            Self::Module(name) => unknown(
                "module",
                name,
                format!("Call one with:\nmodule \"{name}\" {{ ... }}"),
            ),
            Self::Data(kind, name) => unknown(
                &format!("data of type {kind}"),
                name,
                format!("Declare it with:\ndata \"{kind}\" \"{name}\" {{ ... }}"),
            ),
            Self::Path(name) => unknown(
                "path",
                name,
                "There are path.module, path.root and path.cwd.".to_owned(),
            ),
            Self::Drover(name) => unknown(
                "drover attribute",
                name,
                "There are drover.fleet and drover.project.".to_owned(),
            ),
            Self::CountIndex => Diagnostic::error(
                "Reference to \"count\" without count",
                "count.index can be used only in blocks that have the argument \"count\", and not in that argument.",
            ),
            Self::EachKey | Self::EachValue => Diagnostic::error(
                "Reference to \"each\" without for_each",
                "each.key and each.value can be used only in blocks that have the argument \"for_each\", and not in \
                 that argument.",
            ),
            Self::Itself => Diagnostic::error(
                "Invalid \"self\" reference",
                "self cannot be used here: write the block's address.",
            ),
        }
    }

    /// Why this reference to what a `data` block in a check reads stands for nothing outside of that check.
    pub(crate) fn scoped(&self, check: Option<&str>) -> Diagnostic {
        let place = check.map_or_else(|| "a check".to_owned(), |check| format!("check {check:?}"));
        let detail = format!(
            "{} stands in {place}, whose asserts alone know it. Declare it outside of the check to use it here too.",
            self.text()
        );
        Diagnostic::error("Reference to scoped data", detail)
    }

    /// As files write it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Variable(name) => format!("var.{name}"),
            Self::Local(name) => format!("local.{name}"),
            Self::Resource(kind, name) => format!("{kind}.{name}"),
            Self::Module(name) => format!("module.{name}"),
            Self::Data(kind, name) => format!("data.{kind}.{name}"),
            Self::CountIndex => "count.index".to_owned(),
            Self::EachKey => "each.key".to_owned(),
            Self::EachValue => "each.value".to_owned(),
            Self::Path(name) => format!("path.{name}"),
            Self::Drover(name) => format!("drover.{name}"),
            Self::Itself => "self".to_owned(),
        }
    }
}
