//! The configuration that a command works with: its files, the values of its variables, and what is wrong
//! with them.

use super::events;
use super::exit::ExitStatus;
use super::failure::Failure;
use super::options::{DisplayOptions, GivenVariable, VariableOptions};
use super::output::Output;
use crate::files::{ConfigurationFiles, FolderReader, read_configuration, read_file};
use drover_core::diff::{Renames, check_moved, renames};
use drover_core::model::{DesiredFleet, Moved, RecordedFleet};
use drover_core::plan::text::Warnings;
use drover_core::plan::{Check, OutputValue};
use drover_lang::config::{
    Config, Evaluated, Identities, InputFile, Inputs, Refactorings, Settings, VariableSource, evaluate,
    evaluate_settings, parse, refactorings, resolve_placed,
};
use drover_lang::diagnostic::{Diagnostic, Diagnostics, Style};
use drover_lang::eval::Limits;
use drover_lang::source::SourceMap;
use drover_lang::value::Cause;
use drover_types::{Address, HostName, Sha256Digest};
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;

/// What a variable of the environment begins with to be a value of a configuration's variable.
const ENVIRONMENT: &str = "DROVER_VAR_";

/// How diagnostics are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// With snippets, on stderr.
    Text {
        /// With escape sequences.
        colour: bool,
    },
    /// One JSON object per line, on stdout.
    Json,
}

impl Form {
    pub(super) fn new(json: bool, no_color: bool) -> Self {
        let refused = no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if json {
            Self::Json
        } else {
            Self::Text {
                colour: !refused && std::io::stderr().is_terminal(),
            }
        }
    }
}

impl Form {
    /// How diagnostics are drawn for people.
    pub(super) fn style(self) -> Style {
        match self {
            Self::Text { colour: true } => Style::Colour,
            Self::Text { colour: false } | Self::Json => Style::Plain,
        }
    }
}

/// The configuration of the working directory.
pub(super) struct Project {
    config: Config,
    variables: Vec<VariableSource>,
    reader: FolderReader,
    directory: String,
    digest: Sha256Digest,
    parsed: Diagnostics,
    form: Form,
    warnings: Warnings,
    /// Its warnings were printed already: only errors are.
    told: bool,
}

impl Project {
    /// Reads the files and the values of variables. Mistakes in them are kept for [`Project::evaluate`], so
    /// that all are shown together.
    pub(super) fn load(options: &VariableOptions, form: Form) -> Result<Self, Failure> {
        Self::load_with(options, form, None)
    }

    /// The same with one more file, which need not be there yet.
    fn load_with(options: &VariableOptions, form: Form, more: Option<InputFile>) -> Result<Self, Failure> {
        let here = Path::new(".");
        let files = read_configuration(here).map_err(|error| {
            Failure::from(error).hint("run drover where the configuration is, or name the directory with -C")
        })?;
        let variables = variables(options, &files)?;
        let ConfigurationFiles {
            configuration,
            not_read,
            variables: _,
        } = files;
        let inputs: Vec<InputFile> = configuration
            .into_iter()
            .map(|file| InputFile {
                path: file.path,
                bytes: file.bytes,
            })
            .chain(more)
            .collect();
        let reader = FolderReader::new(here)
            .map_err(|error| Failure::because("could not enter the configuration's directory", error))?;
        let (config, mut parsed) = parse(&inputs, &reader);
        for name in not_read {
            let detail = format!(
                "The file {name} is named as Terraform's files of values are, and is not read. Values are read from \
                 drover.vars.hcl, from *.auto.vars.hcl and with --var-file, in HCL."
            );
            parsed.push(Diagnostic::warning("Values that are not read", detail));
        }
        let digest = digest(config.sources(), &variables);
        let directory = std::env::current_dir()
            .map(|path| path.display().to_string())
            .unwrap_or_else(|_| ".".to_owned());
        Ok(Self {
            config,
            variables,
            reader,
            directory,
            digest,
            parsed,
            form,
            warnings: Warnings::Whole,
            told: false,
        })
    }

    /// The same configuration, whose warnings were printed, with one more file.
    pub(super) fn and(&self, options: &VariableOptions, more: InputFile) -> Result<Self, Failure> {
        let project = Self::load_with(options, self.form, Some(more))?;
        Ok(Self {
            warnings: self.warnings,
            told: true,
            ..project
        })
    }

