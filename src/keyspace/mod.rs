//! `object.c`, the part that is the keyspace: values, the one allocation that holds a key with its value, and the two
//! tables over these.
//!
//! Read first: [`Object`], a value by itself; [`Keyspace`], the keys of one database; then [`KeyEntry`] for the layout.
//! Not here yet: the commands OBJECT and MEMORY, and the encodings that `tryObjectEncoding` chooses.
//!
//! Differs: where the C has a dictEntry, a key, a robj and a value, each allocated, and a second dictEntry for the time of
//! expiry, there is one block per key; `expires` is a table over the same blocks. There are no reference counts: a value
//! has one owner, and what a command remembers of a key is a checked [`KeyRef`]. A lookup writes nothing at all, so that
//! reading under a forked child copies no page; the access clock is set by [`Keyspace::set_lru`] alone.

mod block;
mod table;
mod value;

pub use block::{AggregateType, Entry, KeyEntry};
pub use table::{Changing, KeyRef, Keyspace, KeyspaceIter};
pub use value::*;

#[cfg(test)]
mod tests;
