//! The fleet that is measured: three hosts that all have the image, because a server that is off keeps it
//! there; and servers that come and go by variables.

use crate::Failed;
use drover::agents::Agents;
use drover_core::model::Endpoint;
use drover_proto::transport::{CredentialFiles, Credentials, Timeouts};
use drover_tests::lab::{FLEET, Finished, Host, Lab, Store, TlsFiles, Workspace};
use drover_types::{HostName, RequestId};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

const SERVERS: &str = r#"
variable "booted" {
  type    = number
  default = 0
}

variable "moved" {
  type    = number
  default = 0
}

flavor "tiny" {
  vcpus = 1
  ram   = "128MiB"
  disk  = "64MiB"
}

group "keepers" {
  policy = "anti-affinity"
}

server "keeper" {
  count  = 3
  flavor = flavor.tiny
  image  = image.guest
  group  = group.keepers
  power  = "off"
}

server "booted" {
  count  = var.booted
  flavor = flavor.tiny
  image  = image.guest
}

server "moved" {
  count  = var.moved
  flavor = flavor.tiny
  image  = image.guest
}
"#;

/// A lab with its configuration, applied once.
pub(crate) struct Fleet<'lab> {
    pub(crate) lab: &'lab Lab,
    pub(crate) workspace: Workspace<'lab>,
}

impl<'lab> Fleet<'lab> {
    /// Writes the configuration and applies it: every host has the image afterwards.
    pub(crate) fn prepare(lab: &'lab Lab) -> Result<Self, Failed> {
        let workspace = lab.workspace("bench")?;
        let text = [
            lab.drover_block(Store::Etcd),
            lab.host_blocks(),
            lab.image_block("guest")?,
            SERVERS.to_owned(),
        ]
        .join("\n");
        workspace.write("main.hcl", &text)?;
        let fleet = Self { lab, workspace };
        fleet.drover(&["apply", "--auto-approve"])?;
        Ok(fleet)
    }

    /// Runs drover; an exit status other than 0 is an error with all that it wrote.
    pub(crate) fn drover(&self, arguments: &[&str]) -> Result<Finished, Failed> {
        let finished = self.workspace.drover(arguments)?;
        if finished.code == Some(0) {
            return Ok(finished);
        }
        let Finished {
            command,
            code,
            stdout,
            stderr,
            took: _,
        } = finished;
        Err(format!("`{command}` ended with {code:?}\n{stdout}\n{stderr}").into())
    }

    /// A recorded server's id and the host it is on.
    pub(crate) fn server(&self, address: &str) -> Result<(String, &'lab Host), Failed> {
        let shown = self.drover(&["state", "show", address, "--json"])?;
        let record: serde_json::Value = serde_json::from_str(&shown.stdout)?;
        match (record["id"].as_str(), record["host"].as_str()) {
            (Some(id), Some(host)) => Ok((id.to_owned(), self.lab.host(host))),
            (_, _) => Err(format!("{address} is on no host: {record}").into()),
        }
    }

    /// The folder of a server on a host, as this process sees it.
    pub(crate) fn server_folder(&self, host: &Host, id: &str) -> PathBuf {
        host.agent_data().join("servers").join(id)
    }

    /// Agents as drover has them, without a connection yet.
    pub(crate) fn agents(&self, hosts: &[&Host]) -> Result<Agents, Failed> {
        let TlsFiles {
            ca_file,
            cert_file,
            key_file,
        } = self.lab.operator()?;
        let credentials = Credentials::load(&CredentialFiles {
            ca_file,
            cert_file,
            key_file,
        })?;
        let mut endpoints: BTreeMap<HostName, Endpoint> = BTreeMap::new();
        for host in hosts {
            endpoints.insert(host.name().parse()?, host.agent_address().to_string().parse()?);
        }
        Ok(Agents::new(
            FLEET.parse()?,
            Arc::new(credentials),
            Timeouts::default(),
            RequestId::from_uuid(uuid::Uuid::nil()),
            endpoints,
        ))
    }
}
