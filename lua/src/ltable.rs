//! `ltable.c`: tables, an array part and a hash part.
//!
//! The order in which `next` walks and the length that `#` finds follow from where keys lie, and scripts
//! and replication see both. So hashes, collisions and growth are the C's to the letter. The array part is
//! the largest n so that more than half of 1..n is in use; the hash part is a chained scatter table with
//! Brent's variation: a key that is not in its main position collides with one that is in its own.
//!
//! Differs: a node is named by its index, and the dummy node is an empty vector.

use std::mem::take;

use crate::ldebug::luaG_runerror;
use crate::lmem::luaM_checkmem;
use crate::lobject::*;
use crate::lstate::*;

const MAXBITS: i32 = 26;
const MAXASIZE: i32 = 1 << MAXBITS;
/// The end of a chain.
const NO_NODE: u32 = u32::MAX;
/// What the C's headers of a table and a node take.
pub const SIZE_TABLE: usize = 64;
const SIZE_NODE: usize = 40;
const SIZE_TVALUE: usize = 16;

#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub i_val: TValue,
    pub i_key: TValue,
    next: u32,
}

const EMPTY: Node = Node { i_val: Nil, i_key: Nil, next: NO_NODE };

/// A table.
#[derive(Debug, Default)]
pub struct Table {
    pub array: Vec<TValue>,
    pub node: Vec<Node>,
    /// All nodes from here on are taken.
    lastfree: u32,
    pub metatable: Option<TableRef>,
    /// Bit n says that metamethod n is known to be absent, should this be a metatable.
    pub flags: u8,
    pub readonly: bool,
}

/// Why a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    IndexIsNil,
    IndexIsNaN,
    Overflow,
}

/// Where the value of a key is.
#[derive(Clone, Copy)]
enum Slot {
    Array(usize),
    Node(usize),
}

/// The integer a number is, if it is one of 32 bits.
#[inline(always)]
pub fn number2int(n: f64) -> Option<i32> {
    // Adding 1.5 * 2^52 leaves the nearest integer in the low bits; anything else is not equal to it.
    let k = (n + 6755399441055744.0).to_bits() as i32;
    if k as f64 == n { Some(k) } else { None }
}

/// Vectors up to this capacity stay in the slot of a table that was collected, for the next table there, ...
const KEPT_CAPACITY: usize = 4;
/// ... if the slot is one of the first, which are those that are used again and again.
const KEEPING_SLOTS: usize = 1024;

impl Item for Table {
    fn vacate(&mut self, idx: usize) {
        if idx >= KEEPING_SLOTS
            || self.array.capacity() > KEPT_CAPACITY
            || self.node.capacity() > KEPT_CAPACITY
        {
            *self = Table::default();
            return;
        }
        self.array.clear();
        self.node.clear();
        (self.lastfree, self.metatable, self.readonly) = (0, None, false);
    }
}

impl Table {
    /// Makes a table of a vacant slot.
    #[inline]
    fn init(&mut self, narray: usize, nhash: usize) {
        self.flags = !0;
        if narray > 0 {
            self.array.reserve_exact(narray);
            self.array.resize(narray, Nil);
        }
        if nhash > 0 {
            self.setnodevector(nhash).unwrap_or_default();
        }
    }

    /// The bytes the C would hold for it.
    pub fn bytes(&self) -> usize {
        SIZE_TABLE + self.array.len() * SIZE_TVALUE + self.node.len() * SIZE_NODE
    }

    /// `hashnum`.
    #[inline]
    fn hashnum(&self, n: f64) -> usize {
        if n == 0.0 {
            return 0;
        }
        let b = n.to_bits();
        let h = (b as u32).wrapping_add((b >> 32) as u32);
        (h % ((self.node.len() as u32).wrapping_sub(1) | 1)) as usize
    }

    /// The C hashes an address here, so that order is nobody's business.
    #[inline]
    fn hashpointer(&self, p: u32) -> usize {
        (p.wrapping_mul(0x9E37_79B1) >> 8) as usize & (self.node.len() - 1)
    }

