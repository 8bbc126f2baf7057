//! Random commands for a genuine server and ours: what the differential test sends to both, and
//! interop.rs to a master.
//!
//! The stream depends on a seed alone: `values::Gen` makes commands from the forms in commands.rs,
//! by grammar.rs. What a peer's version does otherwise than 6.2 is listed in known.rs; dump.rs says
//! when two DUMP payloads are the same.
#![allow(dead_code)] // each test binary uses its own part of this

pub mod commands;
pub mod dump;
pub mod grammar;
pub mod known;
pub mod rng;
pub mod values;
pub mod wire;
