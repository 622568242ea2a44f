//! Generates the wire types and services from the `.proto` files, and the list of every method.

use prost::Message as _;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files =
        ["operation", "host", "image", "server", "migration"].map(|n| format!("drover/agent/v1/{n}.proto"));
    for file in &files {
        println!("cargo:rerun-if-changed={file}");
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors = out.join("drover.agent.v1.bin");
    tonic_prost_build::configure()
        .file_descriptor_set_path(&descriptors)
        // Requests and results stand as JSON in the agents' operation logs: ordered, so that equal requests
        // have equal digests, and with defaults, so that an older log reads back after a field was added.
        .btree_map(".")
        .type_attribute(".", "#[derive(serde::Serialize, serde::Deserialize)]")
        .message_attribute(".", "#[serde(default)]")
        .compile_protos(&files, &[".".to_owned()])?;
    write_methods(&descriptors, &out.join("methods.rs"))
}

/// Writes `enum Method` with one variant per RPC, so that a table over methods that lacks one does not
/// compile.
fn write_methods(descriptors: &Path, target: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let set = tonic_prost_build::FileDescriptorSet::decode(std::fs::read(descriptors)?.as_slice())?;
    let (mut variants, mut paths, mut all) = (String::new(), String::new(), String::new());
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let (service, method) = (service.name(), method.name());
                let path = format!("/{}.{service}/{method}", file.package());
                let name = format!("{}{method}", service.trim_end_matches("Service"));
                writeln!(variants, "/// `{service}.{method}`.\n{name},")?;
                writeln!(paths, "Self::{name} => \"{path}\",")?;
                write!(all, "Self::{name},")?;
            }
        }
    }
    std::fs::write(
        target,
        format!(
            "/// Every method of the contract.\n\
             #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n\
             pub enum Method {{\n{variants}}}\n\
             impl Method {{\n\
             /// Every method.\n\
             pub const ALL: &'static [Self] = &[{all}];\n\
             /// The path of its HTTP/2 requests.\n\
             #[must_use]\n\
             pub const fn path(self) -> &'static str {{ match self {{\n{paths}}} }}\n}}\n"
        ),
    )?;
    Ok(())
}
