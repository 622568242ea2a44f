//! The fleet's authority: what it issues is accepted by the transport, and nothing else is.

use drover::pki::{Authority, PkiError, summary};
use drover_proto::transport::{CredentialFiles, Credentials, CredentialsError};
use drover_types::Identity;
use std::os::unix::fs::PermissionsExt as _;

fn identity(text: &str) -> Identity {
    text.parse().expect("an identity")
}

#[test]
fn issued_certificates_carry_the_identity_and_load() {
    let dir = tempfile::tempdir().expect("a directory");
    let fleet = "lab".parse().expect("a name");
    let authority = Authority::create(dir.path(), &fleet).expect("an authority");
    for who in [
        "spiffe://lab/agent/n1",
        "spiffe://lab/operator/ann",
        "spiffe://lab/reader/ci",
    ] {
        let out = dir.path().join("out");
        let files = authority
            .issue(dir.path(), &identity(who), 30)
            .expect("a certificate")
            .write_to(&out)
            .expect("files");
        let mode = std::fs::metadata(&files.key_file)
            .expect("the key")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "the key of {who} can be read by others");
        let shown = summary(&files.cert_file).expect("a summary");
        assert_eq!(shown.identity.as_deref(), Some(who));
        assert!(shown.valid && !shown.authority);
        let loaded = Credentials::load(&CredentialFiles {
            ca_file: files.ca_file,
            cert_file: files.cert_file,
            key_file: files.key_file,
        })
        .expect("credentials");
        assert_eq!(loaded.identity(), &identity(who));
    }
}

#[test]
fn an_authority_is_made_once_and_signs_for_its_own_fleet() {
    let dir = tempfile::tempdir().expect("a directory");
    let fleet = "lab".parse().expect("a name");
    let authority = Authority::create(dir.path(), &fleet).expect("an authority");
    assert!(matches!(
        Authority::create(dir.path(), &fleet),
        Err(PkiError::Exists(_))
    ));
    let other = authority.issue(dir.path(), &identity("spiffe://prod/agent/n1"), 1);
    assert!(matches!(other, Err(PkiError::OtherFleet { .. })));
    assert!(matches!(
        Authority::open(&dir.path().join("none")),
        Err(PkiError::NoAuthority { .. })
    ));
}

#[test]
fn an_outdated_certificate_and_a_foreign_key_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::create(dir.path(), &"lab".parse().expect("a name")).expect("an authority");
    let issue = |days, name: &str| {
        authority
            .issue(dir.path(), &identity("spiffe://lab/operator/ann"), days)
            .and_then(|issued| issued.write_to(&dir.path().join(name)))
            .expect("files")
    };
    let (old, new) = (issue(0, "old"), issue(1, "new"));
    let load = |cert: &std::path::Path, key: &std::path::Path| {
        Credentials::load(&CredentialFiles {
            ca_file: new.ca_file.clone(),
            cert_file: cert.to_owned(),
            key_file: key.to_owned(),
        })
    };
    assert!(matches!(
        load(&old.cert_file, &old.key_file),
        Err(CredentialsError::OutOfDate { .. })
    ));
    assert!(matches!(
        load(&new.cert_file, &old.key_file),
        Err(CredentialsError::Key { .. })
    ));
}
