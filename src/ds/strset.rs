//! Ours: a set of a few short strings in one block of bytes, which the keyspace can keep beside the
//! key.
//!
//! ```text
//! bytes u32 | count u8 | length u8, string | length u8, string | ...
//! ```
//!
//! It stands in for a hash table of a few members, and is shown as one: OBJECT ENCODING and RDB
//! files know no difference. A table of ten words takes twelve allocations and 400 bytes; this takes
//! none of its own, and a search through it is done before a table's bucket has come from memory.
//! What does not fit ([`strset_fits`]) is for a table; so no search is long.
#![forbid(unsafe_code)]

use crate::sys::bytes::{Packed, SelfSized, packed};
use crate::sys::defrag::Defrag;
use crate::util::short_eq;

/// Members at most.
pub const STRSET_MAX_MEMBERS: usize = 32;
/// Bytes of a member at most.
const MAX_MEMBER: usize = 64;
/// Bytes at most, all told.
const MAX_BYTES: usize = 256;

/// Where the count is, and the first member's length.
const COUNT: usize = 4;
const FIRST: usize = COUNT + 1;

/// A set that owns its bytes. Reading functions take the bytes, so they read borrowed ones as well.
pub struct StrSet(SelfSized);

impl StrSet {
    /// Returns an empty set.
    pub fn new() -> StrSet {
        StrSet([0; FIRST][..].into())
    }

    /// Returns a copy of the set that has these bytes.
    pub fn of(set: &[u8]) -> StrSet {
        StrSet(set.into())
    }
}

packed!(StrSet(SelfSized));

impl Default for StrSet {
    fn default() -> Self {
        StrSet::new()
    }
}

impl std::ops::Deref for StrSet {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A walk over the members of a set, which it borrows.
#[derive(Clone)]
pub struct StrSetIter<'a>(&'a [u8]);

impl<'a> Iterator for StrSetIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first()?;
        let (member, rest) = rest.split_at_checked(usize::from(*len))?;
        self.0 = rest;
        Some(member)
    }
}

/// Returns the members.
#[inline]
pub fn strset_iter(set: &[u8]) -> StrSetIter<'_> {
    StrSetIter(&set[FIRST..])
}

/// Returns the number of members.
#[inline]
pub fn strset_len(set: &[u8]) -> usize {
    usize::from(set[COUNT])
}

/// Returns where a member is.
fn place(set: &[u8], member: &[u8]) -> Option<usize> {
    let mut at = FIRST;
    for ele in strset_iter(set) {
        if short_eq(ele, member) {
            return Some(at);
        }
        at += 1 + ele.len();
    }
    None
}

/// Tells whether there is such a member.
#[inline]
pub fn strset_find(set: &[u8], member: &[u8]) -> bool {
    place(set, member).is_some()
}

/// Tells whether another member is not too much for the set.
#[inline]
pub fn strset_fits(set: &[u8], member: &[u8]) -> bool {
    strset_len(set) < STRSET_MAX_MEMBERS
        && member.len() <= MAX_MEMBER
        && set.len() + 1 + member.len() <= MAX_BYTES
}

/// Adds a member that is not there, and fits.
///
/// # Panics
/// When it is longer than a byte can say.
pub fn strset_add(set: &mut StrSet, member: &[u8]) {
    let len = u8::try_from(member.len()).expect("a member of a small set is short");
    let (head, new) = set.0.open(set.0.len(), 1 + member.len());
    new[0] = len;
    new[1..].copy_from_slice(member);
    head[0] += 1;
}

/// Removes a member; false if it is not there.
pub fn strset_remove(set: &mut StrSet, member: &[u8]) -> bool {
    let Some(at) = place(set, member) else { return false };
    set.0.close(at, 1 + member.len());
    set.0.tail_mut(COUNT)[0] -= 1;
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    /// Members come and go as in a vector, in order, up to the limits.
    #[test]
    fn sets_are_the_model() {
        let mut r = Rng::new();
        for _ in 0..200 {
            let (mut set, mut model) = (StrSet::new(), Vec::<Vec<u8>>::new());
            let longest = [3, 20, MAX_MEMBER + 2][r.below(3)];
            for _ in 0..200 {
                let member = vec![b'a' + r.below(4) as u8; r.below(longest + 1)];
                let there = model.iter().position(|m| *m == member);
                assert_eq!(strset_find(&set, &member), there.is_some());
                let bytes = FIRST + model.iter().map(|m| 1 + m.len()).sum::<usize>();
                assert_eq!((set.len(), strset_len(&set)), (bytes, model.len()));
                match there {
                    Some(at) if r.below(3) > 0 => {
                        assert!(strset_remove(&mut set, &member));
                        model.remove(at);
                    }
                    Some(_) => {}
                    None => {
                        assert!(!strset_remove(&mut set, &member));
                        let fits = model.len() < 32
                            && member.len() <= 64
                            && bytes + 1 + member.len() <= 256;
                        assert_eq!(strset_fits(&set, &member), fits);
                        if fits {
                            strset_add(&mut set, &member);
                            model.push(member);
                        }
                    }
                }
                assert!(strset_iter(&StrSet::of(&set)).eq(model.iter()));
            }
        }
    }
}
