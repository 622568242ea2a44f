//! The folders of a configuration, each parsed once however many modules call it, and the modules: one for each
//! `module` block on each way from the root.

use super::declarations::{Declarations, Declared};
use super::{InputFile, files, schema};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::functions::joined;
use crate::source::{SourceMap, Span};
use hcl::edit::expr::Expression;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a module's folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// No such folder.
    #[error("there is no folder {0:?}")]
    NotFound(String),
    /// It cannot be read.
    #[error("the folder {folder:?} cannot be read")]
    Io {
        /// The folder.
        folder: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Reads the folders of modules.
pub trait ModuleReader {
    /// The configuration files of a folder, which is named relative to the root module's: `modules/shop`,
    /// `../shared`.
    ///
    /// # Errors
    /// When there is no such folder, or it cannot be read.
    fn files(&self, folder: &str) -> Result<Vec<InputFile>, ModuleError>;
}

/// A reader for configurations without modules: every folder is missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoModules;

impl ModuleReader for NoModules {
    fn files(&self, folder: &str) -> Result<Vec<InputFile>, ModuleError> {
        Err(ModuleError::NotFound(folder.to_owned()))
    }
}

/// Most folders of one configuration.
const MOST_FOLDERS: usize = 1_000;
/// Most modules, counted as if none had `count` or `for_each`.
const MOST_MODULES: usize = 20_000;

/// A folder's place in [`Program::folders`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FolderId(usize);

/// One folder, parsed.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// Relative to the root module's; empty for that.
    pub(super) path: Arc<str>,
    pub(super) declarations: Declarations,
    /// The folders of its `module` blocks; those that cannot be had are left out.
    pub(super) calls: BTreeMap<Arc<str>, FolderId>,
    /// Some text could not be parsed, so that what it lacks cannot be judged.
    pub(super) broken: bool,
}

/// A module's place in [`Program::modules`]; callers come before what they call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ModuleId(usize);

impl ModuleId {
    pub(super) const ROOT: Self = Self(0);

    pub(super) fn index(self) -> usize {
        self.0
    }
}

/// One `module` block on one way from the root module, with all its instances.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) folder: FolderId,
    /// Who calls it, under which name; nothing for the root module.
    pub(super) caller: Option<(ModuleId, Arc<str>)>,
    pub(super) calls: BTreeMap<Arc<str>, ModuleId>,
    /// `module.shop.module.db`; empty for the root module.
    pub(super) title: String,
}

/// Names of calls, and the folders they lead to.
type Calls = Vec<(Arc<str>, FolderId)>;

/// Everything that was read.
#[derive(Debug, Default)]
pub(super) struct Program {
    folders: Vec<Folder>,
    modules: Vec<Module>,
}

impl Program {
    pub(super) fn folder(&self, id: FolderId) -> &Folder {
        &self.folders[id.0]
    }

    pub(super) fn folders(&self) -> impl Iterator<Item = &Folder> {
        self.folders.iter()
    }

    pub(super) fn module(&self, id: ModuleId) -> &Module {
        &self.modules[id.0]
    }

    pub(super) fn modules(&self) -> impl Iterator<Item = (ModuleId, &Module)> {
        (0..).map(ModuleId).zip(&self.modules)
    }

    /// What a module's folder declares.
    pub(super) fn declarations(&self, id: ModuleId) -> &Declarations {
        &self.folder_of(id).declarations
    }

    pub(super) fn folder_of(&self, id: ModuleId) -> &Folder {
        self.folder(self.module(id).folder)
    }

    /// What the root module declares.
    pub(super) fn root(&self) -> &Declarations {
        self.declarations(ModuleId::ROOT)
    }

    /// The block that calls a module, and the module it stands in; nothing for the root module.
    pub(super) fn call(&self, id: ModuleId) -> Option<(ModuleId, &Declared)> {
        let (caller, name) = self.module(id).caller.as_ref()?;
        Some((*caller, self.declarations(*caller).calls.get(name)?))
    }