    /// The same for a command that shows a plan: events go from here on where they are asked for.
    pub(super) fn load_for_plan(
        options: &VariableOptions,
        display: &DisplayOptions,
        no_color: bool,
        output: &mut Output,
    ) -> Result<Self, Failure> {
        display.listen(output)?;
        let project = Self::load(options, Form::new(display.json, no_color))?;
        Ok(Self {
            warnings: display.warnings(),
            ..project
        })
    }

    /// Digest of the files and of the values given for variables.
    pub(super) fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// The files' texts.
    pub(super) fn sources(&self) -> &SourceMap {
        self.config.sources()
    }

    fn inputs(&self, identities: Identities) -> Inputs<'_> {
        Inputs {
            variables: &self.variables,
            identities,
            files: &self.reader,
            working_directory: &self.directory,
            limits: Limits::default(),
        }
    }

    /// The `drover` block alone.
    pub(super) fn settings(&self, output: &mut Output) -> Result<Settings, Failure> {
        let (settings, found, sources) = evaluate_settings(&self.config, &self.inputs(Identities::Unread));
        match settings {
            Some(settings) if !found.has_errors() => Ok(settings),
            Some(_) | None => {
                // Whatever else is wrong is reported in the same run.
                let (_, more, _) = evaluate(&self.config, &self.inputs(Identities::Unread));
                let mut all = self.parsed.clone();
                all.extend(found);
                all.extend(more);
                self.print(&all, &sources, output)?;
                Err(Failure::shown(ExitStatus::Error))
            }
        }
    }

    /// Everything that the files say. Errors and warnings are printed.
    pub(super) fn evaluate(&self, identities: Identities, output: &mut Output) -> Result<Evaluated, Failure> {
        let (evaluated, found, sources) = evaluate(&self.config, &self.inputs(identities));
        let mut all = self.parsed.clone();
        all.extend(found);
        if all.has_errors() || !self.told {
            self.print(&all, &sources, output)?;
        }
        match evaluated {
            Some(evaluated) if !all.has_errors() => Ok(evaluated),
            Some(_) | None => Err(Failure::shown(ExitStatus::Error)),
        }
    }

    /// The same with values of variables that win over all others; nothing is printed.
    pub(super) fn evaluate_with(
        &self,
        more: &[VariableSource],
        identities: Identities,
    ) -> (Option<Evaluated>, Diagnostics, SourceMap) {
        let variables: Vec<VariableSource> = self.variables.iter().chain(more).cloned().collect();
        let inputs = Inputs {
            variables: &variables,
            ..self.inputs(identities)
        };
        let (evaluated, found, sources) = evaluate(&self.config, &inputs);
        let mut all = self.parsed.clone();
        all.extend(found);
        (evaluated.filter(|_| !all.has_errors()), all, sources)
    }

    /// What the files say of addresses that are no longer declared.
    pub(super) fn refactorings(&self) -> Refactorings {
        refactorings(&self.config)
    }

    /// Which records get another address; what cannot be moved is printed.
    pub(super) fn renames(
        &self,
        moved: &[Moved],
        declared: Option<&DesiredFleet>,
        recorded: &RecordedFleet,
        output: &mut Output,
    ) -> Result<Renames, Failure> {
        let errors = match renames(moved, declared, recorded) {
            Ok(renames) => return Ok(renames),
            Err(errors) => errors,
        };
        // Contradictions among the blocks themselves are the evaluation's to report, with their lines.
        if !check_moved(moved).is_empty() {
            return Ok(Renames::new());
        }
        let mut found = Diagnostics::default();
        for error in errors {
            let place = error
                .origin()
                .map(|origin| format!(" ({origin})"))
                .unwrap_or_default();
            let diagnostic = Diagnostic::error("Impossible move", format!("{error}{place}."));
            found.push(diagnostic.hint(Some(error.hint().to_owned())));
        }
        self.print(&found, self.sources(), output)?;
        Err(Failure::shown(ExitStatus::Error))
    }

    /// The same once more, with other ids: what was printed before is not printed again.
    pub(super) fn evaluate_again(
        &self,
        identities: Identities,
        output: &mut Output,
    ) -> Result<Evaluated, Failure> {
        let (evaluated, found, sources) = evaluate(&self.config, &self.inputs(identities));
        match evaluated {
            Some(evaluated) if !found.has_errors() => Ok(evaluated),
            Some(_) | None => {
                self.print(&found, &sources, output)?;
                Err(Failure::shown(ExitStatus::Error))
            }
        }
    }

    /// Outputs, and what the conditions came to, now that hosts are chosen.
    pub(super) fn outputs(
        &self,
        evaluated: &Evaluated,
        hosts: &BTreeMap<Address, HostName>,
        output: &mut Output,
    ) -> Result<(BTreeMap<String, OutputValue>, Vec<Check>), Failure> {
        let (outputs, checks, found) = self.resolve(evaluated, hosts);
        self.print(&found, &evaluated.sources, output)?;
        if found.has_errors() {
            return Err(Failure::shown(ExitStatus::Error));
        }
        Ok((outputs, checks))
    }

    /// The outputs with servers on these hosts, and what is wrong with them.
    pub(super) fn resolve(
        &self,
        evaluated: &Evaluated,
        hosts: &BTreeMap<Address, HostName>,
    ) -> (BTreeMap<String, OutputValue>, Vec<Check>, Diagnostics) {
        let placed = resolve_placed(evaluated, hosts, &self.reader);
        let value = |output: &drover_lang::config::Output| OutputValue {
            value: output.to_json(),
            waits_for: output.value.why_unknown().and_then(Cause::reference),
            sensitive: output.sensitive,
        };
        let outputs = placed.outputs.iter();
        let outputs = outputs.map(|(name, output)| (name.clone(), value(output)));
        (outputs.collect(), placed.checks, placed.found)
    }

    /// Prints diagnostics as the command was asked to.
    pub(super) fn print(
        &self,
        found: &Diagnostics,
        sources: &SourceMap,
        output: &mut Output,
    ) -> Result<(), Failure> {
        if found.is_empty() {
            return Ok(());
        }
        if output.has_readers() {
            for diagnostic in found.to_json(sources) {
                output.event(&events::diagnostic(&diagnostic)?)?;
            }
        }
        match self.form {
            Form::Text { .. } if self.warnings == Warnings::Compact && !found.has_errors() => {
                eprintln!("Warnings:");
                for diagnostic in found.to_json(sources) {
                    let place = diagnostic
                        .range
                        .map(|range| format!(" ({}:{})", range.filename, range.start.line))
                        .unwrap_or_default();
                    eprintln!("  - {}{place}", diagnostic.summary);
                }
                eprintln!("To see all that they say, leave out --compact-warnings.");
            }
            Form::Text { .. } => {
                eprintln!("{}", found.render(sources, self.form.style()).trim_end());
            }
            Form::Json if output.has_readers() => {}
            Form::Json => {
                for diagnostic in found.to_json(sources) {
                    output.json_line(&events::diagnostic(&diagnostic)?)?;
                }
            }
        }
        Ok(())
    }
}

