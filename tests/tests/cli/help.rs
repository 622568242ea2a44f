//! Help: every command and every option says what it is for.

use crate::run::{Ran, drover_in};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn help(command: &[String]) -> Ran {
    let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    arguments.push("--help");
    drover_in(Path::new("/"), &arguments).exits(0)
}

/// The lines of a section of a help text.
fn section<'a>(help: &'a str, title: &str) -> Vec<&'a str> {
    help.lines()
        .skip_while(|line| *line != title)
        .skip(1)
        .take_while(|line| line.starts_with(' ') || line.is_empty())
        .collect()
}

/// Every command, the ones with sub-commands too, and its help.
fn all() -> BTreeMap<Vec<String>, String> {
    let mut all = BTreeMap::new();
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(command) = open.pop() {
        let text = help(&command).stdout;
        for line in section(&text, "Commands:") {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (Some(name), true) = (words.first(), line.starts_with("  ") && !line.starts_with("   "))
            else {
                continue;
            };
            if *name != "help" {
                assert!(words.len() > 2, "{command:?} {name} says nothing of itself");
                open.push(command.iter().cloned().chain([(*name).to_owned()]).collect());
            }
        }
        all.insert(command, text);
    }
    all
}

/// Every option, by its long name, and the commands that have it.
pub(crate) fn options() -> BTreeMap<String, BTreeSet<String>> {
    let mut options: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (command, text) in all() {
        for line in section(&text, "Options:") {
            if let Some(name) = line.split_whitespace().find(|word| word.starts_with("--"))
                && line.trim_start().starts_with('-')
            {
                options
                    .entry(name.trim_end_matches(',').to_owned())
                    .or_default()
                    .insert(command.join(" "));
            }
        }
    }
    options
}

#[test]
fn every_command_and_option_is_described_within_80_columns() {
    let all = all();
    let names: Vec<String> = all.keys().map(|command| command.join(" ")).collect();
    insta::assert_snapshot!(names.join("\n").trim(), @"
    adopt
    apply
    capacity
    completion
    console
    destroy
    dev
    dev down
    dev status
    dev up
    drift
    fmt
    force-unlock
    graph
    host
    host inventory
    host list
    host readmit
    image
    image list
    import
    init
    output
    pki
    pki init
    pki issue
    pki show
    plan
    rebalance
    refresh
    scheduler
    scheduler export
    scheduler simulate
    server
    server console-log
    server list
    server migrate
    server reboot
    server show
    show
    state
    state list
    state mv
    state pull
    state push
    state rm
    state show
    test
    validate
    version
    ");
    for (command, text) in &all {
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.len() > 10 && !first.starts_with("Usage"),
            "{command:?} begins with {first:?}"
        );
        assert!(
            text.contains(&format!(
                "Usage: drover{}{}",
                if command.is_empty() { "" } else { " " },
                command.join(" ")
            )),
            "{text}"
        );
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{command:?}: {line:?}");
        }
        let options = section(text, "Options:").join("\n");
        for option in options
            .split("\n  -")
            .skip(1)
            .chain(options.split("\n      --").skip(1))
        {
            let words = option
                .split_whitespace()
                .filter(|word| !word.starts_with(['-', '<']))
                .count();
            assert!(words > 1, "{command:?}: the option {option:?} is not described");
        }
    }
}

