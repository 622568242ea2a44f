//! A server that was not made by Drover but taken over as it was found: `<data_dir>/imported/<server id>`. Its
//! definition is kept as libvirt had it; its disks are wherever they are, and nothing here ever removes one.

use super::directory::{
    DirectoryError, ServerDirectory, ServerFile, file, read_record, replace_private, sync_directory,
};
use drover_agent_core::domain::{
    AttributeDrift, DomainMetadata, attributes, comparable, drift, found_attributes, found_console,
    read_back, render, with_mark,
};
use drover_types::ServerId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The format that this version writes.
const FORMAT: u32 = 1;

/// What an agent keeps of such a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundServer {
    /// The format of this record.
    pub format: u32,
    /// Whose it is.
    pub mark: DomainMetadata,
    /// Its persistent definition as it was found, without our mark, secrets included.
    pub xml: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB, rounded up.
    pub ram_mib: u64,
    /// Virtual size of its disks in all, in bytes; 0 where it could not be told.
    pub disk_bytes: u64,
    /// Whether libvirt started it with the host; it does again once the server is nobody's.
    pub autostart: bool,
    /// It was destroyed: only its disks are left.
    #[serde(default)]
    pub destroyed: bool,
}

impl FoundServer {
    /// The record of a server in this version's format.
    pub(super) fn new(mark: DomainMetadata, xml: String, size: FoundSize, autostart: bool) -> Self {
        Self {
            format: FORMAT,
            mark,
            xml,
            vcpus: size.vcpus,
            ram_mib: size.ram_mib,
            disk_bytes: size.disk_bytes,
            autostart,
            destroyed: false,
        }
    }

    /// The definition with our mark.
    #[must_use]
    pub fn definition(&self) -> String {
        with_mark(&self.xml, &self.mark).expect("its XML was read before it was kept")
    }

    /// Its size.
    pub(super) const fn size(&self) -> FoundSize {
        FoundSize {
            vcpus: self.vcpus,
            ram_mib: self.ram_mib,
            disk_bytes: self.disk_bytes,
        }
    }
}

/// The size of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundSize {
    pub(crate) vcpus: u32,
    pub(crate) ram_mib: u64,
    pub(crate) disk_bytes: u64,
}

impl FoundSize {
    /// Its disks in MiB, rounded up.
    pub(crate) const fn disk_mib(self) -> u64 {
        self.disk_bytes.div_ceil(1 << 20)
    }

    /// In words.
    pub(crate) fn words(self) -> String {
        format!(
            "{} vCPUs, {} MiB of memory, {} MiB of disk",
            self.vcpus,
            self.ram_mib,
            self.disk_mib()
        )
    }
}

/// What this host keeps of a server that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Made by Drover.
    Made(Box<ServerFile>),
    /// Taken over.
    Found(Box<FoundServer>),
}

impl Kept {
    /// Whose it is.
    #[must_use]
    pub fn mark(&self) -> &DomainMetadata {
        match self {
            Self::Made(file) => &file.spec.metadata,
            Self::Found(found) => &found.mark,
        }
    }

    /// What libvirt is to have as its definition.
    #[must_use]
    pub fn definition(&self) -> String {
        match self {
            Self::Made(file) => render(&file.spec),
            Self::Found(found) => found.definition(),
        }
    }

    /// Virtual size of its disks, in bytes.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        match self {
            Self::Made(file) => file.disk_bytes,
            Self::Found(found) => found.disk_bytes,
        }
    }

    /// The file that its first serial port is logged to, where there is one.
    #[must_use]
    pub fn console_log(&self) -> Option<PathBuf> {
        match self {
            Self::Made(file) => Some(file.spec.console_log.as_str().into()),
            Self::Found(found) => found_console(&found.xml).map(PathBuf::from),
        }
    }

    /// What is not as it shall be, in the running guest and in its definition.
    #[must_use]
    pub fn differences(&self, live: Option<&str>, persistent: Option<&str>) -> Vec<AttributeDrift> {
        // libvirt's own XML always reads; what did not would be all drift.
        let read = |xml: Option<&str>| xml.map(|xml| read_back(xml).unwrap_or_default());
        let (live, persistent) = (read(live), read(persistent));
        match self {
            Self::Made(file) => drift(&attributes(&file.spec), live.as_ref(), persistent.as_ref()),
            Self::Found(found) => {
                let expected =
                    found_attributes(&found.xml, &found.mark).expect("its XML was read before it was kept");
                // libvirt completes a foreign definition when it starts it.
                let running = live.as_ref().map(comparable);
                let mut all = drift(&comparable(&expected), running.as_ref(), None);
                all.extend(drift(&expected, None, persistent.as_ref()));
                all.sort_by(|a, b| (&a.attribute, a.place).cmp(&(&b.attribute, b.place)));
                all
            }
        }
    }
}

