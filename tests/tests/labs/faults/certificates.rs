//! Each wrong certificate against every method, by a client that is not Drover's own (curl), and what
//! drover itself says of it.

use crate::faults::fleet::{Fleet, servers, start};
use drover_proto::Method;
use drover_tests::lab::{Etcd, Host, Lab, Store, TlsFiles};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType, date_time_ymd};
use std::path::Path;

/// What a call came to: the TLS error, or the status and its message.
fn call(lab: &Lab, host: &Host, method: Method, files: Option<&TlsFiles>) -> String {
    let mut curl = lab.client_command("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--http2",
        "--tlsv1.3",
        "--insecure",
        "--max-time",
        "20",
    ]);
    curl.args(["--dump-header", "-", "--output", "/dev/null"]);
    curl.args([
        "--header",
        "content-type: application/grpc",
        "--header",
        "te: trailers",
    ]);
    // One empty message, uncompressed.
    curl.args(["--data-binary", "@-"]);
    if let Some(files) = files {
        curl.arg("--cert")
            .arg(&files.cert_file)
            .arg("--key")
            .arg(&files.key_file);
    }
    curl.arg(format!("https://{}{}", host.agent_address(), method.path()));
    let message = tempfile::tempfile().expect("a temporary file");
    std::io::Write::write_all(&mut &message, &[0; 5]).expect("it can be written");
    let mut message = message;
    std::io::Seek::rewind(&mut message).expect("it can be rewound");
    let output = curl.stdin(message).output().expect("curl runs");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    text.replace("%20", " ")
}

/// A certificate of the fleet's own authority that `drover pki` would not issue.
fn forge(lab: &Lab, name: &str, uri: &str, until: i32) -> TlsFiles {
    forge_with(lab, name, &[uri], |params| {
        params.not_after = date_time_ymd(until, 1, 1);
    })
}

