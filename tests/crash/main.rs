//! Crash safety, end to end: the programs are killed, or their system calls fail, at every point of a night; a night on a
//! full disk, `kill -9` at random times, and the order in which a night makes its files durable.
//!
//! What a fault may cost is in the format book (`schemas/README.md`, "The store"): never the published snapshot, never an
//! embedding that was finished, and nothing that stays lying about after the next run.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests fail by panicking and say what they skip")]

#[path = "../harness/mod.rs"]
#[expect(dead_code, reason = "shared with the other end-to-end tests")]
mod harness;

mod durability;
mod full_disk;
mod kill;
mod layer;
mod night;
mod order;
mod upkeep;
mod walk;
