//! Templates: quoted ones, heredocs, and files read by `templatefile`.

use super::Evaluator;
use super::for_loop::Iterated;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::value::{Cause, Marks, Type, Unknown, Value, convert};
use hcl::edit::expr::Expression;
use hcl::edit::template::{Directive, Element, ForDirective, IfDirective, StringTemplate, Strip, Template};
use std::sync::Arc;

/// Text gathered so far, and what it is tainted with.
#[derive(Default)]
struct Gathered {
    text: String,
    marks: Marks,
    unknown: Option<Cause>,
}

impl Gathered {
    fn unknown(&mut self, cause: &Cause) {
        if self.unknown.as_ref().is_none_or(|known| cause < known) {
            self.unknown = Some(cause.clone());
        }
    }
}

/// What `~` strips: HCL's scanner gives one literal a line in heredocs and files, and one for all in quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Literals {
    Whole,
    ByLine,
}

fn strip_front(text: &str, literals: Literals) -> std::borrow::Cow<'_, str> {
    match literals {
        Literals::Whole => text.trim_start().into(),
        Literals::ByLine => {
            let end = text.find('\n').map_or(text.len(), |at| at + 1);
            let (first, rest) = text.split_at(end);
            let first = first.trim_start();
            if first.is_empty() {
                rest.into()
            } else {
                format!("{first}{rest}").into()
            }
        }
    }
}

fn strip_back(text: &str, literals: Literals) -> &str {
    match literals {
        Literals::Whole => text.trim_end(),
        Literals::ByLine => {
            let body = text.strip_suffix('\n').unwrap_or(text);
            let start = if body.len() < text.len() {
                body.rfind('\n').map_or(0, |at| at + 1)
            } else {
                text.rfind('\n').map_or(0, |at| at + 1)
            };
            &text[..start + text[start..].trim_end().len()]
        }
    }
}

/// Which neighbours an element strips: the one before it, the one after it.
fn strips(element: &Element) -> (bool, bool) {
    let pair = |front: Strip, back: Strip| (front.strip_start(), back.strip_end());
    match element {
        Element::Literal(_) => (false, false),
        Element::Interpolation(interpolation) => pair(interpolation.strip, interpolation.strip),
        Element::Directive(directive) => match &**directive {
            Directive::If(choice) => pair(choice.if_expr.strip, choice.endif_expr.strip),
            Directive::For(each) => pair(each.for_expr.strip, each.endfor_expr.strip),
        },
    }
}

