//! fidelis: a faithful, single-threaded port of redis-server 6.2.

pub mod ds;
pub mod sys;