    /// `mainposition`: where a key belongs. The hash part is not empty.
    #[inline]
    fn mainposition(&self, key: TValue) -> usize {
        match key {
            Number(n) => self.hashnum(n),
            Str(s) => s.hash as usize & (self.node.len() - 1),
            Boolean(b) => b as usize & (self.node.len() - 1),
            LightUserdata(p) => self.hashpointer(p as u32 ^ (p >> 32) as u32),
            Tab(r) => self.hashpointer(r.idx()),
            LFunction(r) => self.hashpointer(r.idx()),
            CFunction(r) => self.hashpointer(r.idx()),
            Userdata(r) => self.hashpointer(r.idx()),
            Thread(r) => self.hashpointer(r.idx()),
            TValue::DeadKey(d) => self.hashpointer(d as u32),
            Nil => 0,
        }
    }

    /// The node of a key, by its chain.
    #[inline]
    fn findnode(&self, key: TValue) -> Option<usize> {
        if self.node.is_empty() {
            return None;
        }
        let mut i = self.mainposition(key);
        loop {
            let n = &self.node[i];
            if luaO_rawequalObj(n.i_key, key) {
                return Some(i);
            }
            if n.next == NO_NODE {
                return None;
            }
            i = n.next as usize;
        }
    }

    #[inline(always)]
    fn strnode(&self, key: StrRef) -> Option<usize> {
        let mut i = key.hash as usize & self.node.len().wrapping_sub(1);
        loop {
            let n = self.node.get(i)?;
            if let Str(s) = n.i_key
                && s == key
            {
                return Some(i);
            }
            i = n.next as usize;
        }
    }

    /// `luaH_getstr`.
    #[inline(always)]
    pub fn getstr(&self, key: StrRef) -> TValue {
        match self.strnode(key) {
            Some(i) => self.node[i].i_val,
            None => Nil,
        }
    }

    /// The value of a string key, to be written over, if the key is there.
    #[inline(always)]
    pub fn getstr_mut(&mut self, key: StrRef) -> Option<&mut TValue> {
        let i = self.strnode(key)?;
        Some(&mut self.node[i].i_val)
    }

    /// `luaH_getnum`.
    #[inline(always)]
    pub fn getnum(&self, key: i32) -> TValue {
        match self.array.get((key as u32).wrapping_sub(1) as usize) {
            Some(v) => *v,
            None => self.getnumnode(key as f64),
        }
    }

    fn getnumnode(&self, nk: f64) -> TValue {
        let Some(mut i) = (!self.node.is_empty()).then(|| self.hashnum(nk)) else { return Nil };
        loop {
            let Some(n) = self.node.get(i) else { return Nil };
            if let Number(m) = n.i_key
                && m == nk
            {
                return n.i_val;
            }
            i = n.next as usize;
        }
    }

    /// The value of a number key, to be written over, if it is in the array part.
    #[inline(always)]
    pub fn getarray_mut(&mut self, n: f64) -> Option<&mut TValue> {
        let k = (n + 6755399441055744.0).to_bits() as i32;
        if k as f64 != n {
            return None;
        }
        self.array.get_mut((k as u32).wrapping_sub(1) as usize)
    }

    /// `luaH_get` of a number.
    #[inline(always)]
    pub fn getnumber(&self, n: f64) -> TValue {
        let k = (n + 6755399441055744.0).to_bits() as i32;
        if k as f64 == n
            && let Some(v) = self.array.get((k as u32).wrapping_sub(1) as usize)
        {
            return *v;
        }
        self.getnumnode(n)
    }

    /// `luaH_get`.
    #[inline(always)]
    pub fn get(&self, key: TValue) -> TValue {
        match key {
            Str(s) => self.getstr(s),
            Number(n) => self.getnumber(n),
            Nil => Nil,
            _ => self.getany(key),
        }
    }

    fn getany(&self, key: TValue) -> TValue {
        self.findnode(key).map_or(Nil, |i| self.node[i].i_val)
    }

    #[inline(always)]
    fn find(&self, key: TValue) -> Option<Slot> {
        match key {
            Str(s) => self.strnode(s).map(Slot::Node),
            Number(n) => {
                if let Some(k) = number2int(n) {
                    let i = (k as u32).wrapping_sub(1) as usize;
                    if i < self.array.len() {
                        return Some(Slot::Array(i));
                    }
                }
                self.findnode(key).map(Slot::Node)
            }
            Nil => None,
            _ => self.findnode(key).map(Slot::Node),
        }
    }

