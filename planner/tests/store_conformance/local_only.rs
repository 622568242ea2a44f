//! What only the embedded store does.

use super::{Fixture, key, layout, put, writes};
use drover::store::{Store, StoreSettings};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn nobody_else_reads_its_files() {
    let directory = TempDir::with_prefix("drover-store-").expect("a temporary directory");
    let path = directory.path().join("project").join(".drover");
    let settings = StoreSettings::Local { path: path.clone() };
    let (store, warnings) = Store::open(&settings, layout("prod")).await.expect("made");
    assert!(warnings.is_empty());
    store
        .commit(&writes(vec![put(&key(&store, "a"), 1)]))
        .await
        .expect("written");
    assert_eq!(mode(&path), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).expect("a directory") {
        let entry = entry.expect("an entry");
        assert_eq!(mode(&entry.path()), 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().expect("text"));
    }
    names.sort();
    assert_eq!(names, ["setup.lock", "state.db", "state.db-shm", "state.db-wal"]);
}

#[tokio::test]
async fn what_is_no_store_is_named() {
    let directory = TempDir::with_prefix("drover-store-").expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    fs::write(at("file"), "").expect("a file");
    fs::create_dir(at("junk")).expect("a directory");
    fs::write(
        at("junk/state.db"),
        "this is a letter, not a database\n".repeat(40),
    )
    .expect("a file");
    fs::create_dir(at("newer")).expect("a directory");
    rusqlite::Connection::open(at("newer/state.db"))
        .and_then(|connection| connection.pragma_update(None, "user_version", 7))
        .expect("a database");
    fs::create_dir_all(at("taken/state.db")).expect("a directory");
    for (name, expected) in [
        ("file", "cannot make the store in DIR/file"),
        ("file/below", "cannot make the store in DIR/file/below"),
        (
            "junk",
            "state.db in DIR/junk is not a store or is damaged: restore it from a copy",
        ),
        (
            "newer",
            "the store in DIR/newer has schema 7; this drover knows up to 1: use a newer one",
        ),
        ("taken", "cannot open the store in DIR/taken/state.db"),
    ] {
        let error = Store::open(&StoreSettings::Local { path: at(name) }, layout("prod"))
            .await
            .expect_err("no store");
        let text = error
            .to_string()
            .replace(&directory.path().display().to_string(), "DIR");
        assert_eq!(text, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opened_by_many_at_once() {
    let fixture = Fixture::local();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16 {
        let settings = fixture.settings.clone();
        tasks.spawn(async move {
            let (store, _) = Store::open(&settings, layout("prod")).await.expect("it opens");
            store
                .commit(&writes(vec![put(&key(&store, &format!("k{n:02}")), n)]))
                .await
                .expect("written");
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("the task ends");
    }
    assert_eq!(
        fixture
            .open()
            .await
            .read_all()
            .await
            .expect("a read")
            .entries
            .len(),
        16
    );
}
