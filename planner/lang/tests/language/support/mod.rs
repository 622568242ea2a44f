//! Evaluating expressions and whole configurations in tests.

#![allow(dead_code, reason = "the benchmarks use a part of it")]

use drover_lang::config::{
    self, Evaluated, Identities, InputFile, Inputs, ModuleError, ModuleReader, VariableSource,
};
use drover_lang::diagnostic::{DiagnosticJson, Style};
use drover_lang::eval::{Evaluator, Limits};
use drover_lang::functions::{FileError, FileReader, NoFiles};
use drover_lang::source::SourceMap;
use drover_lang::value::{Value, encode_json};
use hcl::edit::expr::Expression;
use std::collections::BTreeMap;

pub(crate) fn evaluate(text: &str) -> Result<Value, Vec<DiagnosticJson>> {
    evaluate_with(text, &NoFiles)
}

pub(crate) fn evaluate_with(text: &str, files: &dyn FileReader) -> Result<Value, Vec<DiagnosticJson>> {
    let mut sources = SourceMap::default();
    let file = sources.add("expression", text);
    let expression: Expression = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut evaluator = Evaluator::new(&sources, files, file, Limits::default());
    let value = evaluator.eval(&expression);
    let found = evaluator.into_diagnostics();
    if found.is_empty() {
        Ok(value)
    } else {
        Err(found.to_json(&sources))
    }
}

pub(crate) fn table(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        match evaluate(text) {
            Ok(value) => assert_eq!(encode_json(&value).as_deref(), Ok(*expected), "{text}"),
            Err(found) => panic!("{text}: {found:#?}"),
        }
    }
}

/// Files of a configuration's folder, in memory.
#[derive(Default)]
pub(crate) struct FakeFiles(pub(crate) BTreeMap<&'static str, &'static str>);

impl FileReader for FakeFiles {
    fn read(&self, folder: &str, path: &str) -> Result<Vec<u8>, FileError> {
        let whole = [folder, path].join("/");
        let found = self
            .0
            .get(whole.trim_matches('/'))
            .ok_or_else(|| FileError::NotFound(path.to_owned()))?;
        Ok(found.as_bytes().to_vec())
    }

    fn list(&self, folder: &str, below: &str) -> Result<Vec<String>, FileError> {
        let whole = [folder, below].join("/");
        let prefix = match whole.trim_matches('/') {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        Ok(self
            .0
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect())
    }
}

/// What a configuration gives: the model, or the diagnostics as people read them.
pub(crate) struct Outcome {
    pub(crate) evaluated: Option<Evaluated>,
    pub(crate) rendered: String,
    pub(crate) json: Vec<DiagnosticJson>,
}

pub(crate) fn inputs(variables: &[VariableSource], identities: Identities) -> Inputs<'_> {
    Inputs {
        variables,
        identities,
        files: &NoFiles,
        working_directory: "/fleet",
        limits: Limits::default(),
    }
}

/// Folders of modules, in memory: the files by their whole path.
struct FakeModules(Vec<InputFile>);

impl ModuleReader for FakeModules {
    fn files(&self, folder: &str) -> Result<Vec<InputFile>, ModuleError> {
        let inside = |file: &&InputFile| file.path.rsplit_once('/').is_some_and(|(of, _)| of == folder);
        let files: Vec<InputFile> = self.0.iter().filter(inside).cloned().collect();
        if files.is_empty() {
            return Err(ModuleError::NotFound(folder.to_owned()));
        }
        let mut files = files;
        files.retain(|file| file.path.ends_with(".hcl"));
        Ok(files)
    }
}

/// Files by their paths; those in folders are of modules.
pub(crate) fn load(files: &[(&str, &str)], inputs: &Inputs<'_>) -> Outcome {
    let files = files.iter().map(|(path, text)| InputFile {
        path: (*path).to_owned(),
        bytes: text.as_bytes().to_vec(),
    });
    let (root, inside): (Vec<InputFile>, Vec<InputFile>) = files.partition(|file| !file.path.contains('/'));
    let (parsed, mut found) = config::parse(&root, &FakeModules(inside));
    let (evaluated, more, sources) = config::evaluate(&parsed, inputs);
    found.extend(more);
    Outcome {
        evaluated: evaluated.filter(|_| !found.has_errors()),
        rendered: found.render(&sources, Style::Plain),
        json: found.to_json(&sources),
    }
}

/// One file, no variables given, store not read: as `drover validate`.
pub(crate) fn validate(text: &str) -> Outcome {
    load(&[("main.hcl", text)], &inputs(&[], Identities::Unread))
}

/// One file with a store that was read and never written: as the first `drover plan`.
pub(crate) fn plan(text: &str) -> Outcome {
    plan_with(text, &[])
}

pub(crate) fn plan_with(text: &str, variables: &[VariableSource]) -> Outcome {
    load(&[("main.hcl", text)], &inputs(variables, new_store()))
}

pub(crate) fn new_store() -> Identities {
    Identities::Read {
        lineage: "6ba7b810-9dad-11d1-80b4-00c04fd430c8".parse().expect("a UUID"),
        servers: BTreeMap::new(),
        created: BTreeMap::new(),
        succeeded: std::collections::BTreeSet::new(),
        records: None,
    }
}

/// Declarations that most configurations of the tests need.
pub(crate) const BASE: &str = r#"
drover {
  fleet = "prod"
}

flavor "small" {
  vcpus = 1
  ram   = "512MiB"
  disk  = "10GiB"
}

image "debian" {
  source   = "https://images.example/debian-12.qcow2"
  checksum = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}
"#;
