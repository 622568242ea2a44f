//! A lab for a person at a shell: small programs that enter its nodes, and variables.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::node::{Node, create_dir};
use super::{Lab, LabError, binary};

impl Lab {
    /// Shell lines for `eval`: one program per node (`n1 virsh list`), `drover` and `etcdctl` in the
    /// client's network, and where their files are.
    ///
    /// The machine's own network reaches no node, so what talks to the lab has to enter it.
    pub fn environment(&self) -> Result<String, LabError> {
        let programs = self.directory().join("bin");
        create_dir(&programs)?;
        for node in self.nodes() {
            let namespaces = "--mount --uts --net --pid";
            write_program(&programs.join(node.name()), node, namespaces, r#"-- "$@""#)?;
        }
        // Both run where the caller is, in the caller's own directory.
        if let Ok(drover) = binary("drover") {
            let rest = format!(r#"-- '{}' "$@""#, drover.display());
            write_program(&programs.join("drover"), self.client(), "--net", &rest)?;
        }
        let mut lines = String::new();
        let mut export = |name: &str, value: &str| {
            writeln!(lines, "export {name}='{value}'").expect("writing to a string does not fail");
        };
        export("DROVER_LAB", self.id());
        export("DROVER_LAB_DIR", &self.directory().display().to_string());
        if !self.etcd().members().is_empty() {
            write_program(
                &programs.join("etcdctl"),
                self.client(),
                "--net",
                r#"-- /usr/bin/etcdctl "$@""#,
            )?;
            let files = self.etcd().client_files();
            export("ETCDCTL_API", "3");
            export("ETCDCTL_ENDPOINTS", &self.etcd().endpoints().join(","));
            export("ETCDCTL_CACERT", &self.etcd().ca_file().display().to_string());
            export("ETCDCTL_CERT", &files.cert_file.display().to_string());
            export("ETCDCTL_KEY", &files.key_file.display().to_string());
        }
        writeln!(lines, "export PATH='{}':\"$PATH\"", programs.display())
            .expect("writing to a string does not fail");
        Ok(lines)
    }
}

fn write_program(path: &Path, node: &Node, namespaces: &str, rest: &str) -> Result<(), LabError> {
    let text = format!(
        "#!/bin/sh\nexec nsenter --target {} {namespaces} {rest}\n",
        node.init().pid
    );
    fs::write(path, text).map_err(LabError::io("write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(LabError::io("make executable", path))
}
