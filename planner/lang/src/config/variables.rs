//! Variables: their types and defaults, and the values given for them from outside.

use super::declarations::{Declarations, Declared};
use super::type_expression::read_type;
use crate::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use crate::eval::{Evaluator, Limits, each_free_name};
use crate::functions::NoFiles;
use crate::source::{FileId, SourceMap, Span};
use crate::value::{Cause, Marks, Type, Unknown, Value, convert};
use hcl::edit::Span as _;
use hcl::edit::expr::Expression;
use hcl::edit::structure::Structure;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where values of variables come from. Give them in Terraform's order of precedence: environment,
/// `drover.vars.hcl`, `*.auto.vars.hcl` by name, then `--var` and `--var-file` in the order of the command line.
/// A later one wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VariableSource {
    /// `DROVER_VAR_name`. Names that no file declares are ignored: the environment is shared.
    Environment {
        /// Without `DROVER_VAR_`.
        name: String,
        /// The value's text.
        text: String,
    },
    /// A file of arguments. Names that no file declares are warned about.
    File {
        /// As the user named it.
        path: String,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// The text after `--var`: `name=value`. A name that no file declares is an error.
    Argument {
        /// For example `web_count=3`.
        text: String,
    },
}

/// A value given from outside, before conversion.
struct Given {
    value: Value,
    span: Option<Span>,
}

/// A variable's declaration, evaluated.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    ty: Type,
    default: Option<Value>,
    /// Whether a text given from outside is the value itself: simple types, and variables without a type.
    literal: bool,
    marks: Marks,
    nullable: bool,
}

/// The value of every declared variable. Missing ones are errors, or unknown where only files are checked.
pub(super) fn variable_values(
    declarations: &Declarations,
    sources: &mut SourceMap,
    given: &[VariableSource],
    missing_is_unknown: bool,
    found: &mut Diagnostics,
) -> BTreeMap<Arc<str>, Value> {
    let mut rules: BTreeMap<&Arc<str>, Rules> = BTreeMap::new();
    for (name, declared) in &declarations.variables {
        rules.insert(name, read_rules(declared, sources, found));
    }
    let given = collect_given(declarations, &rules, sources, given, found);
    let mut values = BTreeMap::new();
    for (name, rules) in rules {
        let declared = &declarations.variables[name];
        let value = match (given.get(name), &rules.default) {
            (Some(given), _) => accept(name, given, &rules, declared, found),
            (None, Some(default)) => default.clone(),
            (None, None) if missing_is_unknown => {
                Unknown::new(rules.ty.clone(), Cause::Variable(name.clone())).into()
            }
            (None, None) => {
                let detail = format!(
                    "The variable {name:?} has no default, so a value must be given: --var {name}=..., a file given with \
                     --var-file, drover.vars.hcl, or the environment variable DROVER_VAR_{name}."
                );
                let diagnostic = Diagnostic::error("No value for required variable", detail);
                found.push(diagnostic.at_maybe(declared.header).within(&declared.title));
                Value::failed()
            }
        };
        values.insert(name.clone(), value.marked(rules.marks));
    }
    values
}

/// What a variable's block says of its values.
pub(super) fn read_rules(declared: &Declared, sources: &SourceMap, found: &mut Diagnostics) -> Rules {
    // Defaults and types hold no references, so they get an evaluator that knows no names.
    let mut evaluator = Evaluator::new(sources, &NoFiles, declared.file, Limits::default());
    evaluator.enter(declared.file, Some(declared.title.clone()));
    let mut flag = |name: &str, otherwise: bool| match declared.argument(name) {
        None => otherwise,
        Some(expression) => {
            let value = evaluator.eval(expression);
            match convert(&value, &Type::Bool)
                .ok()
                .and_then(|value| value.as_bool())
            {
                Some(truth) => truth,
                None => {
                    if !value.is_failed() {
                        let span = declared.span(expression);
                        let detail = format!("{name} must be true or false.");
                        evaluator.report(Diagnostic::error("Invalid argument", detail).at_maybe(span));
                    }
                    otherwise
                }
            }
        }
    };
    let sensitive = flag("sensitive", false);
    let ephemeral = flag("ephemeral", false);
    let nullable = flag("nullable", true);
    let ty = declared
        .argument("type")
        .map_or(Type::Any, |expression| read_type(expression, &mut evaluator));
    let default = declared.argument("default").map(|expression| {
        // That references are not allowed was said by the check of all expressions.
        if has_names(expression) {
            return Value::failed();
        }
        let value = evaluator.eval(expression);
        if value.is_failed() {
            return value;
        }
        let problem = match convert(&value, &ty) {
            Ok(value) if nullable || !value.is_null() => return value,
            Ok(_) => "The variable is not nullable, so its default must not be null.".to_owned(),
            Err(error) => format!("This default does not fit the variable's type {ty}: {error}."),
        };
        let span = declared.span(expression);
        evaluator.report(Diagnostic::error("Invalid default value for variable", problem).at_maybe(span))
    });
    found.extend(evaluator.into_diagnostics());
    Rules {
        literal: ty.is_primitive() || declared.argument("type").is_none(),
        ty,
        default,
        marks: Marks::SENSITIVE.when(sensitive) | Marks::EPHEMERAL.when(ephemeral),
        nullable,
    }
}

