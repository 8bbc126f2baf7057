//! `lazyfree.c`: values that take long to free are freed by a thread of `bio.rs`.
//!
//! Differs: the counters live with the thread, in `Bio`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ds::rax::{Rax, raxSize};
use crate::keyspace::{Keyspace, Object};
use crate::scripting::ScriptSha;
use crate::server_h::*;
use crate::tracking::TrackedBy;

/// Freeing fewer allocations than this is quicker done than handed over.
pub const LAZYFREE_THRESHOLD: usize = 64;

/// Returns the number of objects handed over and not freed yet.
pub fn lazyfreeGetPendingObjectsCount(server: &Server) -> usize {
    server.bio.lazyfree_objects()
}

/// Returns the number of objects that the thread has freed.
pub fn lazyfreeGetFreedObjectsCount(server: &Server) -> usize {
    server.bio.lazyfreed_objects()
}

/// Estimates how much work it is to free a value: about the number of its allocations. A string is
/// one, and so is an aggregate in a single block of memory, however many elements it has.
pub fn lazyfreeGetFreeEffort(obj: &Object) -> usize {
    match obj {
        Object::Int(_) | Object::Str(_) | Object::Raw(_) => 1,
        Object::Aggregate(aggregate) => aggregate.as_ref().free_effort(),
    }
}

/// Deletes a key; a value that takes long to free goes to the thread. False if there was no such
/// key.
pub fn dbAsyncDelete(server: &mut Server, db: usize, key: &[u8]) -> bool {
    let Some(o) = server.db[db].dict.find(key) else { return false };
    let val = server.db[db].dict.remove(o).into_object();
    freeObjAsync(server, val);
    true
}

/// Frees a value, in the thread if that takes long.
pub fn freeObjAsync(server: &Server, obj: Object) {
    if lazyfreeGetFreeEffort(&obj) > LAZYFREE_THRESHOLD {
        server.bio.bioCreateLazyFreeJob(Box::new(obj), 1);
    }
}

/// Empties a db: it gets new tables at once, and the old ones go to the thread.
pub fn emptyDbAsync(server: &mut Server, db: usize) {
    let old: Keyspace = server.db[db].dict.take();
    let objects = old.len();
    server.bio.bioCreateLazyFreeJob(Box::new(old), objects);
}

/// Frees the table of tracked keys in the thread.
pub fn freeTrackingRadixTreeAsync(server: &Server, tracking: Rax<TrackedBy>) {
    let keys = raxSize(&tracking) as usize;
    server.bio.bioCreateLazyFreeJob(Box::new(tracking), keys);
}

/// Frees the texts of scripts, in the thread if there are many.
pub fn freeLuaScriptsAsync(server: &Server, lua_scripts: BTreeMap<ScriptSha, Arc<[u8]>>) {
    let scripts = lua_scripts.len();
    if scripts > LAZYFREE_THRESHOLD {
        server.bio.bioCreateLazyFreeJob(Box::new(lua_scripts), scripts);
    }
}
