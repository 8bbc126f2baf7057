//! `t_set.c`: sets.

use crate::ds::dict::{Dict, SdsEntry};
use crate::ds::intset::Intset;

/// A set: an intset while it is small and all numbers, then a table.
pub enum Set {
    Intset(Intset),
    Ht(Dict<SdsEntry>),
}

impl Set {
    pub fn free_effort(&self) -> usize {
        unimplemented!()
    }
    pub fn mem_usage(&self, _sample_size: usize) -> usize {
        unimplemented!()
    }
    pub fn dup(&self) -> Set {
        unimplemented!()
    }
}