fn accept(name: &str, given: &Given, rules: &Rules, declared: &Declared, found: &mut Diagnostics) -> Value {
    match accepted(name, given, rules, declared) {
        Ok(value) => value,
        Err(diagnostic) => {
            found.push(*diagnostic);
            Value::failed()
        }
    }
}

/// The value that a variable of a module has; `given` is the argument of the call, where there is one.
pub(super) fn module_variable(
    declared: &Declared,
    rules: &Rules,
    given: Option<(Value, Option<Span>)>,
) -> Result<Value, Box<Diagnostic>> {
    let value = match given {
        Some((value, span)) => accepted(&declared.name, &Given { value, span }, rules, declared)?,
        // That none is given was said by the check of the call.
        None => rules.default.clone().unwrap_or_else(Value::failed),
    };
    Ok(value.marked(rules.marks))
}

fn accepted(name: &str, given: &Given, rules: &Rules, declared: &Declared) -> Result<Value, Box<Diagnostic>> {
    if given.value.is_failed() {
        return Ok(given.value.clone());
    }
    let problem = match convert(&given.value.clone().marked(rules.marks), &rules.ty) {
        Ok(value) if value.is_null() && !rules.nullable => match &rules.default {
            // As Terraform: null stands for the default where null itself is not allowed.
            Some(default) => return Ok(default.clone()),
            None => "null is given, but the variable is not nullable.".to_owned(),
        },
        Ok(value) => return Ok(value),
        Err(error) => format!(
            "The value does not fit the type of var.{name}, {}: {error}.",
            rules.ty
        ),
    };
    let mut diagnostic = Diagnostic::error("Invalid value for variable", problem)
        // A sensitive value must not be shown with its line.
        .at_maybe(given.span.filter(|_| rules.marks == Marks::NONE));
    if let Some(header) = declared.header {
        diagnostic = diagnostic.label(header, "declared here");
    }
    Err(Box::new(diagnostic))
}

fn collect_given(
    declarations: &Declarations,
    rules: &BTreeMap<&Arc<str>, Rules>,
    sources: &mut SourceMap,
    given: &[VariableSource],
    found: &mut Diagnostics,
) -> BTreeMap<Arc<str>, Given> {
    let known = || declarations.variables.keys().map(|name| &**name);
    let mut values: BTreeMap<Arc<str>, Given> = BTreeMap::new();
    for source in given {
        match source {
            VariableSource::Environment { name, text } => {
                if let Some((name, rules)) = rules.get_key_value(&Arc::from(name.as_str())) {
                    let file = sources.add(format!("<DROVER_VAR_{name}>"), text);
                    let value = read_text(file, 0, rules, sources, found);
                    values.insert((*name).clone(), value);
                }
            }
            VariableSource::Argument { text } => {
                let shown: String = text
                    .split('=')
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take(80)
                    .collect();
                let file = sources.add(format!("<--var {shown}>"), text);
                let Some((name, _)) = text.split_once('=') else {
                    let detail = format!("{shown:?} has no value: write --var name=value.");
                    found.push(
                        Diagnostic::error("Invalid --var option", detail).at(Span::new(file, 0..text.len())),
                    );
                    continue;
                };
                match rules.get_key_value(&Arc::from(name.trim())) {
                    Some((declared, rules)) => {
                        let value = read_text(file, name.len() + 1, rules, sources, found);
                        values.insert((*declared).clone(), value);
                    }
                    None => {
                        let detail = format!("No file declares a variable {:?}.", name.trim());
                        let diagnostic = Diagnostic::error("Value for undeclared variable", detail);
                        let diagnostic = diagnostic.at(Span::new(file, 0..name.len()));
                        found.push(diagnostic.hint(did_you_mean(name.trim(), known())));
                    }
                }
            }
            VariableSource::File { path, bytes } => {
                let input = super::InputFile {
                    path: path.clone(),
                    bytes: bytes.clone(),
                };
                if let Some(file) = super::files::add_source(sources, &input, found) {
                    read_file(file, declarations, sources, &mut values, found);
                }
            }
        }
    }
    values
}

