//! The store's layout and the changes made to it, as data: which keys there are, how records are written,
//! and transactions that a store carries out.

mod document;
pub mod edit;
mod key;
mod read;
mod records;
mod transaction;
mod write;

pub use document::{DOCUMENT_FORMAT, DocumentError, StateDocument};
pub use key::{Key, KeyError, Layout, Object};
pub use read::RecordError;
pub use records::Records;
pub use transaction::{Compare, Entry, Guard, Transaction, Write};

/// The record format that this version writes. Older ones are migrated forward when they are read.
pub const FORMAT: u32 = 1;
