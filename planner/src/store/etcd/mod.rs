//! The etcd store: reads at one revision in pages, transactions, and the lease behind the fleet's lock.

mod lease;
mod members;

use super::commit::{FailedCompare, MAX_OPERATIONS, Outcome, Row, holds};
use super::error::{EndpointCause, StoreError};
use super::{StoreWarning, range_end};
use drover_core::record::{Compare, Guard, Key, Transaction, Write};
use etcd_client::{
    Compare as EtcdCompare, CompareOp, Error, GetOptions, KeyValue, PutOptions, ResponseHeader, Txn, TxnOp,
    TxnOpResponse,
};
use members::{Members, Repeat};
use std::sync::Arc;
use tonic::Code;

pub(super) use lease::LeaseHold;
pub(super) use members::TlsFiles;

/// Records in one answer.
const PAGE: usize = 256;
/// A page of records that are each as large as a request may be.
const MAX_MESSAGE: usize = PAGE * 2 * 1024 * 1024;
/// How often a read is begun again because its revision was compacted.
const READ_ATTEMPTS: u32 = 5;

/// A connected etcd cluster. Clones share its connections.
#[derive(Debug, Clone)]
pub(super) struct EtcdStore {
    members: Arc<Members>,
}

impl EtcdStore {
    /// Connects to every endpoint; one that answers is enough, the others become warnings.
    pub(super) async fn connect(
        endpoints: &[String],
        files: &TlsFiles,
    ) -> Result<(Self, Vec<StoreWarning>), StoreError> {
        let (members, warnings) = Members::connect(endpoints, files).await?;
        let members = Arc::new(members);
        Ok((Self { members }, warnings))
    }

    /// Everything whose key begins with `root`, at one revision.
    pub(super) async fn read_below(&self, root: &str) -> Result<(u64, Vec<Row>), StoreError> {
        for _ in 0..READ_ATTEMPTS {
            match self.read_pages(root).await {
                Err(error) if is_compacted(&error) => {}
                result => return result,
            }
        }
        Err(StoreError::Compacted {
            attempts: READ_ATTEMPTS,
        })
    }

    async fn read_pages(&self, root: &str) -> Result<(u64, Vec<Row>), StoreError> {
        let end = range_end(root);
        let mut from = root.as_bytes().to_vec();
        let mut revision = 0;
        let mut rows = Vec::new();
        loop {
            let mut page = self
                .members
                .call("read all records", Repeat::Harmless, |client| {
                    let mut kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
                    let options = GetOptions::new()
                        .with_range(end.as_str())
                        .with_limit(PAGE as i64)
                        .with_revision(revision);
                    let from = from.clone();
                    async move { kv.get(from, Some(options)).await }
                })
                .await?;
            if revision == 0 {
                revision = header_revision(page.header());
            }
            let more = page.more();
            for kv in page.take_kvs() {
                rows.push(row_of(kv)?);
            }
            match rows.last() {
                Some(last) if more => {
                    from = last.key.as_str().as_bytes().to_vec();
                    from.push(0);
                }
                Some(_) | None => return Ok((revision.cast_unsigned(), rows)),
            }
        }
    }

    /// These records, as far as they exist, at one revision.
    pub(super) async fn get(&self, keys: &[Key]) -> Result<(u64, Vec<Row>), StoreError> {
        for _ in 0..READ_ATTEMPTS {
            match self.get_chunks(keys).await {
                Err(error) if is_compacted(&error) => {}
                result => return result,
            }
        }
        Err(StoreError::Compacted {
            attempts: READ_ATTEMPTS,
        })
    }

    async fn get_chunks(&self, keys: &[Key]) -> Result<(u64, Vec<Row>), StoreError> {
        let mut revision = 0;
        let mut rows = Vec::new();
        for chunk in keys.chunks(MAX_OPERATIONS) {
            let reads: Vec<TxnOp> = chunk
                .iter()
                .map(|key| TxnOp::get(key.as_str(), Some(GetOptions::new().with_revision(revision))))
                .collect();
            let response = self
                .members
                .call("read records", Repeat::Harmless, |client| {
                    let mut kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
                    let txn = Txn::new().and_then(reads.as_slice());
                    async move { kv.txn(txn).await }
                })
                .await?;
            if revision == 0 {
                revision = header_revision(response.header());
            }
            for kv in found_in(response.op_responses()) {
                rows.push(row_of(kv)?);
            }
        }
        Ok((revision.cast_unsigned(), rows))
    }

