//! libvirt's event loop on a thread of its own: keep-alive and life-cycle events need it.

use super::ffi;
use std::ops::Deref;
use std::sync::OnceLock;
use tokio::sync::watch::Sender;
use virt::connect::Connect;
use virt::error::Error;

/// Starts the loop once for the process; every connection must be opened after it.
pub(super) fn start() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        virt::error::clear_error_callback();
        if let Err(source) = virt::event::event_register_default_impl() {
            tracing::error!(%source, "libvirt's event loop cannot be registered; its life-cycle events are polled");
            return;
        }
        // A loop without any timeout blocks until the first connection adds a handle, which wakes it.
        let thread = std::thread::Builder::new().name("libvirt-events".to_owned()).spawn(|| {
            loop {
                if let Err(source) = virt::event::event_run_default_impl() {
                    tracing::warn!(%source, "libvirt's event loop failed once");
                }
            }
        });
        if let Err(source) = thread {
            tracing::error!(%source, "the thread of libvirt's event loop cannot be started");
        }
    });
}

/// A connection with keep-alive on (five missed answers in 25 s count as closed) that raises a counter at each
/// life-cycle event of any domain.
pub(super) struct WatchedConnection {
    connection: Connect,
    registration: Option<i32>,
}

impl WatchedConnection {
    /// Opens a connection; [`start`] must have been called.
    pub(super) fn open(uri: &str, changed: &Sender<u64>) -> Result<Self, Error> {
        let connection = Connect::open(Some(uri))?;
        if let Err(source) = connection.set_keep_alive(5, 5) {
            tracing::warn!(%source, "libvirt refused keep-alive");
        }
        let registration = match ffi::watch_life_cycle(&connection, changed.clone()) {
            Ok(registration) => Some(registration),
            Err(source) => {
                tracing::warn!(%source, "libvirt refused life-cycle events; changes are polled");
                None
            }
        };
        Ok(Self {
            connection,
            registration,
        })
    }
}

impl Deref for WatchedConnection {
    type Target = Connect;
    fn deref(&self) -> &Connect {
        &self.connection
    }
}

impl Drop for WatchedConnection {
    fn drop(&mut self) {
        if let Some(registration) = self.registration {
            ffi::unwatch(&self.connection, registration);
        }
    }
}
