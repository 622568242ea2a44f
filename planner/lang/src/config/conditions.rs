//! Conditions that files state about their own values: `precondition`, `postcondition`, `assert`.

use super::declarations::Declared;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::eval::{DataKind, Evaluator, Judged};
use crate::value::{Type, Value, convert};
use drover_core::plan::{CheckKind, CheckStatus};
use drover_types::{InstanceKey, ModuleStep};
use hcl::edit::Span as _;
use hcl::edit::expr::Expression;
use hcl::edit::structure::{Block, Body};
use std::sync::Arc;

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// What must hold before a resource is planned.
    Precondition,
    /// What must hold of a planned resource.
    Postcondition,
    /// What must hold before an output is computed.
    OutputPrecondition,
    /// What ought to hold of the fleet.
    Assertion,
    /// What a test demands of a plan.
    TestAssertion,
}

impl Subject {
    const ALL: [Self; 5] = [
        Self::Precondition,
        Self::Postcondition,
        Self::OutputPrecondition,
        Self::Assertion,
        Self::TestAssertion,
    ];

    /// Whether a diagnostic with this summary says that a condition does not hold.
    pub(super) fn is_summary(summary: &str) -> bool {
        Self::ALL.iter().any(|subject| subject.summary() == summary)
    }

    fn summary(self) -> &'static str {
        match self {
            Self::Precondition => "Resource precondition failed",
            Self::Postcondition => "Resource postcondition failed",
            Self::OutputPrecondition => "Output precondition failed",
            Self::Assertion => "Check block assertion failed",
            Self::TestAssertion => "Test assertion failed",
        }
    }

    fn severity(self) -> Severity {
        match self {
            Self::Precondition | Self::Postcondition | Self::OutputPrecondition | Self::TestAssertion => {
                Severity::Error
            }
            Self::Assertion => Severity::Warning,
        }
    }
}

/// One condition of a block.
#[derive(Clone, Copy)]
pub(super) struct Rule<'d> {
    pub(super) subject: Subject,
    pub(super) condition: &'d Expression,
    pub(super) message: &'d Expression,
}

/// What a condition came to.
#[derive(Debug)]
pub(super) enum Verdict {
    Holds,
    /// It does not hold; this says so.
    Fails(Box<Diagnostic>),
    /// It needs what is not known yet.
    Open,
    /// It could not be evaluated, which is reported.
    Wrong,
}

/// The conditions of one kind that stand in a body, complete ones only: the schema reports others.
pub(super) fn rules<'d>(body: &'d Body, word: &'static str, subject: Subject) -> Vec<Rule<'d>> {
    let complete = |block: &'d Block| {
        Some(Rule {
            subject,
            condition: &block.body.get_attribute("condition")?.value,
            message: &block.body.get_attribute("error_message")?.value,
        })
    };
    body.get_blocks(word).filter_map(complete).collect()
}

/// The conditions of a resource or a `data` block: those before it, and those about what is planned or read.
pub(super) fn resource_rules(declared: &Declared) -> Vec<Rule<'_>> {
    let mut all = Vec::new();
    for lifecycle in declared.block.body.get_blocks("lifecycle") {
        all.extend(rules(&lifecycle.body, "precondition", Subject::Precondition));
        all.extend(rules(&lifecycle.body, "postcondition", Subject::Postcondition));
    }
    all
}

/// Evaluates a condition, and where it does not hold its message.
pub(super) fn judge(rule: &Rule<'_>, evaluator: &mut Evaluator<'_>) -> Verdict {
    let value = evaluator.eval(rule.condition);
    if value.is_failed() {
        return Verdict::Wrong;
    }
    if value.why_unknown().is_some() {
        return Verdict::Open;
    }
    let truth = match convert(&value, &Type::Bool) {
        Ok(truth) => truth.as_bool(),
        Err(error) => {
            let detail = format!("The condition must be true or false: {error}.");
            evaluator.fail(
                rule.condition,
                Diagnostic::error("Invalid condition result", detail),
            );
            return Verdict::Wrong;
        }
    };
    match truth {
        Some(true) => Verdict::Holds,
        Some(false) => {
            let mut diagnostic = Diagnostic::error(rule.subject.summary(), message(rule.message, evaluator));
            diagnostic.severity = rule.subject.severity();
            Verdict::Fails(Box::new(evaluator.described(rule.condition, diagnostic)))
        }
        None => {
            let detail = "The condition is null; it must be true or false.";
            evaluator.fail(
                rule.condition,
                Diagnostic::error("Invalid condition result", detail),
            );
            Verdict::Wrong
        }
    }
}

/// The same, and noted as what the conditions of this came to.
pub(super) fn judge_of(rule: &Rule<'_>, judged: &Judged, evaluator: &mut Evaluator<'_>) -> Verdict {
    let verdict = judge(rule, evaluator);
    let (status, problem) = match &verdict {
        Verdict::Holds => (CheckStatus::Pass, None),
        Verdict::Open => (CheckStatus::Unknown, None),
        Verdict::Wrong => (CheckStatus::Error, None),
        Verdict::Fails(diagnostic) => (CheckStatus::Fail, Some(diagnostic.detail.as_str())),
    };
    evaluator.checked.add(judged, status, problem);
    verdict
}

/// What conditions are about, as `own` names it in its module. `modules` are those on the way to it, `key` tells it
/// from other instances of its block.
pub(super) fn judged(
    kind: CheckKind,
    modules: &[ModuleStep],
    own: &str,
    key: Option<&InstanceKey>,
) -> Judged {
    let path = |keyed: bool| {
        let mut text = String::new();
        for step in modules {
            let key = step.key.as_ref().filter(|_| keyed);
            text.push_str(&format!("module.{}", step.name));
            text.extend(key.map(ToString::to_string));
            text.push('.');
        }
        text + own
    };
    let mut instance = path(true);
    instance.extend(key.map(ToString::to_string));
    Judged {
        kind,
        block: path(false),
        instance,
    }
}

