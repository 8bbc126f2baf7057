//! `sort.c` and `pqsort.c`: SORT.
//!
//! Read first: `sortCommand`; then `Pattern`, which is how BY and GET name other keys. Differs: the
//! texts of elements and of what they are sorted by lie in one buffer, and the vector that is
//! sorted holds places in it. Where the C compares with `strcoll`, keys are made by `strxfrm` once
//! and compared as bytes, which is the same order. A vector with scores that are no numbers is not
//! sorted at all, since the reply is an error.

use std::cmp::Ordering;

use crate::acl::{may_touch_all_keys, may_touch_key_or_reply};
use crate::args::Args;
use crate::db::*;
use crate::ds::dict::dictFind;
use crate::ds::intset::{intsetGet, intsetLen};
use crate::ds::quicklist::*;
use crate::ds::redisassert::assert_some;
use crate::ds::skiplist::zslGetElementByRank;
use crate::ds::strset::strset_iter;
use crate::ds::ziplist::*;
use crate::keyspace::*;
use crate::networking::*;
use crate::notify::notifyKeyspaceEvent;
use crate::object::*;
use crate::server::{CommandSpec, command};
use crate::server_h::*;
use crate::sys::locale::strxfrm;
use crate::types::t_hash::HashRef;
use crate::types::t_list::{listTypeLength, listTypePush};
use crate::types::t_set::{SetRef, setTypeSize};
use crate::types::t_zset::{ZsetRef, zsetConvert};
use crate::util::{c_str, eq_ignore_case, ll2string, strtod};

/// SORT.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = &[
    command("sort", sortCommand, -2, "write use-memory @list @set @sortedset @dangerous", (1, 1, 1)).getkeys(sortGetKeys),
];

/// A pattern of BY or GET, taken apart.
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// There is no `*` in it: nothing.
    Constant,
    /// The name of a key, with the element between `prefix` and `postfix`; `field` of the hash
    /// there, or the string there.
    Key { prefix: &'a [u8], postfix: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    fn new(spat: &'a [u8]) -> Pattern<'a> {
        let text = c_str(spat);
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(p) = text.iter().position(|&b| b == b'*') else { return Pattern::Constant };
        // An arrow with nothing behind it belongs to the name of the key.
        let arrow = text[p + 1..].windows(2).position(|w| w == b"->").map(|at| p + 1 + at);
        let arrow = arrow.filter(|f| f + 2 < text.len());
        Pattern::Key {
            prefix: &spat[..p],
            postfix: &spat[p + 1..arrow.unwrap_or(spat.len())],
            field: arrow.map(|f| &spat[f + 2..]),
        }
    }
}

/// The place at which `lookupKeyByPattern` found something.
enum Found<'a> {
    Element,
    Key(KeyRef),
    Field(KeyRef, &'a [u8]),
}

impl Found<'_> {
    /// Returns the value; `None` if the hash has no such field. `subst` is the element.
    fn value<'b>(&self, db: &'b RedisDb, subst: &'b [u8]) -> Option<ValueRef<'b>> {
        match *self {
            Found::Element => Some(ValueRef::Str(subst)),
            Found::Key(o) => Some(db.get(o)),
            Found::Field(o, field) => match db.dict.hash_value(o) {
                HashRef::Ziplist(zl) => {
                    let at = ziplistFind(zl, ziplistIndex(zl, 0)?, field, 1)?;
                    Some(match ziplistGet(zl, ziplistNext(zl, at)?)? {
                        ZiplistEntry::Str(s) => ValueRef::Str(s),
                        ZiplistEntry::Int(n) => ValueRef::Int(n),
                    })
                }
                HashRef::Ht(d) => dictFind(d, field).map(|pair| ValueRef::Str(pair.value())),
            },
        }
    }
}

/// Tells whether the client may touch the key that a pattern names for the element `subst`, if it
/// names one; otherwise an error was sent.
///
/// C: looks at the keys among the arguments alone, so that a user can read all others with SORT.
fn may_touch_or_reply(server: &mut Server, c: ClientId, pattern: &Pattern, subst: &[u8]) -> bool {
    let Pattern::Key { prefix, postfix, .. } = *pattern else { return true };
    may_touch_key_or_reply(server, c, &[prefix, subst, postfix].concat())
}

