//! HCL text to evaluated values to the model, with spans and diagnostics.
//!
//! `config` turns files into the model of `drover-core`; `eval` evaluates single expressions; `value` and
//! `functions` are what they work with. Nothing here has effects: texts come in, and what `file` needs is read
//! through a trait.

pub mod config;
pub mod diagnostic;
pub mod eval;
pub mod functions;
pub mod generate;
pub mod layout;
pub mod source;
pub mod value;
