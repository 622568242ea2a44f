//! Carries one operation to its end on one host: sends it, follows its stream, asks again when that breaks.
//!
//! What is answered is exactly what is known: *never sent* only where no connection was made, *failed* only
//! by the agent's own word, and *lost* for everything between.

use super::connection::{Agents, CallError, chain, tls_refusal};
use super::wire::{self, WireRequest};
use drover_core::executor::{AgentRequest, Event, FailureCode};
use drover_proto::v1;
use drover_proto::v1::host_service_client::HostServiceClient;
use drover_proto::v1::image_service_client::ImageServiceClient;
use drover_proto::v1::migration_service_client::MigrationServiceClient;
use drover_proto::v1::operation_service_client::OperationServiceClient;
use drover_proto::v1::server_service_client::ServerServiceClient;
use drover_types::{
    Epoch, FencingToken, FleetName, HostName, IncarnationId, OperationId, ProjectName, ServerId,
};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// How long an operation's stream may be silent before the connection is looked at anew; agents send a sign
/// of life every 15 s.
const SILENCE: Duration = Duration::from_secs(60);
/// How long it is tried to reach an agent again once an operation was, or may have been, sent.
const REATTACH: Duration = Duration::from_secs(30);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// For a call that is answered at once.
const SHORT: Duration = Duration::from_secs(10);

/// On whose behalf operations are sent.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The fleet.
    pub fleet: FleetName,
    /// The project.
    pub project: ProjectName,
    /// The fencing token of the lock that is held.
    pub token: FencingToken,
}

/// Where events go. The executor's loop takes them; it is gone only when the command is ending.
pub type Events = mpsc::Sender<Event>;

async fn tell(events: &Events, event: Event) {
    // A closed channel means that the apply has ended: nobody is left to tell.
    drop(events.send(event).await);
}

/// How a stream of an operation ended.
enum Followed {
    /// With the operation's own end, told already.
    Ended,
    /// Without it.
    Broken(String),
}

impl Agents {
    fn header(&self, caller: &Caller, operation: OperationId) -> v1::OperationHeader {
        v1::OperationHeader {
            operation_id: operation.to_string(),
            fencing_token: caller.token.get(),
            request_id: self.request().as_str().to_owned(),
            fleet: caller.fleet.to_string(),
            project: caller.project.to_string(),
        }
    }

