use super::{AppendError, LogFile, OpenError, OperationLog};
use drover_agent_core::oplog::{Record, State};
use drover_types::{FencingToken, HostName, IncarnationId, OperationId};
use std::path::Path;
use uuid::Uuid;

fn host() -> HostName {
    "n1".parse().expect("a name")
}

fn life(number: u128) -> IncarnationId {
    IncarnationId::from_uuid(Uuid::from_u128(number))
}

fn open(path: &Path) -> Result<LogFile, OpenError> {
    LogFile::open(path, &host(), life(1), false)
}

fn token(number: u64) -> Record {
    Record::TokenSeen {
        token: FencingToken::new(number),
    }
}

fn withdrawn(number: u128) -> Record {
    Record::Withdrawn {
        operation: OperationId::from_uuid(Uuid::from_u128(number)),
        token: FencingToken::new(1),
    }
}

#[test]
fn a_log_cut_at_any_byte_of_its_last_append_opens_without_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("operations.log");
    let before: State = {
        let mut log = open(&path).expect("a new log");
        log.append(&[token(1), withdrawn(7)]).expect("appended");
        log.state().clone()
    };
    let kept = std::fs::metadata(&path).expect("a file").len();
    {
        let mut log = open(&path).expect("opens again");
        assert_eq!(log.state(), &before);
        log.append(&[token(2)]).expect("appended");
    }
    let whole = std::fs::read(&path).expect("readable");
    for cut in usize::try_from(kept).expect("small")..whole.len() {
        std::fs::write(&path, &whole[..cut]).expect("written");
        let mut log = open(&path).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(log.state(), &before, "cut at {cut}");
        log.append(&[token(3)]).expect("takes records after the cut");
        drop(log);
        let log = open(&path).expect("opens after the append");
        assert_eq!(log.state().highest_token(), FencingToken::new(3));
    }
}

#[test]
fn a_damaged_log_does_not_open_and_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("operations.log");
    open(&path)
        .expect("a new log")
        .append(&[token(1), token(2)])
        .expect("appended");
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[30] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    let error = open(&path).expect_err("damaged");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert_eq!(std::fs::read(&path).expect("readable"), bytes);
}

#[test]
fn a_second_agent_is_locked_out_until_the_first_ends() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("operations.log");
    let first = open(&path).expect("a new log");
    assert!(matches!(open(&path), Err(OpenError::Locked(_))));
    drop(first);
    open(&path).expect("free again");
}

#[test]
fn a_log_of_another_host_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("operations.log");
    drop(open(&path).expect("a new log"));
    let other = "n2".parse().expect("a name");
    let error = LogFile::open(&path, &other, life(2), false).expect_err("another host");
    assert!(matches!(error, OpenError::Begin { .. }), "{error:?}");
}

#[test]
fn a_lost_log_beside_servers_voids_its_epochs() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("operations.log");
    let log = LogFile::open(&path, &host(), life(3), true).expect("a new log");
    assert!(log.state().is_void());
    assert_eq!(log.state().incarnation(), Some(life(3)));
}

#[test]
fn a_record_that_does_not_follow_changes_neither_file_nor_state() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("operations.log");
    let mut log = open(&path).expect("a new log");
    log.append(&[token(5)]).expect("appended");
    let (bytes, state) = (std::fs::read(&path).expect("readable"), log.state().clone());
    let error = log
        .append(&[withdrawn(9), token(4)])
        .expect_err("the token falls");
    assert!(matches!(error, AppendError::Refused(_)), "{error:?}");
    assert_eq!(log.state(), &state);
    assert_eq!(std::fs::read(&path).expect("readable"), bytes);
}

#[test]
fn compaction_keeps_the_meaning_and_shortens_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("operations.log");
    let mut log = open(&path).expect("a new log");
    let mut longest = 0;
    let mut compacted = false;
    for number in 1..30_000_u64 {
        log.append(&(0..50).map(|step| token(number * 50 + step)).collect::<Vec<_>>())
            .expect("appended");
        let len = std::fs::metadata(&path).expect("a file").len();
        compacted = len < longest;
        longest = len.max(longest);
        if compacted {
            break;
        }
    }
    assert!(compacted, "the log grew to {longest} bytes");
    let state = log.state().clone();
    drop(log);
    assert_eq!(open(&path).expect("opens").state(), &state);
}

#[tokio::test]
async fn transactions_decide_on_what_the_ones_before_them_wrote() {
    let dir = tempfile::tempdir().expect("a directory");
    let log =
        OperationLog::start(open(&dir.path().join("operations.log")).expect("a new log")).expect("a thread");
    let next = |state: &State| {
        let token = state.highest_token().next();
        (vec![Record::TokenSeen { token }], token)
    };
    let all = futures::future::join_all((0..20).map(|_| log.transact(next))).await;
    let mut tokens: Vec<u64> = all
        .into_iter()
        .map(|token| token.expect("appended").get())
        .collect();
    tokens.sort_unstable();
    assert_eq!(tokens, (1..=20).collect::<Vec<_>>());
    let seen = log.read(State::highest_token).await.expect("read");
    assert_eq!(seen, FencingToken::new(20));
}