    /// Parses the root module's files and the folders of all modules that they lead to.
    pub(super) fn read(
        root: &[InputFile],
        reader: &dyn ModuleReader,
        sources: &mut SourceMap,
        found: &mut Diagnostics,
    ) -> Self {
        let mut program = Self {
            folders: vec![parse_folder("", root, sources, found)],
            modules: Vec::new(),
        };
        let mut known: BTreeMap<Arc<str>, Option<FolderId>> = BTreeMap::new();
        known.insert("".into(), Some(FolderId(0)));
        let mut next = 0;
        while next < program.folders.len() {
            let mut calls = BTreeMap::new();
            for (name, call) in &program.folders[next].declarations.calls {
                if let Some((path, span)) = source_of(call, &program.folders[next].path, found) {
                    calls.insert(name.clone(), (path, span, call.title.clone()));
                }
            }
            for (name, (path, span, title)) in calls {
                let id = match known.get(&path) {
                    Some(id) => *id,
                    None if program.folders.len() >= MOST_FOLDERS => {
                        let detail =
                            format!("A configuration has at most {MOST_FOLDERS} folders of modules.");
                        found.push(Diagnostic::error("Too many modules", detail));
                        None
                    }
                    None => {
                        let id = match read_folder(&path, reader, sources, found) {
                            Ok(folder) => {
                                program.folders.push(folder);
                                Some(FolderId(program.folders.len() - 1))
                            }
                            Err(detail) => {
                                let diagnostic = Diagnostic::error("Module not found", detail);
                                found.push(diagnostic.at_maybe(span).within(title));
                                None
                            }
                        };
                        known.insert(path, id);
                        id
                    }
                };
                if let Some(id) = id {
                    program.folders[next].calls.insert(name, id);
                }
            }
            next += 1;
        }
        program.cut_circles(found);
        program.expand(found);
        program
    }

    /// Reports folders that lead to themselves, and forgets the calls that do.
    fn cut_circles(&mut self, found: &mut Diagnostics) {
        let mut done = vec![false; self.folders.len()];
        for start in 0..self.folders.len() {
            // Each step: the folder, and its calls that are not yet followed, the next one last.
            let mut path: Vec<(usize, Calls)> = Vec::new();
            let calls = |folders: &[Folder], at: usize| -> Calls {
                let calls = folders[at].calls.iter().rev();
                calls.map(|(name, id)| (name.clone(), *id)).collect()
            };
            if !done[start] {
                path.push((start, calls(&self.folders, start)));
            }
            while let Some((at, rest)) = path.last_mut() {
                let at = *at;
                let Some((name, FolderId(to))) = rest.pop() else {
                    done[at] = true;
                    path.pop();
                    continue;
                };
                let Some(from) = path.iter().position(|(open, _)| *open == to) else {
                    if !done[to] {
                        path.push((to, calls(&self.folders, to)));
                    }
                    continue;
                };
                let members: Vec<usize> = path[from..].iter().map(|(open, _)| *open).collect();
                let diagnostic = self.circle(&members, at, &name);
                found.push(diagnostic);
                self.folders[at].calls.remove(&name);
            }
        }
    }

    fn circle(&self, members: &[usize], at: usize, name: &Arc<str>) -> Diagnostic {
        let call = self.folders[at].declarations.calls.get(name);
        let shown = |at: &usize| match &*self.folders[*at].path {
            "" => "the root module".to_owned(),
            path => path.to_owned(),
        };
        let mut names: Vec<String> = members.iter().map(shown).collect();
        names.extend(members.first().map(shown));
        let detail = format!(
            "This module would contain itself without end: {}. Remove one of these calls.",
            names.join(" -> ")
        );
        let place = call.and_then(|call| {
            let source = call.argument("source")?;
            call.span(source).or(call.header)
        });
        let diagnostic = Diagnostic::error("Module inside itself", detail).at_maybe(place);
        match call {
            Some(call) => diagnostic.within(&call.title),
            None => diagnostic,
        }
    }

