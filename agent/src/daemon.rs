//! The running agent: everything is constructed and what was interrupted is taken up again, then the port
//! opens; at the end the port closes, operations drain, and guests stay as they are.

use crate::access::AccessLayer;
use crate::agent::Agent;
use crate::config::Config;
use crate::health;
use crate::hypervisor::{Hypervisor, HypervisorThreads, Libvirt};
use crate::image::{self, ImageCache, Images};
use crate::inventory::{Hosts, Monitor, Profiles, measure};
use crate::limits::Limits;
use crate::migration::{Handovers, Migrations, Peers};
use crate::operations::{OperationQueries, Operations};
use crate::oplog::{AppendError, LogFile, OpenError, OperationLog};
use crate::recover;
use crate::server::{Claims, Servers, reconcile};
use crate::tls::{Acceptor, LoadError, Reloader};
use drover_proto::v1::host_service_server::HostServiceServer;
use drover_proto::v1::image_service_server::ImageServiceServer;
use drover_proto::v1::migration_service_server::MigrationServiceServer;
use drover_proto::v1::operation_service_server::OperationServiceServer;
use drover_proto::v1::peer_service_server::PeerServiceServer;
use drover_proto::v1::server_service_server::ServerServiceServer;
use drover_types::IncarnationId;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Between two pings on a connection, and for the answer to one.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Between two looks at the credential files.
const RELOAD: Duration = Duration::from_secs(2);
/// For open streams to end after the port closed.
const CLOSE: Duration = Duration::from_secs(3);

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory cannot be made.
    #[error("could not make the directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The credentials cannot be used.
    #[error("could not load the agent's certificate")]
    Credentials(#[source] LoadError),
    /// The operation log does not open.
    #[error("could not open the operation log")]
    Log(#[source] OpenError),
    /// The system starts no thread.
    #[error("could not start a thread")]
    Thread(#[source] io::Error),
    /// The image cache cannot be used.
    #[error("could not open the image cache")]
    Images(#[source] image::OpenError),
    /// Interrupted operations cannot be read.
    #[error("could not take up interrupted operations")]
    Resume(#[source] AppendError),
    /// The port cannot be used.
    #[error("could not listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// Why a running agent ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server failed.
    #[error("the agent's server failed")]
    Server(#[source] tonic::transport::Error),
    /// A part that must run ended.
    #[error("the agent's {0} ended by itself")]
    Ended(&'static str),
    /// The operation log takes no more records.
    #[error("the operation log's disk failed; look at it, then start the agent again")]
    LogBroken,
}

/// An agent that is ready to serve.
#[derive(Debug)]
pub struct Daemon {
    agent: Arc<Agent>,
    listener: TcpListener,
    address: SocketAddr,
    reloader: Reloader,
    limits: Limits,
}

impl Daemon {
    /// Constructs everything, takes up interrupted operations, and binds the port.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let libvirt = Libvirt::new(config.libvirt_uri.clone());
        Self::start_on(config, Arc::new(libvirt)).await
    }

    /// The same on any hypervisor; the configuration's `libvirt_uri` is not looked at.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub async fn start_on(config: Config, hypervisor: Arc<dyn Hypervisor>) -> Result<Self, StartError> {
        let reloader = Reloader::load(config.tls.clone(), &config.fleet, &config.host)
            .map_err(StartError::Credentials)?;
        for directory in [config.data_dir.clone(), config.servers_dir()] {
            fs::create_dir_all(&directory).map_err(|source| StartError::Directory {
                path: directory,
                source,
            })?;
        }
        let life = IncarnationId::from_uuid(Uuid::new_v4());
        let remains = has_entries(&config.servers_dir());
        let file =
            LogFile::open(&config.operation_log(), &config.host, life, remains).map_err(StartError::Log)?;
        let log = OperationLog::start(file).map_err(StartError::Thread)?;
        // After the log, whose lock says that no other agent works here.
        let images =
            ImageCache::open(&config.images_dir(), config.images.clone()).map_err(StartError::Images)?;
        let wanted = config.listen;
        let listen = |source| StartError::Listen {
            address: wanted,
            source,
        };
        let listener = TcpListener::bind(wanted).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let agent = Arc::new(Agent {
            operations: Operations::new(log),
            images,
            hypervisor: HypervisorThreads::new(hypervisor),
            profiles: Profiles::new(
                config.virt_type,
                config.data_dir.clone(),
                config.cpus.clone(),
                config.pci_devices.clone(),
            ),
            monitor: Monitor::default(),
            claims: Claims::default(),
            handovers: Handovers::default(),
            credentials: reloader.subscribe(),
            config,
        });
        Handovers::resume(&agent).await.map_err(StartError::Resume)?;
        agent
            .operations
            .resume(recover::work(&agent))
            .await
            .map_err(StartError::Resume)?;
        Ok(Self {
            agent,
            listener,
            address,
            reloader,
            limits: Limits::default(),
        })
    }

    /// Serves within other limits than the usual ones.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` resolves, then closes the port and drains operations.
    ///
    /// # Errors
    /// [`ServeError`], where a part that must run ended by itself.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self {
            agent,
            listener,
            address,
            reloader,
            limits,
        } = self;
        let closing = CancellationToken::new();
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let (sender, connections) = Acceptor::channel();
        let acceptor = Acceptor::new(listener, reloader.subscribe(), limits, closing.clone());
        let mut accepting = tokio::spawn(acceptor.run(sender));
        let mut reloading = tokio::spawn(reloader.run(RELOAD, closing.clone()));
        let mut reconciling = tokio::spawn(reconcile::run(agent.clone(), closing.clone()));
        let mut measuring = tokio::spawn(measure(agent.clone(), closing.clone()));
        let mut looking = tokio::spawn(health::run(agent.clone(), reporter.clone()));
        let server = tonic::transport::Server::builder()
            .max_concurrent_streams(limits.streams)
            .http2_max_header_list_size(limits.header_bytes)
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE))
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .timeout(limits.request)
            .layer(AccessLayer::new(agent.config.fleet.clone()))
            .add_service(health_service)
            .add_service(HostServiceServer::new(Hosts::new(agent.clone())))
            .add_service(ImageServiceServer::new(Images::new(agent.clone())))
            .add_service(ServerServiceServer::new(Servers::new(agent.clone())))
            .add_service(MigrationServiceServer::new(Migrations::new(agent.clone())))
            .add_service(PeerServiceServer::new(Peers::new(agent.clone())))
            .add_service(OperationServiceServer::new(OperationQueries::new(agent.clone())))
            .serve_with_incoming_shutdown(
                ReceiverStream::new(connections),
                closing.clone().cancelled_owned(),
            );
        let mut serving = tokio::spawn(server);
        tracing::info!(%address, host = %agent.config.host, fleet = %agent.config.fleet, "serving");

        tokio::pin!(stop);
        // Each arm only looks at what goes on elsewhere, so losing the race loses nothing.
        let ended = tokio::select! {
            () = &mut stop => Ok(()),
            () = agent.operations.log().broken() => Err(ServeError::LogBroken),
            _ = &mut accepting => Err(ServeError::Ended("acceptor")),
            _ = &mut reloading => Err(ServeError::Ended("certificate reloader")),
            _ = &mut looking => Err(ServeError::Ended("health reporter")),
            _ = &mut reconciling => Err(ServeError::Ended("reconciler")),
            _ = &mut measuring => Err(ServeError::Ended("monitor")),
            served = &mut serving => match served {
                Ok(Err(error)) => Err(ServeError::Server(error)),
                Ok(Ok(())) | Err(_) => Err(ServeError::Ended("server")),
            },
        };
        // A look that waits for libvirt must not say afterwards that all is well.
        if !looking.is_finished() {
            looking.abort();
            drop((&mut looking).await);
        }
        health::stop(&reporter).await;
        let grace = agent.config.shutdown_grace;
        tracing::info!(grace_seconds = grace.as_secs(), "stopping; guests go on running");
        // Operations first: their watchers still hear how they end.
        let left = agent.operations.shut_down(grace).await;
        agent.handovers.shut_down().await;
        closing.cancel();
        if !serving.is_finished() && tokio::time::timeout(CLOSE, &mut serving).await.is_err() {
            serving.abort();
        }
        if left > 0 {
            tracing::warn!(operations = left, "stopped; these go on at the next start");
        } else {
            tracing::info!("stopped");
        }
        ended
    }
}

/// Whether the directory holds anything. One that cannot be read may.
fn has_entries(directory: &Path) -> bool {
    fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_some())
}
