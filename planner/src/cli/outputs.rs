//! `drover output`: the values that the last apply recorded.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::fleet::Fleet;
use super::options::VariableOptions;
use super::output::Output;
use super::project::{Form, Project};
use clap::Args;
use drover_core::model::OutputRecord;
use drover_types::RequestId;
use serde_json::Value;
use std::collections::BTreeMap;

/// Show the outputs that the last apply recorded
#[derive(Debug, Args)]
pub(super) struct OutputCommand {
    /// Only this one
    name: Option<String>,
    /// Print as JSON, sensitive values in clear
    #[arg(long)]
    json: bool,
    /// Print a text or number as it is, for scripts
    #[arg(long, requires = "name", conflicts_with = "json")]
    raw: bool,
    #[command(flatten)]
    variables: VariableOptions,
}

pub(super) async fn run(
    command: &OutputCommand,
    no_color: bool,
    request: &RequestId,
    output: &mut Output,
) -> Result<ExitStatus, Failure> {
    let project = Project::load(&command.variables, Form::new(false, no_color))?;
    let fleet = Fleet::open(&project.settings(output)?, request).await?;
    let outputs = fleet.recorded().await?.outputs;
    let Some(name) = &command.name else {
        if command.json {
            output.json(
                &outputs
                    .iter()
                    .map(|(name, record)| (name, described(record)))
                    .collect::<BTreeMap<_, _>>(),
            )?;
        } else if outputs.is_empty() {
            output.line("No outputs are recorded.")?;
        } else {
            output.line(&table(&outputs))?;
        }
        return Ok(ExitStatus::Done);
    };
    let record = outputs.get(name).ok_or_else(|| {
        let known: Vec<&str> = outputs.keys().map(String::as_str).collect();
        Failure::new(format!("no output {name:?} is recorded")).hint(format!(
            "there are: {}",
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            }
        ))
    })?;
    match (&record.value, command.raw) {
        (value, false) if command.json => output.json(value)?,
        (value, false) => output.line(&pretty(value))?,
        (Value::String(text), true) => output.write(text.as_bytes())?,
        (value @ (Value::Number(_) | Value::Bool(_)), true) => output.write(value.to_string().as_bytes())?,
        (Value::Null | Value::Array(_) | Value::Object(_), true) => {
            return Err(
                Failure::new(format!("output {name:?} is no text, number or bool")).hint("use --json for it"),
            );
        }
    }
    Ok(ExitStatus::Done)
}

fn described(record: &OutputRecord) -> Value {
    serde_json::json!({ "sensitive": record.sensitive, "value": record.value })
}

/// `name = value`, one per line, sensitive values hidden.
pub(super) fn table(outputs: &BTreeMap<String, OutputRecord>) -> String {
    outputs
        .iter()
        .map(|(name, record)| {
            let value = if record.sensitive {
                "<sensitive>".to_owned()
            } else {
                pretty(&record.value)
            };
            format!("{name} = {value}")
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// A value as HCL writes it, nested ones over several lines.
fn pretty(value: &Value) -> String {
    fn write(value: &Value, indent: usize, text: &mut String) {
        let pad = "  ".repeat(indent + 1);
        match value {
            Value::Array(items) if !items.is_empty() => {
                text.push_str("[\n");
                for item in items {
                    text.push_str(&pad);
                    write(item, indent + 1, text);
                    text.push_str(",\n");
                }
                text.push_str(&"  ".repeat(indent));
                text.push(']');
            }
            Value::Object(fields) if !fields.is_empty() => {
                text.push_str("{\n");
                for (name, field) in fields {
                    text.push_str(&format!("{pad}{name:?} = "));
                    write(field, indent + 1, text);
                    text.push('\n');
                }
                text.push_str(&"  ".repeat(indent));
                text.push('}');
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                text.push_str(&value.to_string());
            }
        }
    }
    let mut text = String::new();
    write(value, 0, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_hcl() {
        let value = serde_json::json!({ "hosts": ["n1", "n2"], "none": [] });
        assert_eq!(
            pretty(&value),
            "{\n  \"hosts\" = [\n    \"n1\",\n    \"n2\",\n  ]\n  \"none\" = []\n}"
        );
    }
}
