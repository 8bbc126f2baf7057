//! `t_stream.c`: streams.

use crate::ds::listpack::Listpack;
use crate::ds::rax::Rax;
use crate::server_h::streamID;

/// `stream`: entries in listpacks, which are in a radix tree by the id of their first entry.
pub struct Stream {
    pub rax: Rax<Listpack>,
    pub length: u64,
    pub last_id: streamID,
}

impl Stream {
    pub fn free_effort(&self) -> usize {
        unimplemented!()
    }
    pub fn mem_usage(&self, _sample_size: usize) -> usize {
        unimplemented!()
    }
    pub fn dup(&self) -> Stream {
        unimplemented!()
    }
}
