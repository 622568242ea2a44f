//! The command's log on stderr: `timestamp level module [request id] message location`.

use crate::apply::applied;
use crate::run::finish;

#[test]
fn log_lines_say_when_how_grave_where_and_for_which_request() {
    let fleet = applied();
    let mut command = fleet.command(&["server", "reboot", "--hard", "server.web[0]"]);
    command.env("DROVER_LOG", "drover=debug");
    let ran = finish(command).exits(0);
    let line = ran
        .stderr
        .lines()
        .find(|line| line.contains("] reboot begins "))
        .unwrap_or_else(|| panic!("no line of the reboot: {}", ran.text()));
    let (head, rest) = line.split_once(" [").expect(line);
    let (request, rest) = rest.split_once("] ").expect(line);
    let [time, level, module]: [&str; 3] = head.split(' ').collect::<Vec<_>>().try_into().expect(line);
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{line}");
    assert_eq!((level, module), ("INFO", "drover::cli::server::reboot"));
    assert!(request.starts_with("req-") && request.len() == 40, "{line}");
    let (file, number) = rest
        .rsplit(' ')
        .next()
        .and_then(|place| place.rsplit_once(':'))
        .expect(line);
    assert_eq!(file, "planner/src/cli/server/reboot.rs");
    assert!(number.parse::<u32>().is_ok(), "{line}");
    // Every line is of the one request.
    let ids = ran.stderr.matches("[req-").count();
    assert_eq!(ran.stderr.matches(&format!("[{request}]")).count(), ids);
}