/// The directory of one such server; it need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDirectory {
    path: PathBuf,
}

impl FoundDirectory {
    /// The directory of this server below `data_dir`.
    #[must_use]
    pub fn new(data_dir: &Path, server: ServerId) -> Self {
        Self {
            path: below(data_dir).join(server.to_string()),
        }
    }

    fn record(&self) -> PathBuf {
        self.path.join("server.json")
    }

    /// Where its definition lies as it was found, for `virsh define`.
    #[must_use]
    pub fn definition(&self) -> PathBuf {
        self.path.join("found.xml")
    }

    /// Writes the record and the definition, readable by the agent's user alone, and syncs both.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, server: &FoundServer) -> Result<(), DirectoryError> {
        let record = self.record();
        let json = serde_json::to_vec_pretty(server).map_err(|source| DirectoryError::Record {
            path: record.clone(),
            source,
        })?;
        std::fs::create_dir_all(&self.path).map_err(file("make", &self.path))?;
        replace_private(&self.definition(), server.xml.as_bytes())?;
        replace_private(&record, &json)?;
        sync_directory(&self.path)?;
        self.path.parent().map_or(Ok(()), sync_directory)
    }

    /// The record, of one that was destroyed too; none where there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(&self) -> Result<Option<FoundServer>, DirectoryError> {
        let path = self.record();
        let Some(server) = read_record(&path, FORMAT, |server: &FoundServer| server.format)? else {
            return Ok(None);
        };
        match with_mark(&server.xml, &server.mark) {
            Ok(_) => Ok(Some(server)),
            Err(source) => Err(DirectoryError::Definition { path, source }),
        }
    }

    /// Forgets the server; the copy of its definition stays or goes.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn forget(&self, definition: Definition) -> Result<(), DirectoryError> {
        let gone = match definition {
            Definition::Stays => std::fs::remove_file(self.record()),
            Definition::Goes => std::fs::remove_dir_all(&self.path),
        };
        match gone {
            Ok(()) => match definition {
                Definition::Stays => sync_directory(&self.path),
                Definition::Goes => self.path.parent().map_or(Ok(()), sync_directory),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(file("remove", &self.path)(source)),
        }
    }
}

/// What becomes of the copy of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Definition {
    /// It stays, for whoever wants the domain back.
    Stays,
    /// It goes.
    Goes,
}

fn below(data_dir: &Path) -> PathBuf {
    data_dir.join("imported")
}

/// Every server that was taken over and not destroyed; one whose record does not read is reported and passed over.
pub(crate) fn found_servers(data_dir: &Path) -> BTreeMap<ServerId, FoundServer> {
    let directory = below(data_dir);
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) => {
            // Where none was ever taken over there is no directory.
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!("could not read {}: {error}", directory.display());
            }
            return BTreeMap::new();
        }
    };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<ServerId>().ok());
    ids.filter_map(|server| match FoundDirectory::new(data_dir, server).read() {
        Ok(found) => Some((server, found.filter(|found| !found.destroyed)?)),
        Err(error) => {
            tracing::warn!(%server, "{}", crate::operations::chain(&error));
            None
        }
    })
    .collect()
}

