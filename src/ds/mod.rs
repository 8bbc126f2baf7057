//! Data structures that know nothing of the server.

pub mod adlist;
mod bytes;
pub mod dict;
pub mod glob;
pub mod intset;
pub mod listpack;
pub mod longdouble;
pub mod lzf;
pub mod quicklist;
pub mod rax;
pub mod redisassert;
pub mod siphash;
pub mod skiplist;
pub mod slab;
pub mod strset;
pub mod ziplist;
pub mod zipmap;
