//! Drover's own element in a domain's metadata: whose the domain is. A lost create is found again by it,
//! and a lost store can be rebuilt from it.

use super::read::{ReadError, parse, text_of};
use drover_types::{Address, Epoch, FleetName, Generation, ProjectName, ServerId};
use roxmltree::Node;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The namespace of our metadata; the number rises when an older agent could misread it.
pub const NAMESPACE: &str = "urn:drover:domain:1";

/// Whose a domain is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainMetadata {
    /// The fleet.
    pub fleet: FleetName,
    /// The project.
    pub project: ProjectName,
    /// The server.
    pub id: ServerId,
    /// Where it is declared.
    pub address: Address,
    /// The epoch under which it was started here.
    pub epoch: Epoch,
    /// The desired state that it was made from.
    pub generation: Generation,
}

/// Why a domain's metadata cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The XML cannot be read at all.
    #[error("the domain's XML cannot be read")]
    Xml(#[source] ReadError),
    /// An element is missing.
    #[error("the domain's metadata lacks <{0}>; somebody edited it")]
    Missing(&'static str),
    /// An element's content does not read.
    #[error("the domain's metadata has {text:?} as <{element}>; somebody edited it")]
    Content {
        /// The element.
        element: &'static str,
        /// Its content.
        text: String,
    },
}

/// Whose the domain with this XML is; `None` for one without our element.
///
/// # Errors
/// When our element is there and does not read: the domain is ours and was tampered with.
pub fn read_metadata(xml: &str) -> Result<Option<DomainMetadata>, MetadataError> {
    let document = parse(xml).map_err(MetadataError::Xml)?;
    let Some(ours) = find(document.root_element()) else {
        return Ok(None);
    };
    Ok(Some(DomainMetadata {
        fleet: read(ours, "fleet")?,
        project: read(ours, "project")?,
        id: read(ours, "id")?,
        address: read(ours, "address")?,
        epoch: Epoch::new(read(ours, "epoch")?),
        generation: Generation::new(read(ours, "generation")?),
    }))
}

/// Our element below `<domain>`.
pub(super) fn find<'a, 'input>(domain: Node<'a, 'input>) -> Option<Node<'a, 'input>> {
    let metadata = domain
        .children()
        .find(|node| node.tag_name().name() == "metadata")?;
    metadata
        .children()
        .find(|node| node.has_tag_name((NAMESPACE, "server")))
}

/// The content of one of our elements.
pub(super) fn content(ours: Node<'_, '_>, element: &str) -> Option<String> {
    ours.children()
        .find(|node| node.has_tag_name((NAMESPACE, element)))
        .map(text_of)
}

fn read<T: FromStr>(ours: Node<'_, '_>, element: &'static str) -> Result<T, MetadataError> {
    let text = content(ours, element).ok_or(MetadataError::Missing(element))?;
    text.parse().map_err(|_| MetadataError::Content {
        element,
        text: text.chars().take(80).collect(),
    })
}

/// The text with the two characters that XML cannot carry written as an address' key escapes them, so that
/// the address that is read back is the same.
pub(super) fn xml_text(text: &str) -> String {
    text.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}