/// What a host keeps of a server, of one that was taken over and destroyed too. Of two records, which an earlier life
/// of the server may have left, the one under the later epoch counts.
///
/// # Errors
/// When a record is there and cannot be read.
pub(crate) fn kept(
    data_dir: &Path,
    made: &ServerDirectory,
    server: ServerId,
) -> Result<Option<Kept>, DirectoryError> {
    let found = FoundDirectory::new(data_dir, server).read()?;
    let made = made.read()?;
    Ok(match (found, made) {
        (Some(found), Some(made)) if made.spec.metadata.epoch > found.mark.epoch => {
            Some(Kept::Made(Box::new(made)))
        }
        (Some(found), Some(_) | None) => Some(Kept::Found(Box::new(found))),
        (None, made) => made.map(|made| Kept::Made(Box::new(made))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_types::{Epoch, Generation};
    use std::os::unix::fs::PermissionsExt as _;
    use uuid::Uuid;

    const XML: &str = "<domain type='qemu'><name>old</name><uuid>u</uuid><vcpu>2</vcpu><devices>\
        <serial type='pty'><log file='/log' append='on'/></serial></devices></domain>";

    fn found() -> (ServerId, FoundServer) {
        let id = ServerId::from_uuid(Uuid::from_u128(7));
        let mark = DomainMetadata {
            fleet: "prod".parse().expect("a name"),
            project: "default".parse().expect("a name"),
            id,
            address: "server.db".parse().expect("an address"),
            epoch: Epoch::new(3),
            generation: Generation::new(1),
        };
        let size = FoundSize {
            vcpus: 2,
            ram_mib: 512,
            disk_bytes: (1 << 30) + 1,
        };
        (id, FoundServer::new(mark, XML.to_owned(), size, true))
    }

    #[test]
    fn a_record_is_private_goes_before_a_made_one_and_leaves_the_definition_when_destroyed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (id, server) = found();
        let directory = FoundDirectory::new(dir.path(), id);
        assert_eq!(directory.read().expect("none"), None);
        directory.write(&server).expect("written");
        for path in [directory.record(), directory.definition()] {
            let mode = std::fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
        assert_eq!(directory.read().expect("read"), Some(server.clone()));
        assert_eq!(found_servers(dir.path()), BTreeMap::from([(id, server.clone())]));
        let made = ServerDirectory::new(&dir.path().join("servers"), id);
        let kept = kept(dir.path(), &made, id).expect("read").expect("there");
        assert_eq!(kept.console_log(), Some(PathBuf::from("/log")));
        assert_eq!(
            (kept.disk_bytes(), server.size().disk_mib()),
            ((1 << 30) + 1, 1025)
        );

        let destroyed = FoundServer {
            destroyed: true,
            ..server
        };
        directory.write(&destroyed).expect("written");
        assert_eq!(found_servers(dir.path()), BTreeMap::new());
        directory.forget(Definition::Stays).expect("forgotten");
        directory.forget(Definition::Stays).expect("forgotten before");
        assert_eq!(
            std::fs::read_to_string(directory.definition()).expect("it stays"),
            XML
        );
        directory.forget(Definition::Goes).expect("removed");
        assert!(!directory.definition().exists());
    }

    #[test]
    fn a_record_whose_definition_does_not_read_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let (id, server) = found();
        let directory = FoundDirectory::new(dir.path(), id);
        let broken = FoundServer {
            xml: "<domain".to_owned(),
            ..server
        };
        directory.write(&broken).expect("written");
        assert!(matches!(directory.read(), Err(DirectoryError::Definition { .. })));
    }

    #[test]
    fn only_what_somebody_altered_differs_from_what_was_found() {
        let (_, server) = found();
        let kept = Kept::Found(Box::new(server));
        let defined = kept.definition();
        let running = defined.replace("<vcpu>", "<cpu mode='custom'><model>x</model></cpu><vcpu>");
        assert_eq!(kept.differences(Some(&running), Some(&defined)), []);
        let larger = defined.replace(">2<", ">4<");
        let told: Vec<String> = kept
            .differences(Some(&larger), Some(&larger))
            .iter()
            .map(|one| format!("{:?} {} {:?}", one.place, one.attribute, one.found))
            .collect();
        assert_eq!(
            told,
            [
                "Live vcpus Some(\"4\")",
                "Persistent vcpus Some(\"4\")",
                "Persistent current_vcpus Some(\"4\")"
            ]
        );
    }
}
