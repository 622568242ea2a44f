//! What names stand for.

use super::DataKind;
use crate::value::Value;
use drover_types::Kind;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The values that references can reach, filled block by block.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// By name, without `var.`.
    pub variables: BTreeMap<Arc<str>, Value>,
    /// By name, without `local.`.
    pub locals: BTreeMap<Arc<str>, Value>,
    /// One object, or with `count` a tuple and with `for_each` an object of objects.
    pub resources: BTreeMap<(Kind, Arc<str>), Value>,
    /// The outputs of each module called: one object, or with `count` a tuple and with `for_each` an object of
    /// objects.
    pub modules: BTreeMap<Arc<str>, Value>,
    /// What `data` blocks read; with `count` a tuple and with `for_each` an object of objects.
    pub data: BTreeMap<(DataKind, Arc<str>), Value>,
    /// What `data` blocks in checks read: references reach it while its check is judged.
    pub scoped: BTreeMap<(DataKind, Arc<str>), Value>,
    /// What `path.module`, `path.root` and `path.cwd` stand for.
    pub paths: BTreeMap<Arc<str>, Value>,
    /// What `drover.fleet` and `drover.project` stand for.
    pub drover: BTreeMap<Arc<str>, Value>,
    /// What `self` stands for, in conditions about a block.
    pub itself: Option<Value>,
}

/// What `count.index` and `each` stand for within one instance.
#[derive(Debug, Clone, Default)]
pub struct Instance {
    /// `count.index`.
    pub index: Option<u64>,
    /// `each.key` and `each.value`.
    pub each: Option<(Arc<str>, Value)>,
}
