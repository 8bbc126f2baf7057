//! fidelis: a faithful, single-threaded port of redis-server 6.2 to Rust.

pub mod ae;
pub mod anet;
pub mod crc64;
pub mod ds;
pub mod log;
pub mod rand;
pub mod sds;
pub mod sys;
pub mod util;
