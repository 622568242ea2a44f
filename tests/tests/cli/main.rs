//! The real `drover` binary, run as a user runs it, against real agents whose hypervisor is in memory: what
//! it prints, with which exit status, for every command, option and mistake. No root, no libvirt. What needs
//! a guest, a network or etcd is the lab's.
//!
//! The binary is the one beside the test programs: `make build` (or `cargo build --workspace --bins`) first.

mod adoptions;
mod apply;
mod apply_refused;
mod capacity;
mod console;
mod credentials;
mod data;
mod drift;
mod every_option;
mod examples;
mod fake_hosts;
mod fmt;
mod generated;
mod help;
mod imports;
mod inventory;
mod lifecycle;
mod logs;
mod metrics;
mod modules;
mod moves;
mod numa;
mod options;
mod order_of_moves;
mod pci;
mod pipelines;
mod plan;
mod plan_files;
mod plan_shown;
mod progress;
mod rebalance;
mod reboot;
mod run;
mod scheduler;
mod schemas;
mod secrets;
mod servers;
mod situations;
mod small_commands;
mod state;
mod store;
mod terminal;
mod tests_of_configurations;
mod thousand_hosts;
mod unanswered;
mod validate;
mod walkthrough;