    /// Carries the transaction out, or not at all. `leased` is the one key whose record ends with a lease.
    pub(super) async fn commit(
        &self,
        transaction: &Transaction,
        leased: Option<(&Key, &LeaseHold)>,
    ) -> Result<Outcome, StoreError> {
        let txn = Txn::new()
            .when(transaction.compares.iter().map(compare_of).collect::<Vec<_>>())
            .and_then(
                transaction
                    .writes
                    .iter()
                    .map(|write| write_of(write, leased))
                    .collect::<Vec<_>>(),
            )
            .or_else(
                transaction
                    .compares
                    .iter()
                    .map(|compare| TxnOp::get(compare.key.as_str(), None))
                    .collect::<Vec<_>>(),
            );
        let response = self
            .members
            .call("write", Repeat::Never, |client| {
                let mut kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
                let txn = txn.clone();
                async move { kv.txn(txn).await }
            })
            .await?;
        if response.succeeded() {
            let revision = header_revision(response.header()).cast_unsigned();
            return Ok(Outcome::Committed { revision });
        }
        let found = found_in(response.op_responses())
            .into_iter()
            .map(row_of)
            .collect::<Result<Vec<_>, _>>()?;
        let failed = transaction
            .compares
            .iter()
            .filter_map(|compare| {
                let found = found.iter().find(|row| row.key == compare.key);
                (!holds(&compare.guard, found)).then(|| FailedCompare {
                    compare: compare.clone(),
                    found: found.cloned(),
                })
            })
            .collect();
        Ok(Outcome::Conflict { failed })
    }
}

fn compare_of(compare: &Compare) -> EtcdCompare {
    let key = compare.key.as_str();
    match compare.guard {
        Guard::Absent => EtcdCompare::create_revision(key, CompareOp::Equal, 0),
        Guard::ModRevision(revision) => {
            EtcdCompare::mod_revision(key, CompareOp::Equal, revision.cast_signed())
        }
        Guard::CreateRevision(revision) => {
            EtcdCompare::create_revision(key, CompareOp::Equal, revision.cast_signed())
        }
    }
}

fn write_of(write: &Write, leased: Option<(&Key, &LeaseHold)>) -> TxnOp {
    match write {
        Write::Put { key, value } => {
            let options = leased
                .filter(|(leased, _)| *leased == key)
                .map(|(_, lease)| PutOptions::new().with_lease(lease.id()));
            TxnOp::put(key.as_str(), value.as_slice(), options)
        }
        Write::Delete { key } => TxnOp::delete(key.as_str(), None),
    }
}

fn found_in(responses: Vec<TxnOpResponse>) -> Vec<KeyValue> {
    responses
        .into_iter()
        .flat_map(|response| match response {
            TxnOpResponse::Get(mut get) => get.take_kvs(),
            TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => Vec::new(),
        })
        .collect()
}

fn row_of(kv: KeyValue) -> Result<Row, StoreError> {
    let create_revision = kv.create_revision().cast_unsigned();
    let mod_revision = kv.mod_revision().cast_unsigned();
    let (key, value) = kv.into_key_value();
    let foreign = || StoreError::ForeignKey {
        key: String::from_utf8_lossy(&key).into_owned(),
    };
    let key = std::str::from_utf8(&key)
        .map_err(|_| foreign())?
        .parse()
        .map_err(|_| foreign())?;
    Ok(Row {
        key,
        value,
        create_revision,
        mod_revision,
    })
}

/// Every answer of etcd has a header.
fn header_revision(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, ResponseHeader::revision)
}

fn is_compacted(error: &StoreError) -> bool {
    let StoreError::Refused { source, .. } = error else {
        return false;
    };
    match &source.cause {
        EndpointCause::Etcd(error) => matches!(
            error.as_ref(),
            Error::GRpcStatus(status)
                if status.code() == Code::OutOfRange && status.message().contains("has been compacted")
        ),
        EndpointCause::NoAnswer(_) | EndpointCause::HungUp(_) => false,
    }
}
