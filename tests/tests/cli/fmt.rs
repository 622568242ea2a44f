//! `drover fmt`: which files it writes, and what it says.

use crate::run::{command, drover_in};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

const UGLY: &str = "server \"x\" {\n  flavor   = flavor.small\n    image=image.debian # why\n}\n";
const NEAT: &str = "server \"x\" {\n  flavor = flavor.small\n  image  = image.debian # why\n}\n";

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(dir.path().join("below/.hidden")).expect("made");
    for (name, text) in [
        ("neat.hcl", NEAT),
        ("ugly.hcl", UGLY),
        ("x.auto.vars.hcl", "a=1\n"),
        ("notes.txt", "a=1\n"),
        ("below/more.hcl", UGLY),
        ("below/.hidden/not.hcl", UGLY),
    ] {
        std::fs::write(dir.path().join(name), text).expect("written");
    }
    dir
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).expect("the file")
}

#[test]
fn files_of_the_folder_are_written_and_named() {
    let dir = folder();
    let ran = drover_in(dir.path(), &["fmt"]).exits(0);
    assert_eq!(ran.stdout, "ugly.hcl\nx.auto.vars.hcl\n");
    assert_eq!(read(dir.path(), "ugly.hcl"), NEAT);
    assert_eq!(read(dir.path(), "notes.txt"), "a=1\n");
    assert_eq!(read(dir.path(), "below/more.hcl"), UGLY);
    let again = drover_in(dir.path(), &["fmt"]).exits(0);
    assert_eq!(again.stdout, "");
}

#[test]
fn check_writes_nothing_and_diff_shows_what_would_change() {
    let dir = folder();
    insta::assert_snapshot!(drover_in(dir.path(), &["fmt", "--check", "--diff"]).text(), @r#"
    exit 1
    --- stdout
    ugly.hcl
    --- old/ugly.hcl
    +++ new/ugly.hcl
    @@ -1,4 +1,4 @@
     server "x" {
    -  flavor   = flavor.small
    -    image=image.debian # why
    +  flavor = flavor.small
    +  image  = image.debian # why
     }
    x.auto.vars.hcl
    --- old/x.auto.vars.hcl
    +++ new/x.auto.vars.hcl
    @@ -1 +1 @@
    -a=1
    +a = 1
    "#);
    assert_eq!(read(dir.path(), "ugly.hcl"), UGLY);
    drover_in(dir.path(), &["fmt", "--check", "neat.hcl"]).exits(0);
    drover_in(dir.path(), &["fmt", "--check", "below"]).exits(1);
    drover_in(dir.path(), &["fmt", "none.hcl"]).exits(1);
}

#[test]
fn recursive_goes_below() {
    let dir = folder();
    let ran = drover_in(dir.path(), &["fmt", "--recursive"]).exits(0);
    assert_eq!(ran.stdout, "below/more.hcl\nugly.hcl\nx.auto.vars.hcl\n");
    assert_eq!(read(dir.path(), "below/more.hcl"), NEAT);
    assert_eq!(read(dir.path(), "below/.hidden/not.hcl"), UGLY);
}

#[test]
fn links_and_rights_are_kept() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = folder();
    std::fs::remove_file(dir.path().join("ugly.hcl")).expect("removed");
    std::os::unix::fs::symlink("below/more.hcl", dir.path().join("ugly.hcl")).expect("a link");
    let real = dir.path().join("below/more.hcl");
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).expect("set");
    drover_in(dir.path(), &["fmt", "ugly.hcl"]).exits(0);
    let link = std::fs::symlink_metadata(dir.path().join("ugly.hcl")).expect("there");
    assert!(link.file_type().is_symlink(), "the link was replaced");
    assert_eq!(read(dir.path(), "below/more.hcl"), NEAT);
    let mode = std::fs::metadata(&real).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn a_file_with_mistakes_is_left_alone_and_the_others_are_written() {
    let dir = folder();
    std::fs::write(dir.path().join("bad.hcl"), "a = \n").expect("written");
    let ran = drover_in(dir.path(), &["fmt"]).exits(1);
    assert!(ran.stderr.contains("bad.hcl:1"), "{}", ran.text());
    assert_eq!(read(dir.path(), "ugly.hcl"), NEAT);
    assert_eq!(read(dir.path(), "bad.hcl"), "a = \n");
}

#[test]
fn the_examples_are_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let ran = drover_in(&root, &["fmt", "--check", "--recursive", "examples"]);
    assert_eq!(ran.text(), "exit 0");
}

#[test]
fn stdin_goes_to_stdout() {
    let dir = folder();
    let run = |arguments: &[&str], text: &str| {
        let mut child = command(dir.path(), arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(text.as_bytes()).expect("written");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        (
            output.status.code(),
            String::from_utf8(output.stdout).expect("UTF-8"),
        )
    };
    assert_eq!(run(&["fmt", "-"], UGLY), (Some(0), NEAT.to_owned()));
    assert_eq!(run(&["fmt", "--check", "-"], UGLY), (Some(1), String::new()));
    assert_eq!(run(&["fmt", "--check", "-"], NEAT), (Some(0), String::new()));
    assert_eq!(run(&["fmt", "-"], "a = \n").0, Some(1));
    drover_in(dir.path(), &["fmt", "-", "ugly.hcl"]).exits(1);
}
