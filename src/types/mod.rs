//! One file per value type and its commands.

pub mod bitops;
pub mod geo;
pub mod geohash;
pub mod hyperloglog;
pub mod t_hash;
pub mod t_list;
pub mod t_set;
pub mod t_stream;
pub mod t_string;
pub mod t_zset;