#[test]
fn the_first_help_shows_commands_and_exit_statuses() {
    insta::assert_snapshot!(help(&[]).text(), @"
    exit 0
    --- stdout
    Runs a fleet of libvirt hosts from HCL

    Usage: drover [OPTIONS] <COMMAND>

    Commands:
      init          Write a commented configuration to start from; nothing that is
                    there is overwritten
      validate      Check the configuration without asking the store or any host
      fmt           Put the layout of configuration files in order, comments kept
      console       Evaluate expressions, line by line, against the files and the
                    recorded fleet
      test          Run the tests in *.drovertest.hcl: plan on hosts of given sizes,
                    no store or host needed
      plan          Show what apply would do, where each server would land, and why
      apply         Plan, ask, and carry the plan out; or carry out a plan file
                    exactly
      destroy       Destroy every server (or every target), after showing what goes
                    and asking
      refresh       Bring the records up to date with what the hosts report, and
                    change nothing else
      drift         Look for drift: print what hosts report otherwise than recorded,
                    and change nothing
      rebalance     Plan the moves that even the hosts out, ask, and carry them out
      capacity      Show how many more servers of each flavor fit, and whether the
                    fleet outlives the loss of any host
      import        Take an existing libvirt domain under management, as it is and
                    without a restart
      adopt         Write import and server blocks for every domain of a host that
                    is not managed; change nothing
      show          Show a plan file, or everything that is recorded
      output        Show the outputs that the last apply recorded
      state         List, show or change what is recorded
      force-unlock  Remove the lock of a command that is gone for good
      host          Look at the hosts, or trust one again
      server        Look at servers, and do what has no lasting desired state
      image         Look at the images
      scheduler     Try the scheduler on a fleet in a file, or write one
      pki           Make the fleet's certificate authority and issue certificates
      dev           Run a whole Drover on this one machine: embedded store, agent,
                    the machine's own libvirt
      graph         Draw what refers to what in the files, or what comes before what
                    in a plan
      completion    Print a shell's completions of commands and options
      version       Show which drover this is, and which forms of plans and records
                    it reads
      help          Print this message or the help of the given subcommand(s)

    Options:
      -C <DIR>        Run as if drover had been started in DIR
          --no-color  Print without colour (so does the environment variable
                      NO_COLOR)
      -h, --help      Print help
      -V, --version   Print version

    Exit status:
      0  done, or nothing to do
      1  an error, a wrong option included
      2  there are changes (only with --detailed-exitcode), or drift (drift)
      3  the lock is held by another
      4  the plan is stale, altered, or not of this fleet
      5  applied in part: something failed, or the command was interrupted
    ");
}

#[test]
fn the_help_of_plan_and_apply() {
    insta::assert_snapshot!(help(&["plan".to_owned()]).text(), @"
    exit 0
    --- stdout
    Show what apply would do, where each server would land, and why

    Usage: drover plan [OPTIONS]

    Options:
      -C <DIR>
              Run as if drover had been started in DIR
          --var <NAME=VALUE>
              Set a variable; may be given several times
          --no-color
              Print without colour (so does the environment variable NO_COLOR)
          --var-file <FILE>
              Read values of variables from FILE; may be given several times
          --target <ADDR>
              Plan only ADDR and what it needs; may be given several times
          --exclude <ADDR>
              Leave ADDR and what needs it as it is; may be given several times
          --max-destroy <N>
              Refuse a plan that destroys or replaces more than N servers
          --allow-unreachable <HOST>
              Accept that HOST does not answer; may be given several times
          --refresh <BOOL>
              With false: take servers to be as recorded, neither show nor heal
              drift [default: true] [possible values: true, false]
          --refresh-only
              Only look for drift: plan what brings the records up to date, and no
              other change
          --retry-all
              Consider hosts again that refused a server before
          --out <FILE>
              Write the plan to FILE, for `drover apply FILE`
          --inventory <FILE>
              Plan with the answers that `drover host inventory` saved to FILE; ask
              no host
          --json
              Print one JSON object per line: a change, a step of the apply, a
              diagnostic
          --json-into <FILE>
              Write these objects to FILE, while people read what they read without
              this
          --compact-warnings
              Show a line of each warning, where there are no errors
          --full
              Show every change and every list in full, however many there are
          --explain [<ADDR>]
              Show why each server goes where it goes: every host, with the filters
              that refuse it and their numbers, or its weights; with ADDR these
              servers alone, also those that stay where they are
          --markdown
              Print a summary in Markdown to paste in a pull request, the plan
              folded away in it
          --generate-config-out <FILE>
              Write blocks to FILE, which must not be there yet, for servers that
              are to be imported and not declared, and plan with them
          --detailed-exitcode
              Exit with 2 where there are changes
          --parallelism <N>
              Ask at most N hosts at a time [default: 64]
          --destroy
              Plan to destroy everything (or every target)
          --replace <ADDR>
              Replace the server ADDR although nothing of it changed; may be given
              several times
      -h, --help
              Print help
    ");
    insta::assert_snapshot!(help(&["apply".to_owned()]).text(), @"
    exit 0
    --- stdout
    Plan, ask, and carry the plan out; or carry out a plan file exactly

    Usage: drover apply [OPTIONS] [PLANFILE]

    Arguments:
      [PLANFILE]  A plan written by `drover plan --out`; applied without asking

    Options:
      -C <DIR>
              Run as if drover had been started in DIR
          --var <NAME=VALUE>
              Set a variable; may be given several times
          --no-color
              Print without colour (so does the environment variable NO_COLOR)
          --var-file <FILE>
              Read values of variables from FILE; may be given several times
          --target <ADDR>
              Plan only ADDR and what it needs; may be given several times
          --exclude <ADDR>
              Leave ADDR and what needs it as it is; may be given several times
          --max-destroy <N>
              Refuse a plan that destroys or replaces more than N servers
          --allow-unreachable <HOST>
              Accept that HOST does not answer; may be given several times
          --refresh <BOOL>
              With false: take servers to be as recorded, neither show nor heal
              drift [default: true] [possible values: true, false]
          --refresh-only
              Only look for drift: plan what brings the records up to date, and no
              other change
          --retry-all
              Consider hosts again that refused a server before
          --auto-approve
              Apply without asking
          --lock-timeout <DURATION>
              Wait up to DURATION (30s, 5m) for the lock [default: 0s]
          --parallelism <N>
              Carry out at most N actions at a time [default: 10]
          --json
              Print one JSON object per line: a change, a step of the apply, a
              diagnostic
          --json-into <FILE>
              Write these objects to FILE, while people read what they read without
              this
          --compact-warnings
              Show a line of each warning, where there are no errors
          --full
              Show every change and every list in full, however many there are
          --explain
              Show every host that each server could not go to, with the filter and
              its numbers
          --destroy
              Destroy everything (or every target)
          --replace <ADDR>
              Replace the server ADDR although nothing of it changed; may be given
              several times
      -h, --help
              Print help
    ");
}

#[test]
fn a_wrong_option_or_command_is_an_error_with_status_1() {
    for arguments in [
        &["plan", "--no-such-option"][..],
        &["no-such-command"],
        &[],
        &["plan", "--parallelism", "0"],
        &["apply", "--parallelism", "0"],
        &["apply", "--parallelism", "1025"],
        &["apply", "--lock-timeout", "5"],
        &["plan", "--target", "server/web"],
        &["plan", "--allow-unreachable", "../n1"],
        &["apply", "--destroy", "--refresh-only"],
        &["plan", "--destroy", "--refresh-only"],
        &["apply", "plan.bin", "--target", "server.web"],
        &["apply", "plan.bin", "--replace", "server.web"],
        &["plan", "--destroy", "--replace", "server.web"],
        &["plan", "--refresh-only", "--refresh=false"],
        &["plan", "--max-destroy", "-1"],
        &["output", "--raw"],
        &["output", "name", "--raw", "--json"],
        &["server", "console-log", "server.web", "--tail", "0"],
        &["pki", "issue", "king", "arthur"],
        &["pki", "issue", "operator", "arthur", "--days", "0"],
    ] {
        let ran = drover_in(Path::new("/"), arguments);
        assert_eq!(
            (ran.status, ran.stdout.as_str()),
            (1, ""),
            "{arguments:?}: {}",
            ran.text()
        );
        assert!(
            ran.stderr.contains("Usage:") || ran.stderr.contains("--help"),
            "{}",
            ran.text()
        );
    }
}

#[test]
fn a_wrong_option_names_the_right_one() {
    insta::assert_snapshot!(drover_in(Path::new("/"), &["plan", "--detailed-exit-code"]).text(), @"
    exit 1
    --- stderr
    error: unexpected argument '--detailed-exit-code' found

      tip: a similar argument exists: '--detailed-exitcode'

    Usage: drover plan --detailed-exitcode

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(drover_in(Path::new("/"), &["apply", "--lock-timeout", "5"]).text(), @"
    exit 1
    --- stderr
    error: invalid value '5' for '--lock-timeout <DURATION>': write a whole number and s, m or h, for example 30s

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(drover_in(Path::new("/"), &["plan", "--target", "server/web"]).text(), @r#"
    exit 1
    --- stderr
    error: invalid value 'server/web' for '--target <ADDR>': "server/web" is not an address; write for example server.web[0] or server.db["primary"]

    For more information, try '--help'.
    "#);
}
