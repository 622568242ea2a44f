//! Every method of the contract as an enum, generated from the `.proto` files: a `match` over it that
//! forgets a new method does not compile.

include!(concat!(env!("OUT_DIR"), "/methods.rs"));

impl Method {
    /// The method that a request's path names.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.path() == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_their_methods() {
        assert_eq!(
            Method::HostGetInventory.path(),
            "/drover.agent.v1.HostService/GetInventory"
        );
        for method in Method::ALL {
            assert_eq!(Method::from_path(method.path()), Some(*method));
        }
        assert_eq!(Method::from_path("/drover.agent.v1.HostService/Nope"), None);
    }
}
