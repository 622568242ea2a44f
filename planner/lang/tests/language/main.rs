//! The language: what files mean, and what is said about mistakes in them.

mod bad_numbers;
mod conditions;
mod conformance;
mod data;
mod dynamic;
mod expressions;
mod functions;
mod hostile;
mod imports;
mod layout;
mod lifecycle;
mod mistakes;
mod model;
mod modules;
mod scale;
mod support;
mod variables;
