//! `t_hash.c`: hashes.

use crate::ds::dict::{Dict, PairEntry};
use crate::ds::ziplist::Ziplist;

/// A hash: a ziplist of fields and values while it is small, then a table.
pub enum Hash {
    Ziplist(Ziplist),
    Ht(Dict<PairEntry>),
}

impl Hash {
    pub fn free_effort(&self) -> usize {
        unimplemented!()
    }
    pub fn mem_usage(&self, _sample_size: usize) -> usize {
        unimplemented!()
    }
    pub fn dup(&self) -> Hash {
        unimplemented!()
    }
}
