//! The fleet that a command works on: its store and its agents.

use super::exit::ExitStatus;
use super::failure::Failure;
use crate::agents::Agents;
use crate::store::{ExpectMeta, Lock, LockHolder, LockRequest, Store, StoreError, StoreSettings};
use drover_core::model::{ApplyMark, DesiredFleet, Endpoint, RecordedFleet};
use drover_core::record::{Layout, Records};
use drover_lang::config::{Settings, StateSettings};
use drover_proto::transport::{CredentialFiles, Credentials, Timeouts};
use drover_types::{FleetName, HostName, IncarnationId, Lineage, ProjectName, RequestId};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where the operator's certificate is, where neither files nor environment say.
const TLS_DIR: &str = ".drover/tls";

/// An open store, and the means to reach agents.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) name: FleetName,
    pub(super) project: ProjectName,
    pub(super) layout: Layout,
    pub(super) store: Store,
    credentials: CredentialFiles,
    request: RequestId,
}

impl Fleet {
    pub(super) async fn open(settings: &Settings, request: &RequestId) -> Result<Self, Failure> {
        let layout = Layout::new(&settings.fleet, &settings.project);
        let (store, warnings) = Store::open(&store_settings(&settings.state), layout.clone())
            .await
            .map_err(|error| match error {
                StoreError::Unreachable { .. } => Failure::from(error)
                    .hint("check that etcd runs, and the endpoints in the block state \"etcd\""),
                StoreError::ReadFile { .. } | StoreError::NotPem { .. } => Failure::from(error)
                    .hint("correct the name in the block state \"etcd\", or put the file there"),
                StoreError::Directory { .. } => Failure::from(error)
                    .hint("name a directory that can be written to as path in the block state \"local\""),
                other => Failure::from(other),
            })?;
        for warning in warnings {
            eprintln!("Warning: {warning}");
        }
        let default = |name: &str| PathBuf::from(TLS_DIR).join(name);
        let mut credentials = match &settings.tls {
            Some(tls) => CredentialFiles {
                ca_file: (&tls.ca_file).into(),
                cert_file: (&tls.cert_file).into(),
                key_file: (&tls.key_file).into(),
            },
            None => CredentialFiles {
                ca_file: default("ca.pem"),
                cert_file: default("cert.pem"),
                key_file: default("key.pem"),
            },
        };
        // The environment says who uses the configuration; the files say who wrote it.
        for (name, file) in [
            ("DROVER_CA_FILE", &mut credentials.ca_file),
            ("DROVER_CERT_FILE", &mut credentials.cert_file),
            ("DROVER_KEY_FILE", &mut credentials.key_file),
        ] {
            if let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) {
                *file = value.into();
            }
        }
        Ok(Self {
            name: settings.fleet.clone(),
            project: settings.project.clone(),
            layout,
            store,
            credentials,
            request: request.clone(),
        })
    }

    /// Everything recorded, at one revision.
    pub(super) async fn recorded(&self) -> Result<RecordedFleet, Failure> {
        self.own(&self.records().await?)
    }

    /// Everything that the store holds of all projects, at one revision.
    pub(super) async fn records(&self) -> Result<Records, Failure> {
        let snapshot = self.store.read_all().await?;
        Ok(Records {
            fleet: self.name.clone(),
            revision: snapshot.revision,
            entries: snapshot.entries,
        })
    }

    /// This project's part of it.
    pub(super) fn own(&self, records: &Records) -> Result<RecordedFleet, Failure> {
        let recorded = records.project(&self.project)?;
        if let Some((meta, _)) = &recorded.meta
            && meta.fleet != self.name
        {
            return Err(Failure::new(format!(
                "the store is of fleet {}, not {}",
                meta.fleet, self.name
            ))
            .hint("write the fleet's name into the drover block as it was, or name a store of this fleet's own"));
        }
        Ok(recorded)
    }

    /// The agents at these addresses. Our certificate is read only where there are any.
    pub(super) fn agents(&self, endpoints: BTreeMap<HostName, Endpoint>) -> Result<Agents, Failure> {
        let credentials = Credentials::load(&self.credentials).map_err(|error| {
            Failure::from(error).hint(
                "name your certificate in the configuration's drover block (tls { ca_file, cert_file, key_file }), \
                 or in DROVER_CA_FILE, DROVER_CERT_FILE and DROVER_KEY_FILE; `drover pki issue operator NAME` makes one",
            )
        })?;
        if credentials.identity().fleet != self.name {
            return Err(Failure::new(format!(
                "the certificate in {} is of fleet {}, not {}",
                self.credentials.cert_file.display(),
                credentials.identity().fleet,
                self.name
            ))
            .hint(
                "name a certificate of this fleet; `drover pki issue operator NAME` makes one with its authority",
            ));
        }
        Ok(Agents::new(
            self.name.clone(),
            Arc::new(credentials),
            Timeouts::default(),
            self.request.clone(),
            endpoints,
        ))
    }

    /// Takes the lock for a plan: fails if `meta` is not as expected.
    pub(super) async fn lock(
        &self,
        operation: &str,
        expect_meta: ExpectMeta,
        new_lineage: Lineage,
        apply: Option<ApplyMark>,
        wait: Duration,
    ) -> Result<Lock, Failure> {
        let request = LockRequest {
            holder: LockHolder {
                who: who(),
                pid: std::process::id(),
                operation: operation.to_owned(),
                since: super::progress::now(),
                drover_version: env!("CARGO_PKG_VERSION").to_owned(),
                request_id: self.request.clone(),
            },
            expect_meta,
            new_lineage,
            apply,
            wait,
        };
        self.store
            .acquire_lock(&request)
            .await
            .map_err(|error| match error {
                StoreError::LockHeld { held } => {
                    let id = held.as_ref().map(|held| held.record.id);
                    let failure = Failure::from(StoreError::LockHeld { held })
                        .with_status(ExitStatus::Locked)
                        .hint("wait for it to end, or give --lock-timeout 5m to wait here");
                    match id {
                        Some(id) => failure.hint(format!(
                            "if that command is gone for good: drover force-unlock {id}"
                        )),
                        None => failure,
                    }
                }
                StoreError::StaleMeta { .. } => Failure::from(error)
                    .with_status(ExitStatus::StalePlan)
                    .hint("plan again and apply the new plan"),
                other => Failure::from(other),
            })
    }
}