/// Looks up what the pattern of BY or GET names for the element `subst`: the string of a key, or a
/// field of its hash. `None`: no such key, or of another type. `name` is a buffer.
fn lookupKeyByPattern<'a>(
    server: &mut Server,
    db: usize,
    pattern: &Pattern<'a>,
    subst: &[u8],
    writeflag: bool,
    name: &mut Vec<u8>,
) -> Option<Found<'a>> {
    let (prefix, postfix, field) = match *pattern {
        Pattern::Element => return Some(Found::Element),
        Pattern::Constant => return None,
        Pattern::Key { prefix, postfix, field } => (prefix, postfix, field),
    };
    name.clear();
    for part in [prefix, subst, postfix] {
        name.extend_from_slice(part);
    }
    let o =
        if writeflag { lookupKeyWrite(server, db, name) } else { lookupKeyRead(server, db, name) }?;
    match (server.db[db].dict.type_of(o), field) {
        (OBJ_HASH, Some(field)) => Some(Found::Field(o, field)),
        (OBJ_STRING, None) => Some(Found::Key(o)),
        _ => None,
    }
}

/// Part of the buffer of texts.
#[derive(Copy, Clone)]
struct Text {
    start: usize,
    len: usize,
}

impl Text {
    /// Appends a text to the buffer.
    fn push(texts: &mut Vec<u8>, text: &[u8]) -> Text {
        let start = texts.len();
        texts.extend_from_slice(text);
        Text { start, len: text.len() }
    }

    #[inline]
    fn of<'a>(&self, texts: &'a [u8]) -> &'a [u8] {
        &texts[self.start..self.start + self.len]
    }
}

/// `redisSortObject`: an element, and what it is sorted by: a number or, with ALPHA, a text.
#[derive(Copy, Clone)]
struct redisSortObject {
    obj: Text,
    score: f64,
    cmpobj: Option<Text>,
}

/// Compares two elements, as the options say.
fn sortCompare(
    texts: &[u8],
    alpha: bool,
    desc: bool,
    so1: &redisSortObject,
    so2: &redisSortObject,
) -> Ordering {
    let text = |t: Option<Text>| t.map(|t| t.of(texts));
    let cmp = if alpha {
        // Elements without a text come first.
        text(so1.cmpobj).cmp(&text(so2.cmpobj))
    } else {
        // The same number: by name, to have one result only.
        let by_name = || so1.obj.of(texts).cmp(so2.obj.of(texts));
        so1.score.partial_cmp(&so2.score).unwrap_or(Ordering::Equal).then_with(by_name)
    };
    if desc { cmp.reverse() } else { cmp }
}

/// Sorts by the quicksort of Bentley and McIlroy (`pqsort`), which leaves those parts of `v`
/// unsorted that hold no place from `lrange` to `rrange`. Where elements are equal, which one comes
/// first is as in the C.
pub fn pqsort<T: Copy>(
    v: &mut [T],
    lrange: usize,
    rrange: usize,
    cmp: &mut impl FnMut(&T, &T) -> Ordering,
) {
    // Parts still to sort: where, and how many.
    let mut parts = vec![(0, v.len())];
    while let Some((a, n)) = parts.pop() {
        if n < 7 {
            for pm in a + 1..a + n {
                let mut pl = pm;
                while pl > a && cmp(&v[pl - 1], &v[pl]).is_gt() {
                    v.swap(pl, pl - 1);
                    pl -= 1;
                }
            }
            continue;
        }

        let mut med3 = |a: usize, b: usize, c: usize| {
            if cmp(&v[a], &v[b]).is_lt() {
                if cmp(&v[b], &v[c]).is_lt() {
                    b
                } else if cmp(&v[a], &v[c]).is_lt() {
                    c
                } else {
                    a
                }
            } else if cmp(&v[b], &v[c]).is_gt() {
                b
            } else if cmp(&v[a], &v[c]).is_lt() {
                a
            } else {
                c
            }
        };
        let mut pm = a + n / 2;
        if n > 7 {
            let (mut pl, mut pn) = (a, a + n - 1);
            if n > 40 {
                let d = n / 8;
                pl = med3(pl, pl + d, pl + 2 * d);
                pm = med3(pm - d, pm, pm + d);
                pn = med3(pn - 2 * d, pn - d, pn);
            }
            pm = med3(pl, pm, pn);
        }
        v.swap(a, pm);

        // The pivot is the first one. What equals it is gathered at both ends: up to pa, and from
        // pd on. `pc` and `pd` are one more than in the C.
        let (mut pa, mut pb) = (a + 1, a + 1);
        let (mut pc, mut pd) = (a + n, a + n);
        loop {
            while pb < pc {
                let order = cmp(&v[pb], &v[a]);
                if order.is_gt() {
                    break;
                }
                if order.is_eq() {
                    v.swap(pa, pb);
                    pa += 1;
                }
                pb += 1;
            }
            while pb < pc {
                let order = cmp(&v[pc - 1], &v[a]);
                if order.is_lt() {
                    break;
                }
                if order.is_eq() {
                    v.swap(pc - 1, pd - 1);
                    pd -= 1;
                }
                pc -= 1;
            }
            if pb >= pc {
                break;
            }
            v.swap(pb, pc - 1);
            pb += 1;
            pc -= 1;
        }

        // From both ends to the middle with them.
        let end = a + n;
        for (from, to, len) in [(a, pb, (pa - a).min(pb - pa)), (pb, end, (pd - pc).min(end - pd))]
        {
            for i in 0..len {
                v.swap(from + i, to - len + i);
            }
        }
        for (start, len) in [(a, pb - pa), (end - (pd - pc), pd - pc)] {
            if len > 1 && lrange < start + len && rrange >= start {
                parts.push((start, len));
            }
        }
    }
}