/// Values in Terraform's order of precedence: environment, `drover.vars.hcl`, `*.auto.vars.hcl`, then
/// `--var-file` and `--var` as they stand on the command line.
fn variables(options: &VariableOptions, files: &ConfigurationFiles) -> Result<Vec<VariableSource>, Failure> {
    let mut sources: Vec<VariableSource> = std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?.strip_prefix(ENVIRONMENT)?.to_owned();
            Some(VariableSource::Environment {
                name,
                text: value.into_string().ok()?,
            })
        })
        .collect();
    sources.sort_by(|a, b| match (a, b) {
        (VariableSource::Environment { name: a, .. }, VariableSource::Environment { name: b, .. }) => {
            a.cmp(b)
        }
        (_, _) => std::cmp::Ordering::Equal,
    });
    sources.extend(files.variables.iter().cloned().map(|file| VariableSource::File {
        path: file.path,
        bytes: file.bytes,
    }));
    for given in &options.given {
        sources.push(match given {
            GivenVariable::Value(text) => VariableSource::Argument { text: text.clone() },
            GivenVariable::File(path) => {
                let file = read_file(path)?;
                VariableSource::File {
                    path: file.path,
                    bytes: file.bytes,
                }
            }
        });
    }
    Ok(sources)
}

/// Digest of all files, those of modules included, and of the values given for variables.
fn digest(sources: &SourceMap, variables: &[VariableSource]) -> Sha256Digest {
    let mut content = Vec::new();
    // Lengths keep two files from reading like one.
    let mut part = |bytes: &[u8]| {
        content.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        content.extend_from_slice(bytes);
    };
    for (_, file) in sources.iter() {
        part(file.path().as_bytes());
        part(file.text().as_bytes());
    }
    for variable in variables {
        match variable {
            VariableSource::Environment { name, text } => {
                part(name.as_bytes());
                part(text.as_bytes());
            }
            VariableSource::File { path, bytes } => {
                part(path.as_bytes());
                part(bytes);
            }
            VariableSource::Argument { text } => part(text.as_bytes()),
        }
    }
    Sha256Digest::of(&content)
}