/// `user@host`.
pub(super) fn who() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten()
        .map_or_else(|| nix::unistd::geteuid().to_string(), |user| user.name);
    let host = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "unknown".to_owned());
    format!("{user}@{host}")
}

/// Where every declared or recorded host's agent listens; what is declared counts more.
pub(super) fn endpoints(
    desired: Option<&DesiredFleet>,
    recorded: &RecordedFleet,
) -> BTreeMap<HostName, Endpoint> {
    let mut all: BTreeMap<HostName, Endpoint> = recorded
        .hosts
        .iter()
        .map(|(name, record)| (name.clone(), record.spec.address.clone()))
        .collect();
    if let Some(desired) = desired {
        all.extend(
            desired
                .hosts
                .iter()
                .map(|(name, host)| (name.clone(), host.spec.address.clone())),
        );
    }
    all
}

/// The incarnations that the store trusts.
pub(super) fn incarnations(recorded: &RecordedFleet) -> BTreeMap<HostName, IncarnationId> {
    recorded
        .hosts
        .iter()
        .filter_map(|(name, record)| Some((name.clone(), record.incarnation?)))
        .collect()
}

fn store_settings(settings: &StateSettings) -> StoreSettings {
    match settings {
        StateSettings::Local { path } => StoreSettings::Local { path: path.into() },
        StateSettings::Etcd {
            endpoints,
            ca_file,
            cert_file,
            key_file,
        } => StoreSettings::Etcd {
            endpoints: endpoints.clone(),
            ca_file: ca_file.as_ref().map(PathBuf::from),
            cert_file: cert_file.as_ref().map(PathBuf::from),
            key_file: key_file.as_ref().map(PathBuf::from),
        },
    }
}
