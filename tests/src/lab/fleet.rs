//! Pieces of a fleet's configuration that fit a lab, for tests and people to write servers around.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::node::output;
use super::pki::FLEET;
use super::{Lab, LabError};

/// Where a fleet's records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// In the lab's etcd.
    Etcd,
    /// In the embedded store, below the configuration's own directory.
    Local,
}

impl Lab {
    /// The `drover` block: fleet and store. The operator's credentials are where drover looks for
    /// them by itself, see [`Lab::workspace`].
    pub fn drover_block(&self, store: Store) -> String {
        let state = match store {
            Store::Local => "  state \"local\" {\n    path = \".drover\"\n  }\n".to_owned(),
            Store::Etcd => {
                let files = self.etcd().client_files();
                format!(
                    "  state \"etcd\" {{\n    endpoints = {:?}\n    ca_file = {:?}\n    cert_file = {:?}\n    key_file = {:?}\n  }}\n",
                    self.etcd().endpoints(),
                    self.etcd().ca_file().display().to_string(),
                    files.cert_file.display().to_string(),
                    files.key_file.display().to_string(),
                )
            }
        };
        format!("drover {{\n  fleet = \"{FLEET}\"\n{state}}}\n")
    }

    /// The `host` block of one host, with further attributes as lines of HCL.
    pub fn host_block(&self, name: &str, more: &str) -> String {
        let address = self.host(name).agent_address();
        format!("host \"{name}\" {{\n  address = \"{address}\"\n{more}}}\n")
    }

    /// The `host` blocks of all hosts.
    pub fn host_blocks(&self) -> String {
        self.hosts()
            .iter()
            .map(|host| self.host_block(host.name(), ""))
            .collect()
    }

    /// An `image` block for the guest image, with its checksum.
    pub fn image_block(&self, name: &str) -> Result<String, LabError> {
        let path = self.guest_image()?;
        let checksum = sha256(&path)?;
        let source = path.display();
        Ok(format!(
            "image \"{name}\" {{\n  source = \"file://{source}\"\n  checksum = \"sha256:{checksum}\"\n}}\n"
        ))
    }

    /// Writes `<lab>/fleet/main.hcl`: the lab's hosts and three anti-affine servers on them.
    pub fn write_example(&self) -> Result<PathBuf, LabError> {
        let store = if self.etcd().members().is_empty() {
            Store::Local
        } else {
            Store::Etcd
        };
        let workspace = self.workspace("fleet")?;
        let text = [
            self.drover_block(store),
            self.host_blocks(),
            self.image_block("guest")?,
            EXAMPLE_SERVERS.replace("COUNT", &self.hosts().len().to_string()),
        ]
        .join("\n");
        workspace.write("main.hcl", &text)?;
        Ok(workspace.directory().to_owned())
    }
}

const EXAMPLE_SERVERS: &str = r#"flavor "tiny" {
  vcpus = 1
  ram   = "128MiB"
  disk  = "64MiB"
}

group "web" {
  policy = "anti-affinity"
}

server "web" {
  count  = COUNT
  flavor = flavor.tiny
  image  = image.guest
  group  = group.web
}
"#;

/// A file's SHA-256 in hexadecimal.
fn sha256(path: &Path) -> Result<String, LabError> {
    let mut command = Command::new("sha256sum");
    command.arg(path);
    let text = output(command)?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}