impl Evaluator<'_> {
    #[inline(never)]
    pub(super) fn quoted_template(&mut self, template: &StringTemplate, whole: &Expression) -> Value {
        let mut elements = template.iter();
        if let (Some(Element::Interpolation(only)), None) = (elements.next(), elements.next()) {
            return self.eval(&only.expr);
        }
        let elements: Vec<&Element> = template.iter().collect();
        self.gather(&elements, Literals::Whole, whole)
    }

    #[inline(never)]
    pub(super) fn heredoc_template(&mut self, template: &Template, whole: &Expression) -> Value {
        let elements: Vec<&Element> = template.iter().collect();
        self.gather(&elements, Literals::ByLine, whole)
    }

    /// Fills in a template that stands in a file of its own. Only `names` can be referred to in it. What is
    /// wrong comes back apart: its places are in another file.
    pub(super) fn template_file(
        &mut self,
        template: &Template,
        names: Vec<(Arc<str>, Value)>,
        whole: &Expression,
    ) -> (Value, Diagnostics) {
        let scope = std::mem::replace(&mut self.scope, names);
        let inside = std::mem::replace(&mut self.inside_template_file, true);
        let kept = std::mem::take(&mut self.diagnostics);
        let elements: Vec<&Element> = template.iter().collect();
        let value = match elements.as_slice() {
            [Element::Interpolation(only)] => self.eval(&only.expr),
            _ => self.gather(&elements, Literals::ByLine, whole),
        };
        self.scope = scope;
        self.inside_template_file = inside;
        (value, std::mem::replace(&mut self.diagnostics, kept))
    }

    fn gather(&mut self, elements: &[&Element], literals: Literals, whole: &Expression) -> Value {
        let mut gathered = Gathered::default();
        self.elements(elements, (false, false), literals, whole, &mut gathered);
        match gathered.unknown {
            Some(cause) => Value::from(Unknown::new(Type::String, cause)).marked(gathered.marks),
            None => self.made(Value::from(gathered.text).marked(gathered.marks), whole),
        }
    }

    /// Appends what the elements give; `edges` says whether the first and last literal are stripped from outside.
    fn elements(
        &mut self,
        elements: &[&Element],
        edges: (bool, bool),
        literals: Literals,
        whole: &Expression,
        gathered: &mut Gathered,
    ) {
        for (at, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(literal) => {
                    let front = match at.checked_sub(1) {
                        Some(before) => strips(elements[before]).1,
                        None => edges.0,
                    };
                    let back = elements.get(at + 1).map_or(edges.1, |after| strips(after).0);
                    let text = if front {
                        strip_front(literal.as_str(), literals)
                    } else {
                        literal.as_str().into()
                    };
                    let text = if back { strip_back(&text, literals) } else { &text };
                    if !self.bytes(text.len(), whole) {
                        gathered.unknown(&Cause::Failed);
                        return;
                    }
                    gathered.text.push_str(text);
                }
                Element::Interpolation(interpolation) => {
                    let value = self.eval(&interpolation.expr);
                    self.interpolate(&value, &interpolation.expr, gathered);
                }
                Element::Directive(directive) => match &**directive {
                    Directive::If(choice) => self.if_directive(choice, literals, whole, gathered),
                    Directive::For(each) => self.for_directive(each, literals, whole, gathered),
                },
            }
        }
    }

    fn interpolate(&mut self, value: &Value, expression: &Expression, gathered: &mut Gathered) {
        gathered.marks |= value.held_marks();
        let problem = match convert(value, &Type::String) {
            Ok(text) => match (text.as_str(), text.why_unknown()) {
                (Some(text), _) => {
                    if self.bytes(text.len(), expression) {
                        gathered.text.push_str(text);
                    } else {
                        gathered.unknown(&Cause::Failed);
                    }
                    return;
                }
                (None, Some(cause)) => {
                    gathered.unknown(cause);
                    return;
                }
                (None, None) => "This value is null, which cannot stand in a text.".to_owned(),
            },
            Err(error) => format!(
                "This value cannot stand in a text: {error}. Use join or jsonencode to make one of it."
            ),
        };
        self.fail(
            expression,
            Diagnostic::error("Invalid template interpolation value", problem),
        );
        gathered.unknown(&Cause::Failed);
    }

    fn if_directive(
        &mut self,
        choice: &IfDirective,
        literals: Literals,
        whole: &Expression,
        gathered: &mut Gathered,
    ) {
        let condition = &choice.if_expr.cond_expr;
        let value = self.eval(condition);
        gathered.marks |= value.marks();
        let truth = match convert(&value, &Type::Bool) {
            Ok(truth) => truth,
            Err(error) => {
                let detail = format!("The condition must be true or false: {error}.");
                self.fail(condition, Diagnostic::error("Invalid template condition", detail))
            }
        };
        let end = choice.endif_expr.strip.strip_start();
        match (truth.as_bool(), truth.why_unknown()) {
            (Some(true), _) => {
                let back = choice
                    .else_expr
                    .as_ref()
                    .map_or(end, |otherwise| otherwise.strip.strip_start());
                let elements: Vec<&Element> = choice.if_expr.template.iter().collect();
                let edges = (choice.if_expr.strip.strip_end(), back);
                self.elements(&elements, edges, literals, whole, gathered);
            }
            (Some(false), _) => {
                if let Some(otherwise) = &choice.else_expr {
                    let elements: Vec<&Element> = otherwise.template.iter().collect();
                    self.elements(
                        &elements,
                        (otherwise.strip.strip_end(), end),
                        literals,
                        whole,
                        gathered,
                    );
                }
            }
            (None, Some(cause)) => gathered.unknown(cause),
            (None, None) => {
                let diagnostic = Diagnostic::error(
                    "Invalid template condition",
                    "The condition is null. It must be true or false.",
                );
                self.fail(condition, diagnostic);
                gathered.unknown(&Cause::Failed);
            }
        }
    }

    fn for_directive(
        &mut self,
        each: &ForDirective,
        literals: Literals,
        whole: &Expression,
        gathered: &mut Gathered,
    ) {
        let head = &each.for_expr;
        let pairs = match self.iterate(&head.collection_expr) {
            Iterated::Items(pairs, marks) => {
                gathered.marks |= marks;
                pairs
            }
            Iterated::Unknown(cause, marks) => {
                gathered.marks |= marks;
                gathered.unknown(&cause);
                return;
            }
        };
        let key_name: Option<Arc<str>> = head.key_var.as_ref().map(|name| name.as_str().into());
        let value_name: Arc<str> = head.value_var.as_str().into();
        let elements: Vec<&Element> = head.template.iter().collect();
        let edges = (head.strip.strip_end(), each.endfor_expr.strip.strip_start());
        let before = self.bound();
        for pair in pairs {
            if !self.steps(1, &head.collection_expr) {
                gathered.unknown(&Cause::Failed);
                return;
            }
            self.bind(key_name.as_ref(), &value_name, pair);
            self.elements(&elements, edges, literals, whole, gathered);
            self.unbind(before);
            if gathered.unknown == Some(Cause::Failed) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_one_line_of_a_heredoc_and_all_of_a_quoted_text() {
        assert_eq!(strip_front("\n  a\n", Literals::ByLine), "  a\n");
        assert_eq!(strip_front("  a\n b", Literals::ByLine), "a\n b");
        assert_eq!(strip_front("\n  a", Literals::Whole), "a");
        assert_eq!(strip_back("a\n  ", Literals::ByLine), "a\n");
        assert_eq!(strip_back("a \n", Literals::ByLine), "a");
        assert_eq!(strip_back("a\n\n", Literals::ByLine), "a\n");
        assert_eq!(strip_back("a \n ", Literals::Whole), "a");
        assert_eq!(strip_back("é", Literals::ByLine), "é");
        assert_eq!(strip_back("", Literals::ByLine), "");
    }
}
