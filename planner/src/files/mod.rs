//! The configuration's files: which there are, and what functions such as `file()` may read of them.

mod configuration;
mod reader;
mod written;

pub use configuration::{
    ConfigurationFiles, FilesError, ReadFile, read_configuration, read_file, read_tests,
};
pub use reader::FolderReader;
pub use written::{write_once, write_over, write_private, write_public};
