//! The lab: real libvirt hosts, etcd and agents as namespaces of one machine, for end-to-end tests
//! and for exploring by hand (`drover-lab`). What the tests assert lives in `tests/`.

#![forbid(unsafe_code)]

pub mod lab;
