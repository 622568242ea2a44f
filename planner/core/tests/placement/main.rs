//! Placement: what Nova decides, what batches find beyond that, and what bad input meets.

mod bad_scenarios;
mod batch;
mod claims;
mod devices;
mod equality;
mod fill;
mod filters;
mod nova_vectors;
mod random_fleet;
mod scenario_shapes;
mod text;
mod versions;
mod zones;