/// The same, with anything in it changed.
fn forge_with(lab: &Lab, name: &str, uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> TlsFiles {
    let pki = lab.pki().expect("the lab has an authority");
    let read =
        |file: &str| std::fs::read_to_string(pki.directory().join(file)).expect("the authority's files");
    let intermediate = read("intermediate.pem");
    let key = KeyPair::from_pem(&read("intermediate-key.pem")).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(&intermediate, key).expect("an authority");
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let san = |uri: &&str| SanType::URI((*uri).try_into().expect("ASCII"));
    params.subject_alt_names = uris.iter().map(san).collect();
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let leaf = params.signed_by(&key, &issuer).expect("a certificate");
    let directory = lab.directory().join(name);
    std::fs::create_dir_all(&directory).expect("the lab's directory can be written");
    let write = |file: &str, text: &str| {
        let path = directory.join(file);
        std::fs::write(&path, text).expect("the lab's directory can be written");
        path
    };
    TlsFiles {
        ca_file: write("ca.pem", &read("root.pem")),
        cert_file: write("cert.pem", &format!("{}{intermediate}", leaf.pem())),
        key_file: write("key.pem", &key.serialize_pem()),
    }
}

fn may(role: &str, method: Method) -> bool {
    let (service, name) = method.path().rsplit_once('/').expect("a path has parts");
    let peer = service.ends_with("PeerService");
    let reads = ["Get", "List", "Watch"].iter().any(|verb| name.starts_with(verb));
    match role {
        "agent" => peer,
        "reader" => !peer && reads,
        "operator" => !peer && name != "ReadmitHost",
        other => panic!("no certificate of role {other} is tried"),
    }
}

#[test]
fn every_wrong_certificate_is_refused_by_every_method() {
    let lab = start(1, Etcd::None);
    let n1 = lab.host("n1");
    let pki = lab.pki().expect("the lab has an authority");
    let issue = |role: &str, name: &str| pki.issue(role, name).expect("a certificate");
    let stranger = lab.another_pki("other-pki", "lab").expect("another authority");
    let stranger = stranger.issue("operator", "eve").expect("a certificate");
    let fleet = forge(&lab, "other-fleet", "spiffe://other/operator/eve", 2090);
    let expired = forge(&lab, "expired", "spiffe://lab/operator/late", 2021);
    let nameless = forge(&lab, "nameless", "https://lab/operator/eve", 2090);
    let early = forge_with(&lab, "early", &["spiffe://lab/operator/early"], |params| {
        params.not_before = date_time_ymd(2080, 1, 1);
    });
    let server_only = forge_with(&lab, "server-only", &["spiffe://lab/operator/eve"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let two = ["spiffe://lab/operator/eve", "spiffe://lab/agent/n1"];
    let two = forge_with(&lab, "two", &two, |_| ());
    let mut refused = 0;
    for method in Method::ALL {
        let mut expect = |who: &str, files: Option<&TlsFiles>, words: &[&str]| {
            let mut answer = call(&lab, n1, *method, files);
            // With TLS 1.3 the refusal comes after the client's first words, and those may meet a connection
            // that is closed already: curl then says that, and not the alert.
            for _ in 0..20 {
                if answer.contains("grpc-status") || words.iter().all(|word| answer.contains(word)) {
                    break;
                }
                assert!(
                    answer.contains("curl: ("),
                    "{who} called {}: {answer}",
                    method.path()
                );
                answer = call(&lab, n1, *method, files);
            }
            for word in words {
                assert!(
                    answer.contains(word),
                    "{who} called {}: no {word:?} in {answer}",
                    method.path()
                );
            }
            assert!(
                !answer.contains("grpc-status: 0"),
                "{who} called {}: {answer}",
                method.path()
            );
            refused += 1;
        };
        expect("nobody", None, &["alert certificate required"]);
        expect(
            "another authority's operator",
            Some(&stranger),
            &["SSL routines::tlsv1 alert"],
        );
        expect(
            "an expired operator",
            Some(&expired),
            &["alert certificate expired"],
        );
        expect(
            "an operator of another fleet",
            Some(&fleet),
            &["grpc-status: 7", "is not of fleet lab"],
        );
        expect("a certificate without identity", Some(&nameless), &["curl: ("]);
        expect("an operator of the future", Some(&early), &["SSL routines::"]);
        expect(
            "a certificate for servers only",
            Some(&server_only),
            &["SSL routines::"],
        );
        expect("a certificate of two identities", Some(&two), &["curl: ("]);
        for role in ["agent", "reader", "operator"] {
            let files = issue(role, if role == "agent" { "n9" } else { "tester" });
            if may(role, *method) {
                let answer = call(&lab, n1, *method, Some(&files));
                assert!(
                    !answer.contains("may not call"),
                    "a {role} called {}: {answer}",
                    method.path()
                );
            } else {
                expect(role, Some(&files), &["grpc-status: 7", "may not call"]);
            }
        }
    }
    println!("{refused} calls of {} methods refused", Method::ALL.len());
    assert!(refused > 100);
}

fn plan_with(lab: &Lab, name: &str, files: &TlsFiles, code: i32, words: &[&str]) {
    let honest = Fleet::new(lab, Store::Local);
    honest.configure(&[], &servers(1, ""));
    let text = std::fs::read_to_string(honest.workspace.directory().join("main.hcl")).expect("just written");
    let workspace = lab.workspace_of(name, files).expect("a workspace can be made");
    workspace
        .write("main.hcl", &text)
        .expect("the workspace can be written");
    let plan = workspace.expect(code, &["plan"]);
    let said = format!("{}{}", plan.stdout, plan.stderr);
    // Text is wrapped to the terminal.
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    println!("{name}:\n{said}");
    for word in words {
        assert!(said.contains(word), "{name}: no {word:?} in {said}");
    }
    assert!(Path::new(&files.key_file).exists());
}

#[test]
fn drover_says_what_is_wrong_with_a_certificate() {
    let lab = start(1, Etcd::None);
    let stranger = lab.another_pki("other-pki", "lab").expect("another authority");
    let stranger = stranger.issue("operator", "eve").expect("a certificate");
    plan_with(
        &lab,
        "stranger",
        &stranger,
        1,
        &["n1", "is not trusted as spiffe://lab/agent/n1"],
    );
    let expired = forge(&lab, "expired-files", "spiffe://lab/operator/late", 2021);
    plan_with(
        &lab,
        "expired",
        &expired,
        1,
        &["valid from", "not now", "drover pki issue"],
    );
    let fleet = forge(&lab, "other-fleet-files", "spiffe://other/operator/eve", 2090);
    plan_with(&lab, "other-fleet", &fleet, 1, &["fleet"]);
    // A reader plans; what it may not do is refused by the agents themselves.
    let pki = lab.pki().expect("the lab has an authority");
    let reader = pki.issue("reader", "ann").expect("a certificate");
    plan_with(&lab, "reader", &reader, 0, &["will be created on n1"]);
    let text = std::fs::read_to_string(lab.directory().join("reader/main.hcl")).expect("just written");
    let workspace = lab
        .workspace_of("reader", &reader)
        .expect("a workspace can be made");
    workspace
        .write("main.hcl", &text)
        .expect("the workspace can be written");
    let applied = workspace.expect(5, &["apply", "--auto-approve"]);
    println!("{}", applied.stderr);
    assert!(
        applied.stderr.contains("spiffe://lab/reader/ann may not call"),
        "{}",
        applied.stderr
    );
}