    /// `luaH_set`: the value of a key, which is made if it is not there. `mem` counts the bytes.
    pub fn set(&mut self, key: TValue, mem: &mut usize) -> Result<&mut TValue, TableError> {
        self.flags = 0;
        let slot = match self.find(key) {
            Some(slot) => slot,
            None => {
                match key {
                    Nil => return Err(TableError::IndexIsNil),
                    Number(n) if n.is_nan() => return Err(TableError::IndexIsNaN),
                    _ => {}
                }
                self.newkey(key, mem)?
            }
        };
        Ok(match slot {
            Slot::Array(i) => &mut self.array[i],
            Slot::Node(i) => &mut self.node[i].i_val,
        })
    }

    /// `newkey`: makes a node for a key that has none. If its main position is taken by a key that is not in
    /// its own, that one moves to a free node; else the new key takes the free node.
    #[inline(never)]
    fn newkey(&mut self, key: TValue, mem: &mut usize) -> Result<Slot, TableError> {
        if self.node.is_empty() {
            return self.rehash_for(key, mem);
        }
        let mut mp = self.mainposition(key);
        if !self.node[mp].i_val.is_nil() {
            let Some(n) = self.getfreepos() else { return self.rehash_for(key, mem) };
            let mut othern = self.mainposition(self.node[mp].i_key);
            if othern != mp {
                while self.node[othern].next as usize != mp {
                    othern = self.node[othern].next as usize;
                }
                self.node[othern].next = n as u32;
                self.node[n] = self.node[mp];
                self.node[mp].next = NO_NODE;
                self.node[mp].i_val = Nil;
            } else {
                self.node[n].next = self.node[mp].next;
                self.node[mp].next = n as u32;
                mp = n;
            }
        }
        self.node[mp].i_key = key;
        Ok(Slot::Node(mp))
    }

    fn rehash_for(&mut self, key: TValue, mem: &mut usize) -> Result<Slot, TableError> {
        if self.node.is_empty() && self.array.is_empty() {
            return Ok(self.first_key(key, mem));
        }
        self.rehash(key, mem)?;
        match self.find(key) {
            Some(slot) => Ok(slot),
            None => self.newkey(key, mem),
        }
    }

    /// What [`rehash`](Table::rehash) makes of an empty table: the key is its array if it is 1, else its only node.
    fn first_key(&mut self, key: TValue, mem: &mut usize) -> Slot {
        if matches!(key, Number(1.0)) {
            self.array.reserve_exact(1);
            self.array.push(Nil);
            *mem += SIZE_TVALUE;
            return Slot::Array(0);
        }
        self.node.reserve_exact(1);
        self.node.push(Node { i_key: key, ..EMPTY });
        self.lastfree = 1;
        *mem += SIZE_NODE;
        Slot::Node(0)
    }

    fn getfreepos(&mut self) -> Option<usize> {
        while self.lastfree > 0 {
            self.lastfree -= 1;
            if self.node[self.lastfree as usize].i_key.is_nil() {
                return Some(self.lastfree as usize);
            }
        }
        None
    }

    fn setnodevector(&mut self, size: usize) -> Result<(), TableError> {
        self.node.clear();
        self.lastfree = 0;
        if size == 0 {
            return Ok(());
        }
        let lsize = ceillog2(size as u32);
        if lsize > MAXBITS {
            return Err(TableError::Overflow);
        }
        let size = 1usize << lsize;
        if self.node.capacity() < size {
            self.node = vec![EMPTY; size];
        } else {
            self.node.resize(size, EMPTY);
        }
        self.lastfree = size as u32;
        Ok(())
    }

    /// `resize`: new sizes for both parts. What a part loses goes in again: the end of the array from its
    /// first, the nodes from the last.
    fn resize(&mut self, nasize: usize, nhsize: usize, mem: &mut usize) -> Result<(), TableError> {
        if nhsize > 0 && ceillog2(nhsize as u32) > MAXBITS {
            return Err(TableError::Overflow);
        }
        let before = self.bytes();
        let (few, many);
        let nold = if self.node.capacity() <= KEPT_CAPACITY {
            few = self.few_nodes();
            &few[..self.node.len()]
        } else {
            many = take(&mut self.node);
            &many[..]
        };
        let mut vanishing = Vec::new();
        if nasize > self.array.len() {
            self.array.reserve_exact(nasize - self.array.len());
            self.array.resize(nasize, Nil);
        }
        self.setnodevector(nhsize)?;
        let oldasize = self.array.len();
        if nasize < oldasize {
            vanishing = self.array.split_off(nasize);
            self.array.shrink_to_fit();
        }
        *mem = *mem + self.bytes() - before;
        for (i, v) in vanishing.into_iter().enumerate() {
            if !v.is_nil() {
                *self.set_unflagged(Number((nasize + i + 1) as f64), mem)? = v;
            }
        }
        for old in nold.iter().rev() {
            if !old.i_val.is_nil() {
                *self.set_unflagged(old.i_key, mem)? = old.i_val;
            }
        }
        Ok(())
    }

