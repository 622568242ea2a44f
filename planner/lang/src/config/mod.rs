//! Files to the model: parsing, declarations, variables, evaluation, and outputs once hosts are known.

mod arguments;
mod blocks;
mod check;
mod conditions;
mod data;
mod declarations;
mod dependencies;
mod dynamic;
mod evaluate;
mod files;
mod graph;
mod imports;
mod instances;
mod lifecycle;
mod modules;
mod outputs;
mod program;
mod refactoring;
mod resources;
mod runs;
mod schema;
mod scope;
mod settings;
mod type_expression;
mod validations;
mod values;
mod variables;

pub use evaluate::{Evaluated, Identities, Inputs, evaluate, evaluate_settings};
pub use files::InputFile;
pub(crate) use files::{add_source as add_text, parse_body as parse_text};
pub use outputs::{Output, Placed, resolve_outputs, resolve_placed};
pub use program::{ModuleError, ModuleReader, NoModules};
pub use refactoring::{Refactorings, refactorings};
pub use runs::{Capacity, Expected, Run, TestFile, parse_test};
pub use scope::{Answer, Scope, is_unfinished};
pub use settings::{Settings, StateSettings, TlsSettings};
pub use variables::VariableSource;

use crate::diagnostic::Diagnostics;
use crate::source::SourceMap;
use program::Program;
use std::sync::Arc;

/// The files of the root module and of all that it calls, parsed.
#[derive(Debug, Clone)]
pub struct Config {
    program: Arc<Program>,
    sources: SourceMap,
    /// Some text could not be parsed: what is declared in it is missing, so references cannot be judged.
    broken: bool,
    /// Something was wrong already: whatever is evaluated, nothing may be planned.
    faulty: bool,
}

impl Config {
    /// The texts, for printing diagnostics.
    #[must_use]
    pub fn sources(&self) -> &SourceMap {
        &self.sources
    }
}

/// Parses the files of the root module, in the order given, with the folders of the modules they lead to, and checks
/// their blocks and arguments.
#[must_use]
pub fn parse(files: &[InputFile], modules: &dyn ModuleReader) -> (Config, Diagnostics) {
    let mut sources = SourceMap::default();
    let mut found = Diagnostics::default();
    let program = Program::read(files, modules, &mut sources, &mut found);
    let broken = program.folders().any(|folder| folder.broken);
    let config = Config {
        broken,
        program: Arc::new(program),
        sources,
        faulty: found.has_errors(),
    };
    (config, found)
}
