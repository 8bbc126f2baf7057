//! Ours: the keyspace, of which the C has the memory in `dict.c`, `object.c` and `sds.c`.
//!
//! value.rs: what a value is ([`Object`], [`Aggregate`]); block.rs: the one allocation that holds a
//! key with its value ([`KeyEntry`], [`Entry`]); table.rs: the keys of one database ([`Keyspace`],
//! [`KeyRef`]). Read them in this order. What commands do with values is in object.rs and in the
//! files of the types; looking up a key, with all that belongs to it, is in db.rs.
//!
//! Differs: where the C has a dictEntry, a key, a robj and a value, each allocated, and a second
//! dictEntry for the time of expiration, there is one block per key; `expires` is a table over the
//! same blocks. There are no reference counts: a value has one owner, and what a command remembers
//! of a key is a checked [`KeyRef`]. A lookup writes nothing at all, so that reading under a forked
//! child copies no page; the access clock is set by [`Keyspace::set_lru`] alone.
//!
//! # An entry in memory
//!
//! ```text
//!           0           1       2     4    7      8
//!           +-----------+-------+-----+----+------+
//!   header  | type and  | flags | key | lru| vlen |
//!           | encoding  |       | len |    |      |
//!           +-----------+-------+-----+----+------+
//!
//!   Inline: a string of up to 64 bytes
//!           [header][expire?][key len?][key][string of vlen bytes]
//!
//!   Int: a string that is a number
//!           [header][expire?][i64][key len?][key]
//!
//!   Outside: a longer string, or one that grows in place
//!           [header][expire?][Vec<u8>][key len?][key]
//!                              `--> the string's bytes
//!
//!   Packed: a ziplist, intset or strset of up to 256 bytes
//!           [header][expire?][key][bytes that tell their own length]
//!                  without a time of expiration the key begins in the header's last byte
//!
//!   Pointer: any other aggregate
//!           [header][expire?][pointer][key len?][key][room, if the value was packed here before]
//!                              `--> table, skiplist, stream, or a larger ziplist or intset
//!
//!   List: a quicklist
//!           [header][expire?][Quicklist][key len?][key]
//!                              `--> a ziplist, or linked nodes
//!
//!   expire?   8 bytes: milliseconds since 1970, if the key has a time of expiration
//!   key len?  8 bytes, if the key is longer than the header's two bytes can say
//! ```
//!
//! What stands before the key is aligned to eight bytes, and a block's size is a size class of the
//! allocator, which can be told from its contents. A change that leaves the class is made in place;
//! any other moves the entry to a new block, and both tables are corrected. A packed value that a
//! command changes leaves the block for a place of its own and goes back when the command is done:
//! see [`Keyspace::repack_small`].
//!
//! # Where the C has it
//!
//! | the C | here |
//! |---|---|
//! | `robj.type` | low four bits of the header's first byte: [`Entry::type_of`] |
//! | `robj.encoding` | high four bits of it: [`Entry::encoding`] |
//! | `robj.lru` | three bytes of the header: [`Entry::lru`] |
//! | `robj.refcount` | nowhere; what OBJECT REFCOUNT answers is worked out in object.rs |
//! | `robj.ptr` | one of the six forms above: [`Entry::value`] |
//! | `dictEntry.key`, an sds | the key in the block: [`Entry::key`] |
//! | `dictEntry.v.val` | the block itself, whose address is in the table |
//! | `dictEntry.next` | nowhere; a full bucket of the table chains another bucket |
//! | `dictEntry.v.s64` of `db->expires` | in the block: [`Entry::expire`] |
//! | the numbers below 10000 that all keys share | nowhere: a number takes up no more room than a pointer to it |
//! | a `robj` outside of the keyspace | [`Object`], or a [`Value`] that is on its way in |
//!
//! # Adding an encoding
//!
//! The compiler leads from the first of these places to most of the others:
//!
//! 1. its number, `OBJ_ENCODING_*`, in value.rs, and its name in `strEncoding`; or, if it stands for
//!    another one, that in `shown_encoding`;
//! 2. a variant in the two enums of its type, as `Set` and `SetRef`, with all that the file of the
//!    type does with them: copy, memory, effort of freeing, iteration, conversion;
//! 3. its line in `for_all_aggregates` in value.rs. The matches over pointers and packed bytes are
//!    generated from that list, and are not exhaustive without it. The type that a packed one is kept
//!    in is [`Packed`](crate::sys::bytes::Packed), as [`Intset`](crate::ds::intset::Intset) is;
//! 4. rdb.rs: `rdbSaveObjectType`, `rdbSaveObject`, `rdbLoadObject`;
//! 5. lookahead.rs, if a search in it waits for memory.
//!
//! A new type is furthermore a variant of [`Aggregate`] and [`AggregateRef`], a line of
//! `aggregate_types` in block.rs, and its accessors at the end of table.rs.

mod block;
mod table;
mod value;

pub use block::{AggregateType, Entry, KeyEntry};
pub use table::{AggregateGuard, KeyGuess, KeyRef, Keyspace, KeyspaceIter};
pub use value::*;

#[cfg(test)]
mod tests;