/// The options of SORT.
struct sortOptions<'a> {
    desc: bool,
    alpha: bool,
    limit_start: i64,
    /// Negative for all.
    limit_count: i64,
    dontsort: bool,
    sortby: Option<&'a [u8]>,
    operations: Vec<Pattern<'a>>,
    storekey: Option<&'a [u8]>,
}

/// Parses the options. On an error the reply was sent.
fn parse_sort_options_or_reply<'a>(
    server: &mut Server,
    c: ClientId,
    argv: &Args<'a>,
) -> Result<sortOptions<'a>, ()> {
    let mut opts = sortOptions {
        desc: false,
        alpha: false,
        limit_start: 0,
        limit_count: -1,
        dontsort: false,
        sortby: None,
        operations: Vec::new(),
        storekey: None,
    };
    let mut j = 2;
    while j < argv.len() {
        let leftargs = argv.len() - j - 1;
        let is = |name: &[u8], args: usize| leftargs >= args && eq_ignore_case(argv.get(j), name);
        if is(b"asc", 0) {
            opts.desc = false;
        } else if is(b"desc", 0) {
            opts.desc = true;
        } else if is(b"alpha", 0) {
            opts.alpha = true;
        } else if is(b"limit", 2) {
            opts.limit_start = getLongFromObjectOrReply(server, c, &argv[j + 1], None)?;
            opts.limit_count = getLongFromObjectOrReply(server, c, &argv[j + 2], None)?;
            j += 2;
        } else if is(b"store", 1) {
            opts.storekey = Some(argv.get(j + 1));
            j += 1;
        } else if is(b"by", 1) {
            let pattern = argv.get(j + 1);
            opts.sortby = Some(pattern);
            // A constant: nothing to look up, and nothing to sort.
            opts.dontsort |= !c_str(pattern).contains(&b'*');
            j += 1;
        } else if is(b"get", 1) {
            opts.operations.push(Pattern::new(argv.get(j + 1)));
            j += 1;
        } else {
            addReplyErrorObject(server, c, shared::syntaxerr);
            return Err(());
        }
        j += 1;
    }
    Ok(opts)
}

