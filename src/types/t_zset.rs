//! `t_zset.c`: sorted sets.

use crate::ds::dict::RawDict;
use crate::ds::siphash::HashSeed;
use crate::ds::skiplist::Zskiplist;
use crate::ds::ziplist::Ziplist;

/// A sorted set: a ziplist of members and scores while it is small, then a skip list with a table.
pub enum Zset {
    Ziplist(Ziplist),
    Skiplist(Box<zset>),
}

/// `zset`: the members in order, and a table that finds a member's node by its name. The table holds node indices; the names
/// are in the skip list.
pub struct zset {
    pub zsl: Zskiplist,
    pub dict: RawDict,
    pub seed: HashSeed,
}

impl Zset {
    pub fn free_effort(&self) -> usize {
        unimplemented!()
    }
    pub fn mem_usage(&self, _sample_size: usize) -> usize {
        unimplemented!()
    }
    pub fn dup(&self) -> Zset {
        unimplemented!()
    }
}