    /// Sends a request and follows it to its end. Tells any number of `Accepted` and `Progress`, then one of
    /// `Succeeded`, `Failed`, `NeverSent`, `Lost`.
    pub async fn call(
        &self,
        caller: &Caller,
        operation: OperationId,
        host: &HostName,
        request: &AgentRequest,
        events: &Events,
    ) {
        let mut sent = false;
        let mut give_up = Instant::now() + REATTACH;
        let reason = loop {
            let channel = match self.channel(host).await {
                Ok(channel) => channel,
                Err(error) if !sent => {
                    let reason = chain(&error);
                    return tell(
                        events,
                        Event::NeverSent {
                            operation,
                            host: host.clone(),
                            reason,
                        },
                    )
                    .await;
                }
                Err(error) => {
                    if Instant::now() >= give_up {
                        break chain(&error);
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let wire = wire::request(self.header(caller, operation), request);
            sent = true;
            let last = match send(channel, wire).await {
                Ok(stream) => match follow(operation, host, stream, events).await {
                    Followed::Ended => return,
                    // It was alive a moment ago: the time to find it again starts anew.
                    Followed::Broken(why) => {
                        give_up = Instant::now() + REATTACH;
                        why
                    }
                },
                Err(status) => {
                    if let Some(refusal) = refusal(&status) {
                        let (code, message, hint) = refusal;
                        let host = host.clone();
                        return tell(
                            events,
                            Event::Failed {
                                operation,
                                host,
                                code,
                                message,
                                hint,
                            },
                        )
                        .await;
                    }
                    said(&status)
                }
            };
            self.disconnect(host).await;
            if Instant::now() >= give_up {
                break last;
            }
            tokio::time::sleep(PAUSE).await;
        };
        tell(
            events,
            Event::Lost {
                operation,
                host: host.clone(),
                reason,
            },
        )
        .await;
    }

    /// Attaches to an operation. Answers as [`Agents::call`], or `NotFound`.
    pub async fn watch(&self, operation: OperationId, host: &HostName, events: &Events) {
        let mut give_up = Instant::now() + REATTACH;
        let reason = loop {
            let last = match self.channel(host).await {
                Err(error) => chain(&error),
                Ok(channel) => {
                    let request = v1::WatchOperationRequest {
                        operation_id: operation.to_string(),
                    };
                    match OperationServiceClient::new(channel)
                        .watch_operation(request)
                        .await
                    {
                        Ok(answer) => match follow(operation, host, answer.into_inner(), events).await {
                            Followed::Ended => return,
                            Followed::Broken(why) => {
                                give_up = Instant::now() + REATTACH;
                                why
                            }
                        },
                        Err(status) if status.code() == Code::NotFound => {
                            return tell(
                                events,
                                Event::NotFound {
                                    operation,
                                    host: host.clone(),
                                },
                            )
                            .await;
                        }
                        Err(status) => said(&status),
                    }
                }
            };
            self.disconnect(host).await;
            if Instant::now() >= give_up {
                break last;
            }
            tokio::time::sleep(PAUSE).await;
        };
        tell(
            events,
            Event::Lost {
                operation,
                host: host.clone(),
                reason,
            },
        )
        .await;
    }

    /// Has the host refuse an operation for ever. Answers `Withdrawn` or `Lost`.
    pub async fn withdraw(&self, caller: &Caller, operation: OperationId, host: &HostName, events: &Events) {
        let answer = async {
            let channel = self.channel(host).await.map_err(|error| chain(&error))?;
            let mut request = tonic::Request::new(v1::WithdrawOperationRequest {
                header: Some(self.header(caller, operation)),
            });
            request.set_timeout(SHORT);
            OperationServiceClient::new(channel)
                .withdraw_operation(request)
                .await
                .map(tonic::Response::into_inner)
                .map_err(|status| said(&status))
        };
        let host = host.clone();
        match answer.await {
            Ok(v1::WithdrawOperationResponse { withdrawn, running }) => {
                tell(
                    events,
                    Event::Withdrawn {
                        operation,
                        host,
                        withdrawn,
                        running,
                    },
                )
                .await;
            }
            Err(reason) => {
                self.disconnect(&host).await;
                tell(
                    events,
                    Event::Lost {
                        operation,
                        host,
                        reason,
                    },
                )
                .await;
            }
        }
    }

    /// Tells a host that results are recorded. A failure is harmless: the host keeps them until it is told
    /// again.
    pub async fn acknowledge(&self, caller: &Caller, host: &HostName, operations: &[OperationId]) {
        let Ok(channel) = self.channel(host).await else {
            tracing::debug!(%host, "could not acknowledge: not connected");
            return;
        };
        let mut request = tonic::Request::new(v1::AcknowledgeOperationsRequest {
            operation_ids: operations.iter().map(ToString::to_string).collect(),
            fencing_token: caller.token.get(),
        });
        request.set_timeout(SHORT);
        if let Err(status) = OperationServiceClient::new(channel)
            .acknowledge_operations(request)
            .await
        {
            tracing::debug!(%host, "could not acknowledge: {}", said(&status));
        }
    }

    /// Has a host trust its present operation log, and grants it these epochs again.
    ///
    /// # Errors
    /// Where the host cannot be reached, refuses us, or has yet another log by now.
    pub async fn readmit(
        &self,
        host: &HostName,
        incarnation: IncarnationId,
        keep: &BTreeMap<ServerId, Epoch>,
        token: FencingToken,
    ) -> Result<IncarnationId, CallError> {
        let channel = self.channel(host).await?;
        let mut request = tonic::Request::new(v1::ReadmitHostRequest {
            operation_id: uuid::Uuid::new_v4().to_string(),
            incarnation: incarnation.to_string(),
            keep: keep
                .iter()
                .map(|(id, epoch)| v1::HeldEpoch {
                    server_id: id.to_string(),
                    epoch: epoch.get(),
                })
                .collect(),
            fencing_token: token.get(),
        });
        request.set_timeout(SHORT);
        let failed = |source| CallError::Call {
            host: host.clone(),
            method: "ReadmitHost",
            source: Box::new(source),
        };
        let answer = HostServiceClient::new(channel)
            .readmit_host(request)
            .await
            .map_err(failed)?
            .into_inner();
        drover_proto::field::parse("incarnation", &answer.incarnation)
            .map_err(|error| failed(Status::from_error(Box::new(error))))
    }

    /// Reads a console log, piece by piece, into `sink`.
    ///
    /// # Errors
    /// Where the host cannot be reached or has no such server.
    pub async fn console_log(
        &self,
        host: &HostName,
        request: v1::GetConsoleLogRequest,
        mut sink: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), CallError> {
        let channel = self.channel(host).await?;
        let failed = |source: Status| CallError::Call {
            host: host.clone(),
            method: "GetConsoleLog",
            source: Box::new(source),
        };
        let mut stream = ServerServiceClient::new(channel)
            .get_console_log(request)
            .await
            .map_err(failed)?
            .into_inner();
        while let Some(chunk) = stream.message().await.map_err(failed)? {
            sink(&chunk.data).map_err(|error| failed(Status::from_error(Box::new(error))))?;
        }
        Ok(())
    }
}

async fn send(channel: Channel, request: WireRequest) -> Result<Streaming<v1::OperationEvent>, Status> {
    let answer = match request {
        WireRequest::EnsureImage(message) => ImageServiceClient::new(channel).ensure_image(message).await,
        WireRequest::DeleteImage(message) => ImageServiceClient::new(channel).delete_image(message).await,
        WireRequest::CreateServer(message) => ServerServiceClient::new(channel).create_server(message).await,
        WireRequest::AdoptServer(message) => ServerServiceClient::new(channel).adopt_server(message).await,
        WireRequest::UpdateServer(message) => ServerServiceClient::new(channel).update_server(message).await,
        WireRequest::SetPower(message) => ServerServiceClient::new(channel).set_power(message).await,
        WireRequest::RebootServer(message) => ServerServiceClient::new(channel).reboot_server(message).await,
        WireRequest::DeleteServer(message) => ServerServiceClient::new(channel).delete_server(message).await,
        WireRequest::PrepareMigration(message) => {
            MigrationServiceClient::new(channel)
                .prepare_migration(message)
                .await
        }
        WireRequest::MigrateServer(message) => {
            MigrationServiceClient::new(channel).migrate_server(message).await
        }
    };
    answer.map(tonic::Response::into_inner)
}

async fn follow(
    operation: OperationId,
    host: &HostName,
    mut stream: Streaming<v1::OperationEvent>,
    events: &Events,
) -> Followed {
    use v1::operation_event::Event as Wire;
    loop {
        // Cancel-safe: a message that was not yet whole stays in the stream's buffer, and the stream is
        // dropped after a silence anyway.
        let message = match tokio::time::timeout(SILENCE, stream.message()).await {
            Err(_) => return Followed::Broken(format!("the agent was silent for {} s", SILENCE.as_secs())),
            Ok(Err(status)) => return Followed::Broken(said(&status)),
            Ok(Ok(None)) => return Followed::Broken("the agent ended the stream".to_owned()),
            Ok(Ok(Some(message))) => message,
        };
        let host = host.clone();
        match message.event {
            None => {}
            Some(Wire::Accepted(_)) => tell(events, Event::Accepted { operation, host }).await,
            Some(Wire::Progress(wire)) => {
                let progress = wire::progress(wire);
                tell(
                    events,
                    Event::Progress {
                        operation,
                        host,
                        progress,
                    },
                )
                .await;
            }
            Some(Wire::Finished(finished)) => {
                let event = match wire::outcome(finished) {
                    Ok(Ok(result)) => Event::Succeeded {
                        operation,
                        host,
                        result,
                    },
                    Ok(Err(failure)) => Event::Failed {
                        operation,
                        host,
                        code: wire::failure_code(failure.code()),
                        message: failure.message,
                        hint: failure.hint,
                    },
                    Err(error) => Event::Lost {
                        operation,
                        host,
                        reason: chain(&error),
                    },
                };
                tell(events, event).await;
                return Followed::Ended;
            }
        }
    }
}

/// A status by which the agent itself says that nothing was begun; `None` where the status may come from the
/// connection, or the agent asks to be asked again.
fn refusal(status: &Status) -> Option<(FailureCode, String, String)> {
    if let Some(tls) = tls_refusal(status) {
        let message = format!("the agent does not accept our certificate: {tls}");
        let hint = "check the certificate with `drover pki show FILE`, or issue a new one".to_owned();
        return Some((FailureCode::Refused, message, hint));
    }
    let hint = match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => {
            "use a certificate of a role that may do this (`drover pki show FILE` says which one you hold)"
        }
        Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => "plan again and apply the new plan",
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => {
            "drover and the agent disagree about the request: compare their versions with `drover host list`"
        }
        Code::ResourceExhausted => "the host is short of something; see the agent's log",
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => return None,
    };
    Some((FailureCode::Refused, status.message().to_owned(), hint.to_owned()))
}

fn said(status: &Status) -> String {
    if status.message().is_empty() {
        format!("{:?}", status.code())
    } else {
        chain(status)
    }
}