/// Loads elements of the key `sortval` in the order they have there (in the reverse one with
/// `desc`, if the type has an order): `count` of them from place `start` on.
fn load_elements(
    keys: &Keyspace,
    sortval: KeyRef,
    start: i64,
    count: i64,
    desc: bool,
    texts: &mut Vec<u8>,
) -> Vec<redisSortObject> {
    let mut vector = Vec::with_capacity(count as usize);
    let mut push = |element: &[u8]| {
        vector.push(redisSortObject { obj: Text::push(texts, element), score: 0.0, cmpobj: None });
    };
    let mut push_entry = |entry: ZiplistEntry| match entry {
        ZiplistEntry::Str(s) => push(s),
        ZiplistEntry::Int(n) => push(&ll2string(n)),
    };
    match keys.get(sortval) {
        ValueRef::Aggregate(AggregateRef::List(ql)) => {
            let mut values = if desc {
                quicklist_read(ql, AL_START_TAIL, -1 - start)
            } else {
                quicklist_read(ql, AL_START_HEAD, start)
            };
            for _ in 0..count {
                push_entry(assert_some!(values.read()));
            }
        }
        ValueRef::Aggregate(AggregateRef::Set(SetRef::Intset(is))) => {
            (0..intsetLen(is)).filter_map(|i| intsetGet(is, i)).for_each(|n| push(&ll2string(n)));
        }
        ValueRef::Aggregate(AggregateRef::Set(SetRef::Strings(set))) => {
            strset_iter(set).for_each(&mut push)
        }
        ValueRef::Aggregate(AggregateRef::Set(SetRef::Ht(d))) => {
            d.iter().for_each(|member| push(member.as_slice()))
        }
        ValueRef::Aggregate(AggregateRef::Zset(ZsetRef::Skiplist(zs))) => {
            let zsl = &zs.zsl;
            let rank = if desc { zsl.len() as i64 - start } else { start + 1 };
            let mut ln = zslGetElementByRank(zsl, rank.max(0) as usize);
            for _ in 0..count {
                let Some(at) = ln else { break };
                push(zsl.pair(at).0);
                ln = if desc { zsl.prev(at) } else { zsl.next(at) };
            }
        }
        _ => panic!("Bad SORT type"),
    }
    vector
}