    /// A copy of all nodes, of which there are at most as many.
    fn few_nodes(&self) -> [Node; KEPT_CAPACITY] {
        let mut few = [EMPTY; KEPT_CAPACITY];
        few[..self.node.len()].copy_from_slice(&self.node);
        few
    }

    fn set_unflagged(&mut self, key: TValue, mem: &mut usize) -> Result<&mut TValue, TableError> {
        self.set(key, mem)
    }

    /// `luaH_resizearray`.
    pub fn resizearray(&mut self, nasize: usize, mem: &mut usize) -> Result<(), TableError> {
        let nsize = self.node.len();
        self.resize(nasize, nsize, mem)
    }

    #[inline(never)]
    fn rehash(&mut self, ek: TValue, mem: &mut usize) -> Result<(), TableError> {
        // nums[i] is the number of integer keys from 2^(i-1)+1 to 2^i.
        let mut nums = [0i32; MAXBITS as usize + 1];
        let mut nasize = self.numusearray(&mut nums);
        let mut totaluse = nasize;
        for n in &self.node {
            if !n.i_val.is_nil() {
                nasize += countint(n.i_key, &mut nums);
                totaluse += 1;
            }
        }
        nasize += countint(ek, &mut nums);
        totaluse += 1;
        let (na, nasize) = computesizes(&nums, nasize);
        self.resize(nasize as usize, (totaluse - na) as usize, mem)
    }

    fn numusearray(&self, nums: &mut [i32]) -> i32 {
        let mut ause = 0;
        let mut from = 0;
        for (lg, num) in nums.iter_mut().enumerate() {
            if from >= self.array.len() {
                break;
            }
            let lim = (1usize << lg).min(self.array.len());
            let lc = self.array[from..lim].iter().filter(|v| !v.is_nil()).count() as i32;
            *num += lc;
            ause += lc;
            from = lim;
        }
        ause
    }

    /// `luaH_getn`: a boundary, an n so that t\[n\] is there and t\[n+1\] is not; 0 if t\[1\] is not.
    #[inline]
    pub fn getn(&self) -> i32 {
        let j = self.array.len();
        if j > 0 && self.array[j - 1].is_nil() {
            let (mut i, mut j) = (0, j);
            while j - i > 1 {
                let m = (i + j) / 2;
                if self.array[m - 1].is_nil() {
                    j = m;
                } else {
                    i = m;
                }
            }
            return i as i32;
        }
        if self.node.is_empty() {
            return j as i32;
        }
        self.unbound_search(j as u32)
    }

    fn unbound_search(&self, j: u32) -> i32 {
        let mut i = j;
        let mut j = j + 1;
        while !self.getnum(j as i32).is_nil() {
            i = j;
            j = j.wrapping_mul(2);
            if j > i32::MAX as u32 {
                // Somebody built a table for this: look from the start.
                let mut i = 1;
                while !self.getnum(i).is_nil() {
                    i += 1;
                }
                return i - 1;
            }
        }
        while j - i > 1 {
            let m = (i + j) / 2;
            if self.getnum(m as i32).is_nil() {
                j = m;
            } else {
                i = m;
            }
        }
        i as i32
    }

    /// `findindex`: the number of a key in a walk, the array first; `Err` if there is no such key.
    fn findindex(&self, key: TValue) -> Result<usize, ()> {
        match key {
            Nil => return Ok(0),
            Number(n) => {
                if let Some(k) = number2int(n)
                    && 0 < k
                    && k as usize <= self.array.len()
                {
                    return Ok(k as usize);
                }
            }
            _ => {}
        }
        if let Some(i) = self.findnode(key) {
            return Ok(i + 1 + self.array.len());
        }
        // The key may have been taken away by a collection since; its node still knows it.
        let dead = dead_key(key).ok_or(())?;
        if self.node.is_empty() {
            return Err(());
        }
        let mut i = self.mainposition(key);
        loop {
            let n = &self.node[i];
            if matches!(n.i_key, TValue::DeadKey(d) if d == dead) {
                return Ok(i + 1 + self.array.len());
            }
            if n.next == NO_NODE {
                return Err(());
            }
            i = n.next as usize;
        }
    }