/// The value in a text from `at` on: the text itself for simple types, an expression for others.
fn read_text(file: FileId, at: usize, rules: &Rules, sources: &SourceMap, found: &mut Diagnostics) -> Given {
    let text = sources.file(file).text();
    // A sensitive value must not be shown with its line.
    let span = Some(Span::new(file, at.min(text.len())..text.len())).filter(|_| rules.marks == Marks::NONE);
    let body = text.get(at..).unwrap_or_default();
    if rules.literal {
        let value = Value::from(body).marked(rules.marks);
        let value = span.map_or_else(|| value.clone(), |span| value.clone().from_place(span));
        return Given { value, span };
    }
    let value = match body.trim().parse::<Expression>() {
        Ok(expression) => {
            // The expression's places count from its own beginning, so it gets a text of its own.
            let mut own = SourceMap::default();
            let own_file = own.add(sources.file(file).path(), body.trim());
            let mut evaluator = Evaluator::new(&own, &NoFiles, own_file, Limits::default());
            let value = evaluator.eval(&expression);
            for problem in evaluator.into_diagnostics().sorted() {
                found.push(Diagnostic::error(&problem.summary, &problem.detail).at_maybe(span));
            }
            span.map_or_else(
                || value.clone(),
                |span| value.clone().without_origin().from_place(span),
            )
        }
        Err(error) => {
            let detail = format!(
                "A variable of type {} is given as an expression, for example [\"a\", \"b\"]. The parser says: {}.",
                rules.ty,
                error.message()
            );
            found.push(Diagnostic::error("Invalid value for variable", detail).at_maybe(span));
            Value::failed()
        }
    };
    Given { value, span }
}

fn read_file(
    file: FileId,
    declarations: &Declarations,
    sources: &SourceMap,
    values: &mut BTreeMap<Arc<str>, Given>,
    found: &mut Diagnostics,
) {
    let (body, _) = super::files::parse_body(sources, file, found);
    // One evaluator per file: its memory of expressions must not outlive them.
    let mut evaluator = Evaluator::new(sources, &NoFiles, file, Limits::default());
    for structure in body.iter() {
        match structure {
            Structure::Block(block) => {
                let span = super::schema::header(file, block);
                let detail = "A file of variables holds only arguments: name = value.";
                evaluator.report(Diagnostic::error("Unexpected block", detail).at_maybe(span));
            }
            Structure::Attribute(attribute) => {
                let name = attribute.key.as_str();
                let span = attribute.key.span().map(|range| Span::new(file, range));
                match declarations.variables.get_key_value(name) {
                    Some((name, _)) => {
                        let span = evaluator.span_of(&attribute.value).or(span);
                        let value = if has_names(&attribute.value) {
                            let detail = "A value in a file of variables must be constant: it cannot refer to anything.";
                            evaluator
                                .report(Diagnostic::error("References not allowed", detail).at_maybe(span))
                        } else {
                            evaluator.eval(&attribute.value)
                        };
                        values.insert(name.clone(), Given { value, span });
                    }
                    None => {
                        let detail = format!("No file declares a variable {name:?}; its value is not used.");
                        let hint = did_you_mean(name, declarations.variables.keys().map(|name| &**name));
                        evaluator.report(
                            Diagnostic::warning("Value for undeclared variable", detail)
                                .at_maybe(span)
                                .hint(hint),
                        );
                    }
                }
            }
        }
    }
    found.extend(evaluator.into_diagnostics());
}

/// Whether an expression refers to anything.
fn has_names(expression: &Expression) -> bool {
    let mut any = false;
    each_free_name(expression, &mut |_| any = true);
    any
}