/// SORT key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA]
/// [STORE destination]
pub fn sortCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let Ok(opts) = parse_sort_options_or_reply(server, c, argv) else { return };
    let sortOptions { desc, mut alpha, mut dontsort, mut sortby, operations, storekey, .. } = opts;
    let (db, key, store) = (server[c].db, argv.get(1), storekey.is_some());

    // ------------------------------------------------------------------------ The key and its elements

    let sortval =
        if store { lookupKeyWrite(server, db, key) } else { lookupKeyRead(server, db, key) };
    let type_ = sortval.map_or(OBJ_LIST, |o| server.db[db].dict.type_of(o));
    if !matches!(type_, OBJ_SET | OBJ_LIST | OBJ_ZSET) {
        addReplyErrorObject(server, c, shared::wrongtypeerr);
        return;
    }

    // A set has no order of its own; what is stored, or seen by a script, must have one, the same
    // on every replica.
    if dontsort && type_ == OBJ_SET && (store || server[c].flags & CLIENT_LUA != 0) {
        dontsort = false;
        alpha = true;
        sortby = None;
    }

    if let Some(o) = sortval
        && type_ == OBJ_ZSET
    {
        zsetConvert(&mut server.db[db].dict.zset_mut(o), OBJ_ENCODING_SKIPLIST);
    }
    let len = sortval.map_or(0, |o| match server.db[db].get(o) {
        ValueRef::Aggregate(AggregateRef::List(ql)) => listTypeLength(ql) as i64,
        ValueRef::Aggregate(AggregateRef::Set(set)) => setTypeSize(set) as i64,
        ValueRef::Aggregate(AggregateRef::Zset(ZsetRef::Skiplist(zs))) => zs.zsl.len() as i64,
        _ => panic!("Bad SORT type"),
    });

    // LIMIT as a range within the elements: from `start` to `end`, which is below `start` if there
    // are none.
    let mut start = opts.limit_start.clamp(0, len);
    let limit_count = opts.limit_count.clamp(-1, len);
    let mut end = if limit_count < 0 { len - 1 } else { start + limit_count - 1 };
    if start >= len {
        start = len - 1;
        end = len - 2;
    }
    end = end.min(len - 1);

    // Of what is in order already no more than the range is loaded.
    let mut texts = Vec::new();
    let partial = dontsort && type_ != OBJ_SET;
    let mut vector = match sortval {
        None => Vec::new(),
        Some(o) if partial => {
            let vector = load_elements(
                &server.db[db].dict,
                o,
                start.max(0),
                end - start + 1,
                desc,
                &mut texts,
            );
            end -= start;
            start = 0;
            vector
        }
        Some(o) => load_elements(&server.db[db].dict, o, 0, len, false, &mut texts),
    };
    // Nothing lies beyond the last one.
    end = end.min(vector.len() as i64 - 1);

    // ------------------------------------------------------------------------ What they are sorted by

    let mut name = Vec::new();
    let mut int_conversion_error = false;
    let asks_for_keys = !may_touch_all_keys(server, c);
    if !dontsort {
        let by = sortby.map(Pattern::new);
        if asks_for_keys && let Some(by) = &by {
            for so in &vector {
                if !may_touch_or_reply(server, c, by, so.obj.of(&texts)) {
                    return;
                }
            }
        }
        let mut digits;
        for so in &mut vector {
            // The text it is sorted by is the one at hand, or is put behind the elements.
            let mut byval = so.obj;
            if let Some(by) = &by {
                let Some(found) =
                    lookupKeyByPattern(server, db, by, so.obj.of(&texts), store, &mut name)
                else {
                    continue;
                };
                let bytes = match found.value(&server.db[db], &[]) {
                    None => continue,
                    Some(ValueRef::Int(n)) if !alpha => {
                        so.score = n as f64;
                        continue;
                    }
                    Some(ValueRef::Int(n)) => {
                        digits = ll2string(n);
                        &digits[..]
                    }
                    Some(ValueRef::Str(s)) => s,
                    Some(ValueRef::Aggregate(_)) => unreachable!("only strings are found"),
                };
                byval = Text::push(&mut texts, bytes);
            }

            if !alpha {
                let number = c_str(byval.of(&texts));
                let score = strtod(number);
                int_conversion_error |=
                    score.len < number.len() || score.erange || score.value.is_nan();
                so.score = score.value;
            } else if store {
                // The order of what is stored must be the same on every replica, whatever its
                // locale.
                so.cmpobj = Some(byval);
            } else {
                name.clear();
                strxfrm(byval.of(&texts), &mut name);
                so.cmpobj = Some(Text::push(&mut texts, &name));
            }
        }
    }
    if int_conversion_error {
        addReplyError(server, c, b"One or more scores can't be converted into double");
        return;
    }
    if !dontsort {
        let mut cmp = |so1: &redisSortObject, so2: &redisSortObject| {
            sortCompare(&texts, alpha, desc, so1, so2)
        };
        if sortby.is_some() && (start != 0 || end != len - 1) {
            pqsort(&mut vector, start.max(0) as usize, end.max(0) as usize, &mut cmp);
        } else {
            vector.sort_by(cmp);
        }
    }

    // ------------------------------------------------------------------------ The reply, or the new list

    let count = (end - start + 1).max(0);
    let outputlen = if operations.is_empty() { count } else { count * operations.len() as i64 };
    let output = if count > 0 { start as usize..end as usize + 1 } else { 0..0 };
    if asks_for_keys {
        for so in &vector[output.clone()] {
            for pattern in &operations {
                if !may_touch_or_reply(server, c, pattern, so.obj.of(&texts)) {
                    return;
                }
            }
        }
    }
    let Some(storekey) = storekey else {
        addReplyArrayLen(server, c, outputlen);
        for so in &vector[output] {
            let element = so.obj.of(&texts);
            if operations.is_empty() {
                addReplyBulkCBuffer(server, c, element);
            }
            for pattern in &operations {
                let found = lookupKeyByPattern(server, db, pattern, element, false, &mut name);
                let Server { clients, db: dbs, .. } = server;
                match found.and_then(|found| found.value(&dbs[db], element)) {
                    Some(value) => addReplyBulk(clients, c, value),
                    None => addReplyNull(clients, c),
                }
            }
        }
        return;
    };

    let mut sobj = quicklistCreate();
    for so in &vector[output] {
        let element = so.obj.of(&texts);
        if operations.is_empty() {
            listTypePush(&mut sobj, element, LIST_TAIL);
        }
        for pattern in &operations {
            let found = lookupKeyByPattern(server, db, pattern, element, true, &mut name);
            match found.and_then(|found| found.value(&server.db[db], element)) {
                Some(ValueRef::Int(n)) => listTypePush(&mut sobj, &ll2string(n), LIST_TAIL),
                Some(ValueRef::Str(s)) => listTypePush(&mut sobj, s, LIST_TAIL),
                Some(ValueRef::Aggregate(_)) => unreachable!("only strings are found"),
                None => listTypePush(&mut sobj, b"", LIST_TAIL),
            }
        }
    }
    if outputlen > 0 {
        setKey(server, Some(c), db, storekey, sobj);
        notifyKeyspaceEvent(server, NOTIFY_LIST, "sortstore", storekey, db);
        server.dirty += outputlen;
    } else if dbDelete(server, db, storekey) {
        signalModifiedKey(server, Some(c), db, storekey);
        notifyKeyspaceEvent(server, NOTIFY_GENERIC, "del", storekey, db);
        server.dirty += 1;
    }
    addReplyLongLong(server, c, outputlen);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    /// Prefix, postfix and field of a pattern.
    type Parts<'a> = (&'a [u8], &'a [u8], Option<&'a [u8]>);

    fn parts(pattern: &[u8]) -> Option<Parts<'_>> {
        match Pattern::new(pattern) {
            Pattern::Key { prefix, postfix, field } => Some((prefix, postfix, field)),
            _ => None,
        }
    }

    #[test]
    fn patterns() {
        assert!(matches!(Pattern::new(b"#"), Pattern::Element));
        assert!(matches!(Pattern::new(b"nosort"), Pattern::Constant));
        assert!(matches!(Pattern::new(b"a->b"), Pattern::Constant));
        assert!(matches!(Pattern::new(b"a\0*"), Pattern::Constant));
        assert_eq!(parts(b"w_*"), Some((&b"w_"[..], &b""[..], None)));
        assert_eq!(parts(b"w_*_x->f*->"), Some((&b"w_"[..], &b"_x"[..], Some(&b"f*->"[..]))));
        assert_eq!(parts(b"*->"), Some((&b""[..], &b"->"[..], None)));
        assert_eq!(parts(b"a->*b"), Some((&b"a->"[..], &b"b"[..], None)));
    }

    #[test]
    fn a_part_is_sorted() {
        for seed in 0..300 {
            let mut r = Rng::seeded(seed);
            let n = r.below(300) as usize + 1;
            let range = [3, 50, 1_000_000][r.below(3) as usize];
            let mut v: Vec<(u64, usize)> = (0..n).map(|i| (r.below(range), i)).collect();
            let mut sorted = v.clone();
            sorted.sort();
            let start = r.below(n as u64) as usize;
            let end = start + r.below((n - start) as u64) as usize;
            pqsort(&mut v, start, end, &mut |a, b| a.0.cmp(&b.0));
            for i in start..=end {
                assert_eq!(v[i].0, sorted[i].0);
            }
            v.sort();
            assert_eq!(v, sorted);
        }
    }

    #[test]
    fn order() {
        let mut texts = Vec::new();
        let mut so = |obj: &[u8], score: f64, cmp: Option<&[u8]>| redisSortObject {
            obj: Text::push(&mut texts, obj),
            score,
            cmpobj: cmp.map(|cmp| Text::push(&mut texts, cmp)),
        };
        let (a, b, none) =
            (so(b"a", 2.0, Some(b"x")), so(b"b", 2.0, Some(b"w")), so(b"c", 1.0, None));
        assert!(sortCompare(&texts, false, false, &a, &b).is_lt());
        assert!(sortCompare(&texts, false, true, &a, &b).is_gt());
        assert!(sortCompare(&texts, false, false, &a, &none).is_gt());
        assert!(sortCompare(&texts, true, false, &a, &b).is_gt());
        assert!(sortCompare(&texts, true, false, &none, &b).is_lt());
    }

    #[test]
    fn the_last_store_is_a_key() {
        let keys = |args: &[&str]| {
            let argv = crate::args::Argv::new(args);
            let mut table = crate::server::CommandTable::default();
            crate::server::populateCommandTable(&mut table);
            let cmd = table.lookup(b"sort").unwrap();
            let mut result = vec![];
            sortGetKeys(&table[cmd], &argv.as_args(), &mut result);
            result
        };
        assert_eq!(keys(&["sort", "k"]), [1]);
        assert_eq!(keys(&["sort", "k", "by", "store", "STORE", "a", "store", "b"]), [1, 7]);
        assert_eq!(keys(&["sort", "k", "STORE", "by", "STORE", "secret"]), [1, 5]);
        assert_eq!(keys(&["sort", "k", "limit", "store", "x", "get", "store"]), [1]);
        assert_eq!(keys(&["sort", "k", "store"]), [1]);
    }
}