    /// `luaH_next`: the pair after a key; `Err` if there is no such key.
    #[inline]
    pub fn next(&self, key: TValue) -> Result<Option<(TValue, TValue)>, ()> {
        let mut i = self.findindex(key)?;
        while let Some(v) = self.array.get(i) {
            i += 1;
            if !v.is_nil() {
                return Ok(Some((Number(i as f64), *v)));
            }
        }
        for n in self.node.get(i - self.array.len()..).unwrap_or_default() {
            if !n.i_val.is_nil() {
                return Ok(Some((n.i_key, n.i_val)));
            }
        }
        Ok(None)
    }
}

/// What stays of a key that was collected: which object it was.
pub fn dead_key(key: TValue) -> Option<u64> {
    let (kind, idx) = match key {
        Str(s) => (1, s.idx()),
        Tab(r) => (2, r.idx()),
        LFunction(r) => (3, r.idx()),
        CFunction(r) => (4, r.idx()),
        Userdata(r) => (5, r.idx()),
        Thread(r) => (6, r.idx()),
        _ => return None,
    };
    Some(kind << 32 | idx as u64)
}

fn countint(key: TValue, nums: &mut [i32]) -> i32 {
    if let Number(n) = key
        && let Some(k) = number2int(n)
        && 0 < k
        && k <= MAXASIZE
    {
        nums[ceillog2(k as u32) as usize] += 1;
        return 1;
    }
    0
}

/// `computesizes`: how many keys go to the array part, and its size.
fn computesizes(nums: &[i32], narray: i32) -> (i32, i32) {
    let (mut a, mut na, mut n) = (0, 0, 0);
    let mut twotoi = 1;
    for &num in nums {
        if twotoi / 2 >= narray {
            break;
        }
        if num > 0 {
            a += num;
            if a > twotoi / 2 {
                n = twotoi;
                na = a;
            }
        }
        if a == narray {
            break;
        }
        twotoi *= 2;
    }
    (na, n)
}

/// A new table.
pub fn luaH_new<H>(L: &mut lua_State<H>, narray: usize, nhash: usize) -> TableRef {
    let (r, t) = L.g.tables.occupy(L.g.currentwhite);
    t.init(narray, nhash);
    L.g.totalbytes += t.bytes();
    r
}

/// A new table with one field, which is a string: what it would be after the field was set.
#[inline]
pub fn luaH_newfield<H>(L: &mut lua_State<H>, key: TValue, val: TValue) -> TableRef {
    let (r, t) = L.g.tables.occupy(L.g.currentwhite);
    t.flags = 0;
    t.node.reserve_exact(1);
    t.node.push(Node { i_key: key, i_val: val, ..EMPTY });
    t.lastfree = 1;
    L.g.totalbytes += t.bytes();
    r
}

/// Raises what a table refused.
#[cold]
pub fn table_error<H, T>(L: &mut lua_State<H>, e: TableError) -> LuaResult<T> {
    luaG_runerror(
        L,
        match e {
            TableError::IndexIsNil => b"table index is nil",
            TableError::IndexIsNaN => b"table index is NaN",
            TableError::Overflow => b"table overflow",
        },
    )
}

/// Sets a key, without metamethods.
pub fn luaH_set<H>(L: &mut lua_State<H>, t: TableRef, key: TValue, val: TValue) -> LuaResult<()> {
    let before = L.g.totalbytes;
    match L.g.tables.get_mut(t).set(key, &mut L.g.totalbytes) {
        Ok(slot) => *slot = val,
        Err(e) => return table_error(L, e),
    }
    if L.g.totalbytes != before { luaM_checkmem(L) } else { Ok(()) }
}

/// The pair after a key.
pub fn luaH_next<H>(
    L: &mut lua_State<H>,
    t: TableRef,
    key: TValue,
) -> LuaResult<Option<(TValue, TValue)>> {
    match L.g.tables.get(t).next(key) {
        Ok(pair) => Ok(pair),
        Err(()) => luaG_runerror(L, b"invalid key to 'next'"),
    }
}