    /// One module for each way of calls from the root module.
    fn expand(&mut self, found: &mut Diagnostics) {
        self.modules.push(Module {
            folder: FolderId(0),
            caller: None,
            calls: BTreeMap::new(),
            title: String::new(),
        });
        let mut next = 0;
        while next < self.modules.len() {
            let caller = &self.modules[next];
            let calls: Calls = self.folders[caller.folder.0]
                .calls
                .iter()
                .map(|(name, folder)| (name.clone(), *folder))
                .collect();
            for (name, folder) in calls {
                if self.modules.len() >= MOST_MODULES {
                    let detail = format!(
                        "The modules call each other in more than {MOST_MODULES} ways. Use count or for_each instead of many calls."
                    );
                    found.push(Diagnostic::error("Too many modules", detail));
                    self.modules.truncate(1);
                    self.modules[0].calls.clear();
                    return;
                }
                let outer = &self.modules[next].title;
                let dot = if outer.is_empty() { "" } else { "." };
                let module = Module {
                    folder,
                    caller: Some((ModuleId(next), name.clone())),
                    calls: BTreeMap::new(),
                    title: format!("{outer}{dot}module.{name}"),
                };
                let id = ModuleId(self.modules.len());
                self.modules.push(module);
                self.modules[next].calls.insert(name, id);
            }
            next += 1;
        }
    }
}

/// The folder that a `module` block names, relative to the root module's, and where it says so.
fn source_of(call: &Declared, caller: &str, found: &mut Diagnostics) -> Option<(Arc<str>, Option<Span>)> {
    // That it is missing is reported with the other arguments.
    let expression = call.argument("source")?;
    let span = call.span(expression);
    let mut wrong = |detail: String, hint: Option<String>| {
        let diagnostic = Diagnostic::error("Invalid module source", detail).hint(hint);
        found.push(diagnostic.at_maybe(span).within(&call.title));
    };
    let Expression::String(text) = expression else {
        let detail = "The source of a module must be a plain text, because modules are read before anything is computed.";
        wrong(detail.to_owned(), None);
        return None;
    };
    let text = text.as_str();
    let local = text == "." || text == ".." || text.starts_with("./") || text.starts_with("../");
    let short: String = text.chars().take(200).collect();
    if !local {
        let detail = format!(
            "{short:?} is no folder beside these files. The source of a module begins with \"./\" or \"../\"."
        );
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
        let hint = (plain && !text.is_empty() && !text.starts_with('/'))
            .then(|| format!("did you mean \"./{short}\"?"));
        wrong(detail, hint);
        return None;
    }
    match joined(caller, text) {
        Some(path) => Some((path.into(), span)),
        None => {
            wrong(format!("{short:?} is not a path."), None);
            None
        }
    }
}

fn read_folder(
    path: &str,
    reader: &dyn ModuleReader,
    sources: &mut SourceMap,
    found: &mut Diagnostics,
) -> Result<Folder, String> {
    let read = reader.files(path).map_err(|error| {
        let source = std::error::Error::source(&error)
            .map(|source| format!(": {source}"))
            .unwrap_or_default();
        format!("The module cannot be read: {error}{source}.")
    })?;
    if read.is_empty() {
        return Err(format!("The folder {path:?} holds no file that ends in .hcl."));
    }
    Ok(parse_folder(path, &read, sources, found))
}

fn parse_folder(path: &str, texts: &[InputFile], sources: &mut SourceMap, found: &mut Diagnostics) -> Folder {
    let mut folder = Folder {
        path: path.into(),
        ..Folder::default()
    };
    let mut bodies = Vec::new();
    for text in texts {
        let Some(id) = files::add_source(sources, text, found) else {
            folder.broken = true;
            continue;
        };
        let (body, whole) = files::parse_body(sources, id, found);
        folder.broken |= !whole;
        bodies.push((id, body));
    }
    for (id, body) in bodies {
        schema::check_body(id, &body, None, None, found);
        folder.declarations.add(id, body, found);
    }
    if !path.is_empty()
        && let Some(settings) = folder.declarations.settings.take()
    {
        let detail = format!(
            "{path} is used as a module, and the drover block belongs to the root module alone: fleet, store and scheduler \
             are the same for everything in it."
        );
        let diagnostic = Diagnostic::error("Unexpected drover block", detail);
        found.push(diagnostic.at_maybe(settings.header).within(&settings.title));
    }
    folder
}
