//! The agent's parts against real files, servers and connections, and the whole of it with a hypervisor in memory.

mod agent_example;
mod authority;
mod image_cache;
mod metrics;
mod mutual_tls;
mod restart;
mod source;