/// The text of an error message; what must not be shown is not.
pub(super) fn message(expression: &Expression, evaluator: &mut Evaluator<'_>) -> String {
    let value = evaluator.eval(expression);
    let hidden = if value.holds_ephemeral() {
        Some("an ephemeral")
    } else if value.holds_sensitive() {
        Some("a sensitive")
    } else {
        None
    };
    if let Some(hidden) = hidden {
        return format!("The error message holds {hidden} value and is not shown.");
    }
    match convert(&value, &Type::String).as_ref().map(Value::as_str) {
        Ok(Some(text)) => text.trim_end().to_owned(),
        Ok(None) | Err(_) => "The condition does not hold, and its error message is no text.".to_owned(),
    }
}

/// Judges the asserts of a `check` block, which know what its own `data` block read; true if one needs what is not
/// known yet. Nothing in here is more than a warning.
pub(super) fn run_check(
    declared: &Declared,
    data: Option<&(DataKind, Arc<str>)>,
    modules: &[ModuleStep],
    context: String,
    evaluator: &mut Evaluator<'_>,
) -> bool {
    let judged = judged(
        CheckKind::Check,
        modules,
        &format!("check.{}", declared.name),
        None,
    );
    evaluator.checked.begin(&judged);
    evaluator.enter(declared.file, Some(context));
    if let Some(key) = data {
        let read = evaluator.environment.scoped.get(key).cloned();
        let read = read.unwrap_or_else(Value::failed);
        evaluator.environment.data.insert(key.clone(), read);
    }
    let kept = std::mem::take(&mut evaluator.diagnostics);
    let mut open = false;
    for rule in rules(&declared.block.body, "assert", Subject::Assertion) {
        match judge_of(&rule, &judged, evaluator) {
            Verdict::Holds | Verdict::Wrong => {}
            Verdict::Open => open = true,
            Verdict::Fails(diagnostic) => {
                evaluator.report(*diagnostic);
            }
        }
    }
    let found = std::mem::replace(&mut evaluator.diagnostics, kept);
    evaluator.diagnostics.extend(found.into_warnings());
    if let Some(key) = data {
        evaluator.environment.data.remove(key);
    }
    open
}

/// What does not hold of the instances of one block: one diagnostic per condition and message, however many
/// instances there are.
#[derive(Default)]
pub(super) struct Failures {
    list: Vec<(Diagnostic, Vec<String>, usize)>,
}

/// Addresses named in one diagnostic.
const NAMED: usize = 5;
/// Different messages of one block that are shown, where each of 10,000 instances has its own.
const MESSAGES: usize = 20;

impl Failures {
    /// Judges the conditions of one instance; true if one needs what is not known yet. `itself` is what `self`
    /// stands for.
    pub(super) fn judge(
        &mut self,
        rules: &[Rule<'_>],
        judged: impl FnOnce() -> Judged,
        itself: &Value,
        evaluator: &mut Evaluator<'_>,
    ) -> bool {
        let mut open = false;
        if rules.is_empty() {
            return open;
        }
        let judged = judged();
        evaluator.checked.begin(&judged);
        for rule in rules {
            evaluator.environment.itself = match rule.subject {
                Subject::Postcondition => Some(itself.clone()),
                Subject::Precondition
                | Subject::OutputPrecondition
                | Subject::Assertion
                | Subject::TestAssertion => None,
            };
            match judge_of(rule, &judged, evaluator) {
                Verdict::Holds | Verdict::Wrong => {}
                Verdict::Open => open = true,
                Verdict::Fails(diagnostic) => self.add(*diagnostic, &judged.instance),
            }
        }
        evaluator.environment.itself = None;
        open
    }

    fn add(&mut self, diagnostic: Diagnostic, instance: &str) {
        let known = self
            .list
            .iter_mut()
            .find(|(known, _, _)| known.span == diagnostic.span && known.detail == diagnostic.detail);
        if let Some((_, addresses, count)) = known {
            *count += 1;
            if addresses.len() < NAMED {
                addresses.push(instance.to_owned());
            }
        } else if self.list.len() < MESSAGES {
            self.list.push((diagnostic, vec![instance.to_owned()], 1));
        }
    }

    /// Everything that did not hold, each with the instances it is about.
    pub(super) fn report(self, found: &mut Diagnostics) {
        for (mut diagnostic, addresses, count) in self.list {
            if addresses.len() == 1 && !addresses[0].ends_with(']') {
                found.push_distinct(diagnostic);
                continue;
            }
            let more = match count - addresses.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            diagnostic.detail = format!(
                "{}\n\nIt does not hold for {}{more}.",
                diagnostic.detail,
                addresses.join(", ")
            );
            found.push_distinct(diagnostic);
        }
    }
}

/// Checks a list of references that says only what comes first: `depends_on` of an output.
pub(super) fn check_depends_on(declared: &Declared, evaluator: &mut Evaluator<'_>) {
    let Some(expression) = declared.argument("depends_on") else {
        return;
    };
    let wrong = |evaluator: &mut Evaluator<'_>, about: &Expression| {
        let detail = "depends_on is a list of addresses without quotes: [server.db].";
        let span = about
            .span()
            .map(|range| crate::source::Span::new(declared.file, range));
        evaluator.report(Diagnostic::error("Invalid depends_on argument", detail).at_maybe(span));
    };
    let Expression::Array(items) = expression else {
        return wrong(evaluator, expression);
    };
    for item in items.iter() {
        if !matches!(item, Expression::Traversal(_)) {
            wrong(evaluator, item);
        }
    }
}
