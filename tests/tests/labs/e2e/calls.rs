//! Calls to an agent that no command of drover makes, from the client's network.

use drover_proto::transport::{CredentialFiles, Credentials, Timeouts, connect};
use drover_tests::lab::{Lab, TlsFiles};
use drover_types::Identity;
use tonic::transport::Channel;

/// Does something with the connection to a host's agent, from the client's network.
pub(crate) fn with_agent<T: Send, W: Future<Output = T>>(
    lab: &Lab,
    host: &str,
    files: TlsFiles,
    work: impl FnOnce(Channel) -> W + Send,
) -> T {
    let TlsFiles {
        ca_file,
        cert_file,
        key_file,
    } = files;
    let files = CredentialFiles {
        ca_file,
        cert_file,
        key_file,
    };
    let credentials = Credentials::load(&files).expect("drover pki writes what drover reads");
    let agent: Identity = format!("spiffe://lab/agent/{host}").parse().expect("an identity");
    let address = lab.host(host).agent_address();
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            let ip = address.ip().to_string();
            let channel = connect(&ip, address.port(), &agent, &credentials, Timeouts::default());
            work(channel.await.expect("connected")).await
        })
    };
    lab.client()
        .inside_network(work)
        .expect("the client's network is there")
}
