//! `defrag.c`: active defragmentation.
//!
//! Where much was deleted, the allocator is left with pages that are nearly empty. Here the keys are
//! scanned, a few milliseconds at a time, and each allocation of which the allocator says that it
//! would be better off elsewhere is moved: the emptiest pages are cleared, and go back to the
//! kernel.
//!
//! Read first: [`activeDefragCycle`], `defragKey`, `defragLaterStep`. What is worth moving, and how
//! it is moved, is in `sys/defrag.rs`; the structures move what they own, in their own files. The
//! C's functions on those stand there.
//!
//! Differs: a key is one block, and many elements have no allocation of their own, so there is less
//! to move. Nodes are numbered in arenas: a large list, sorted set or stream is walked in the order
//! of these numbers, and the number of the next one is the cursor (the C has bookmarks in lists and
//! the last id of a stream). A Rust map that has no means to move its nodes is made again if one of
//! them is worth moving. What the C keeps in static variables is `server.defrag`.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::ds::dict::{
    Dict, DictEntry, PairEntry, SdsEntry, dict_defrag_scan, dictDefragTables, dictSize,
};
use crate::ds::quicklist::{activeDefragQuickListNode, activeDefragQuickListNodes};
use crate::ds::rax::{Rax, defragRaxNode, raxSize};
use crate::ds::skiplist::{Zskiplist, zslDefrag};
use crate::keyspace::*;
use crate::latency::{latencyAddSampleIfNeeded, latencyEndMonitor, latencyStartMonitor};
use crate::log::{LL_DEBUG, LL_VERBOSE};
use crate::scripting::ScriptSha;
use crate::server::{hasActiveChildProcess, run_with_period};
use crate::server_h::*;
use crate::serverLog;
use crate::sys::alloc::zmalloc_get_allocator_info;
use crate::sys::bytes::Packed;
use crate::sys::clock::getMonotonicUs;
use crate::sys::defrag::{Defrag, have_defrag};
use crate::types::t_hash::Hash;
use crate::types::t_set::Set;
use crate::types::t_stream::{Stream, streamCG, streamConsumer};
use crate::types::t_zset::{Zset, zset};

/// The state of a scan from one cycle to the next.
#[derive(Default)]
pub struct DefragState {
    /// The db that is scanned, and where its scan goes on; `None` between two scans.
    db: Option<usize>,
    cursor: u64,
    /// When the scan began, in microseconds, and the allocations moved before.
    start_scan: u64,
    start_stat: i64,
    /// The first key of the db's `defrag_later` is in work, and goes on here.
    later_current: bool,
    later_cursor: u64,
    /// Kept for the keys of a bucket, empty.
    keys: Vec<KeyRef>,
}

/// Adds what was moved and come by to the statistics, and starts from 0 again.
fn count(server: &mut Server, moves: &mut Defrag) {
    let Defrag { hits, misses, scanned, .. } = std::mem::take(moves);
    server.stat_active_defrag_hits += hits;
    server.stat_active_defrag_misses += misses;
    server.stat_active_defrag_scanned += scanned;
}

/// Moves what the node of a sorted set has outside of it.
fn activeDefragZsetEntry(zsl: &mut Zskiplist, node: u64, moves: &mut Defrag) {
    zslDefrag(zsl, node as u32, moves);
}

/// Moves the entries of a table, each by `entry`, and its chained buckets.
fn activeDefragSdsDict<E: DictEntry>(
    d: &mut Dict<E>,
    moves: &mut Defrag,
    mut entry: impl FnMut(&mut E, &mut Defrag),
) {
    let mut cursor = 0;
    loop {
        cursor = dict_defrag_scan(d, cursor, moves, &mut entry);
        if cursor == 0 {
            return;
        }
    }
}

/// Moves a list and a set of the same strings: they are made again.
fn activeDefragSdsListAndDict(
    l: &mut VecDeque<ScriptSha>,
    d: &mut HashSet<ScriptSha>,
    moves: &mut Defrag,
) {
    if l.front().is_some_and(|first| moves.is_worth_moving(first)) {
        *l = moves.without_tcache(|| l.clone());
    }
    if d.iter().next().is_some_and(|any| moves.is_worth_moving(any)) {
        *d = moves.without_tcache(|| d.clone());
    }
}

/// Puts a key with many elements off, so that the scan of the keys need not wait for it.
fn defragLater(db: &mut RedisDb, k: KeyRef) {
    let key = db.dict.key(k).into();
    db.defrag_later.push_back(key);
}

/// The number of nodes of a list or stream after which the clock is looked at.
const NODES_PER_LOOK: u32 = 128;

/// Calls `node` with the numbers of nodes of an arena from `cursor` on, until it returns `false`,
/// which is the end, or `endtime`. `true`: it is late, and `cursor` is where to go on. 0 is where a
/// walk begins, and what is left of one that has come to its end.
fn walk_nodes(cursor: &mut u64, endtime: u64, mut node: impl FnMut(u32) -> bool) -> bool {
    let mut iterations = 0;
    for id in *cursor as u32.. {
        if !node(id) {
            break;
        }
        iterations += 1;
        if iterations > NODES_PER_LOOK {
            if getMonotonicUs() > endtime {
                *cursor = u64::from(id) + 1;
                return true;
            }
            iterations = 0;
        }
    }
    *cursor = 0;
    false
}

/// Goes on with a list of many nodes. `true`: the time is up, and there is more.
fn scanLaterList(
    ks: &mut Keyspace,
    k: KeyRef,
    cursor: &mut u64,
    endtime: u64,
    moves: &mut Defrag,
) -> bool {
    let ql = ks.list_mut(k);
    walk_nodes(cursor, endtime, |id| {
        moves.scanned += 1;
        activeDefragQuickListNode(ql, id, moves)
    })
}

/// Goes on with a sorted set of many members: a bucket of its table.
fn scanLaterZset(ks: &mut Keyspace, k: KeyRef, cursor: &mut u64, moves: &mut Defrag) {
    *cursor = match ks.outside_mut::<Zset>(k).as_deref_mut() {
        Some(Zset::Skiplist(zs)) => {
            let zset { zsl, dict, .. } = &mut **zs;
            dict.defrag_scan(*cursor, moves, |node, moves| {
                moves.scanned += 1;
                activeDefragZsetEntry(zsl, node, moves);
            })
        }
        _ => 0,
    };
}

/// Goes on with a set of many members: a bucket.
fn scanLaterSet(ks: &mut Keyspace, k: KeyRef, cursor: &mut u64, moves: &mut Defrag) {
    *cursor = match ks.outside_mut::<Set>(k).as_deref_mut() {
        Some(Set::Ht(d)) => dict_defrag_scan(d, *cursor, moves, |member, moves| {
            moves.scanned += 1;
            member.defrag(moves);
        }),
        _ => 0,
    };
}

/// Goes on with a hash of many fields: a bucket.
fn scanLaterHash(ks: &mut Keyspace, k: KeyRef, cursor: &mut u64, moves: &mut Defrag) {
    *cursor = match ks.outside_mut::<Hash>(k).as_deref_mut() {
        Some(Hash::Ht(d)) => dict_defrag_scan(d, *cursor, moves, |pair, moves| {
            moves.scanned += 1;
            pair.defrag(moves);
        }),
        _ => 0,
    };
}

/// Moves a list; its nodes only if they are not too many. `true`: they are.
fn defragQuicklist(ks: &mut Keyspace, k: KeyRef, max: u64, moves: &mut Defrag) -> bool {
    let ql = ks.list_mut(k);
    ql.defrag_arena(moves);
    if ql.len() as u64 > max {
        return true;
    }
    activeDefragQuickListNodes(ql, moves);
    false
}

/// Moves a sorted set; its members only if they are not too many. `true`: they are.
fn defragZsetSkiplist(zs: &mut Box<zset>, max: u64, moves: &mut Defrag) -> bool {
    moves.boxed(zs);
    let zset { zsl, dict, .. } = &mut **zs;
    zsl.defrag_arenas(moves);
    dict.defrag_tables(moves);
    if dict.len() as u64 > max {
        return true;
    }
    let mut cursor = 0;
    loop {
        cursor = dict.defrag_scan(cursor, moves, |node, moves| {
            activeDefragZsetEntry(zsl, node, moves);
        });
        if cursor == 0 {
            return false;
        }
    }
}

/// Moves a hash; its fields and values only if they are not too many. `true`: they are.
fn defragHash(d: &mut Box<Dict<PairEntry>>, max: u64, moves: &mut Defrag) -> bool {
    let later = dictSize(d) as u64 > max;
    if !later {
        activeDefragSdsDict(d, moves, |pair, moves| pair.defrag(moves));
    }
    moves.boxed(d);
    dictDefragTables(d, moves);
    later
}

/// Moves a set; its members only if they are not too many. `true`: they are.
fn defragSet(d: &mut Box<Dict<SdsEntry>>, max: u64, moves: &mut Defrag) -> bool {
    let later = dictSize(d) as u64 > max;
    if !later {
        activeDefragSdsDict(d, moves, |member, moves| member.defrag(moves));
    }
    moves.boxed(d);
    dictDefragTables(d, moves);
    later
}

/// Goes on with a stream of many listpacks. `true`: the time is up, and there is more.
fn scanLaterStreamListpacks(
    ks: &mut Keyspace,
    k: KeyRef,
    cursor: &mut u64,
    endtime: u64,
    moves: &mut Defrag,
) -> bool {
    let s = ks.stream_mut(k);
    walk_nodes(cursor, endtime, |id| {
        moves.scanned += 1;
        defragRaxNode(&mut s.rax, id, moves, |lp, moves| lp.defrag(moves))
    })
}

/// Moves a radix tree and its nodes, and calls `element_cb` for each value.
fn defragRadixTree<V>(
    rax: &mut Rax<V>,
    moves: &mut Defrag,
    mut element_cb: impl FnMut(&mut V, &mut Defrag),
) {
    rax.defrag_arena(moves);
    let mut id = 0;
    while defragRaxNode(rax, id, moves, &mut element_cb) {
        id += 1;
    }
}

/// Moves what a consumer has: its name, and its pending entries.
fn defragStreamConsumer(c: &mut streamConsumer, moves: &mut Defrag) {
    moves.vec(&mut c.name);
    defragRadixTree(&mut c.pel, moves, |_, _| ());
}

/// Moves what a consumer group has: its consumers, and its pending entries, which are in the nodes
/// of the tree.
fn defragStreamConsumerGroup(cg: &mut streamCG, moves: &mut Defrag) {
    let (names, consumers, free) = cg.consumers.parts_mut();
    defragRadixTree(names, moves, |_, _| ());
    moves.vec(consumers);
    moves.vec(free);
    for c in consumers.iter_mut().flatten() {
        defragStreamConsumer(c, moves);
    }
    defragRadixTree(&mut cg.pel, moves, |_, _| ());
}

/// Moves a stream and its groups; its listpacks only if they are not too many. `true`: they are.
fn defragStream(ks: &mut Keyspace, k: KeyRef, max: u64, moves: &mut Defrag) -> bool {
    let Some(mut s) = ks.outside_mut::<Box<Stream>>(k) else { return false };
    moves.boxed(&mut s);
    let later = raxSize(&s.rax) > max;
    if later {
        s.rax.defrag_arena(moves);
    } else {
        defragRadixTree(&mut s.rax, moves, |lp, moves| lp.defrag(moves));
    }
    if let Some(cgroups) = &mut s.cgroups {
        defragRadixTree(cgroups, moves, defragStreamConsumerGroup);
    }
    later
}

/// Moves a value that is nothing but bytes. `false`: none is too large to be moved at once.
fn defrag_packed(value: &mut impl Packed, moves: &mut Defrag) -> bool {
    value.defrag(moves);
    false
}

/// Moves a key and its value, as far as that is worth it. A value of more than `max` elements is
/// put off: see [`defragLater`].
fn defragKey(db: &mut RedisDb, k: KeyRef, max: u64, moves: &mut Defrag) {
    // The block with the key, its time of expiry and what is small; and a string outside of it.
    let k = db.dict.activeDefragStringOb(k, moves);
    let ks = &mut db.dict;
    let later = match ks.type_of(k) {
        OBJ_LIST => defragQuicklist(ks, k, max, moves),
        OBJ_SET => match ks.outside_mut::<Set>(k).as_deref_mut() {
            Some(Set::Ht(d)) => defragSet(d, max, moves),
            Some(Set::Intset(is)) => defrag_packed(is, moves),
            Some(Set::Strings(set)) => defrag_packed(set, moves),
            None => false,
        },
        OBJ_ZSET => match ks.outside_mut::<Zset>(k).as_deref_mut() {
            Some(Zset::Skiplist(zs)) => defragZsetSkiplist(zs, max, moves),
            Some(Zset::Ziplist(zl)) => defrag_packed(zl, moves),
            None => false,
        },
        OBJ_HASH => match ks.outside_mut::<Hash>(k).as_deref_mut() {
            Some(Hash::Ht(d)) => defragHash(d, max, moves),
            Some(Hash::Ziplist(zl)) => defrag_packed(zl, moves),
            None => false,
        },
        OBJ_STREAM => defragStream(ks, k, max, moves),
        _ => false,
    };
    if later {
        defragLater(db, k);
    }
}

/// Moves a key that the scan of a db has come to, and counts it.
fn defragScanCallback(server: &mut Server, db: usize, k: KeyRef, moves: &mut Defrag) {
    let before = moves.hits;
    defragKey(&mut server.db[db], k, server.active_defrag_max_scan_fields, moves);
    if moves.hits != before {
        server.stat_active_defrag_key_hits += 1;
    } else {
        server.stat_active_defrag_key_misses += 1;
    }
    moves.scanned += 1;
}

/// Moves the keys of a bucket of a db and what the bucket itself is made of. Returns the next
/// cursor.
// C: `dictScan` with two callbacks. Here the keys are collected first, since the table is borrowed
// while it is scanned.
fn defrag_bucket(server: &mut Server, db: usize, cursor: u64) -> u64 {
    let mut moves = Defrag::new();
    let mut keys = std::mem::take(&mut server.defrag.keys);
    server.db[db].dict.defrag_buckets(cursor, &mut moves);
    let next = server.db[db].dict.scan(cursor, |k| keys.push(k));
    for k in keys.drain(..) {
        defragScanCallback(server, db, k, &mut moves);
    }
    server.defrag.keys = keys;
    count(server, &mut moves);
    next
}

/// Returns how much of the allocator's pages is not in use, in per cent of what is, and in bytes.
///
/// Only pages that hold allocations count, none that the allocator keeps to spare: nothing could be
/// done about those, and a scan for their sake would never end.
fn getAllocatorFragmentation() -> (f32, usize) {
    let info = zmalloc_get_allocator_info();
    let (allocated, active, resident) = (info.allocated, info.active, info.resident);
    let percent = |bytes: usize| bytes as f32 / allocated as f32 * 100.0 - 100.0;
    let (frag_pct, rss_pct) = (percent(active), percent(resident));
    let (frag_bytes, rss_bytes) =
        (active.wrapping_sub(allocated), resident.wrapping_sub(allocated));
    serverLog!(
        LL_DEBUG,
        "allocated={}, active={}, resident={}, frag={:.0}% ({:.0}% rss), frag_bytes={} ({} rss)",
        allocated,
        active,
        resident,
        frag_pct,
        rss_pct,
        frag_bytes,
        rss_bytes
    );
    (frag_pct, frag_bytes)
}

/// Moves what lives long and is in no db: the scripts. It may be little, but one small allocation
/// can hold a whole slab.
fn defragOtherGlobals(server: &mut Server) {
    let mut moves = Defrag::new();
    defrag_scripts(&mut server.lua_scripts, &mut moves);
    activeDefragSdsListAndDict(
        &mut server.repl_scriptcache_fifo,
        &mut server.repl_scriptcache_dict,
        &mut moves,
    );
    count(server, &mut moves);
}

/// Moves the texts of scripts, but for one that runs, and the map that they are in.
fn defrag_scripts(scripts: &mut BTreeMap<ScriptSha, Arc<[u8]>>, moves: &mut Defrag) {
    let mut texts = Vec::new();
    let mut nodes = 0;
    for (sha, text) in scripts.iter() {
        if Arc::strong_count(text) == 1 && moves.is_worth_moving(text.as_ptr()) {
            texts.push(*sha);
        }
        // The key is somewhere in a node of the map.
        nodes += usize::from(moves.is_worth_moving(sha));
    }
    // To make the map again is worth it for more than a node or two.
    let remake = nodes * 8 > scripts.len();
    if texts.is_empty() && !remake {
        return;
    }
    moves.without_tcache(|| {
        for sha in &texts {
            if let Some(text) = scripts.get_mut(sha) {
                *text = Arc::from(&text[..]);
            }
        }
        if remake {
            *scripts = std::mem::take(scripts).into_iter().collect();
        }
    });
}

/// Goes on with a key that was put off. `true`: the time is up, and there is more, or maybe; else
/// there is more if the cursor is not 0.
fn defragLaterItem(
    ks: &mut Keyspace,
    k: Option<KeyRef>,
    cursor: &mut u64,
    endtime: u64,
    moves: &mut Defrag,
) -> bool {
    // It may have been deleted meanwhile, or be of another type.
    match k.map(|k| (k, ks.type_of(k))) {
        Some((k, OBJ_LIST)) => return scanLaterList(ks, k, cursor, endtime, moves),
        Some((k, OBJ_SET)) => scanLaterSet(ks, k, cursor, moves),
        Some((k, OBJ_ZSET)) => scanLaterZset(ks, k, cursor, moves),
        Some((k, OBJ_HASH)) => scanLaterHash(ks, k, cursor, moves),
        Some((k, OBJ_STREAM)) => return scanLaterStreamListpacks(ks, k, cursor, endtime, moves),
        _ => *cursor = 0,
    }
    false
}

/// Counts a large key by whether anything of it was moved since there were `before` hits.
fn count_large_key(server: &mut Server, before: i64) {
    if server.stat_active_defrag_hits != before {
        server.stat_active_defrag_key_hits += 1;
    } else {
        server.stat_active_defrag_key_misses += 1;
    }
}

/// Goes on with the keys of a db that were put off. `true`: the time is up, and there is more.
fn defragLaterStep(server: &mut Server, db: usize, endtime: u64) -> bool {
    let mut iterations = 0;
    let mut prev_defragged = server.stat_active_defrag_hits;
    let mut prev_scanned = server.stat_active_defrag_scanned;
    loop {
        // No key is in the middle: take the next one.
        if server.defrag.later_cursor == 0 {
            if std::mem::take(&mut server.defrag.later_current) {
                server.db[db].defrag_later.pop_front();
            }
            if server.db[db].defrag_later.is_empty() {
                return false;
            }
            server.defrag.later_current = true;
        }

        let key_defragged = server.stat_active_defrag_hits;
        loop {
            // Looked up each time: anything may have happened to it.
            let RedisDb { dict: ks, defrag_later, .. } = &mut server.db[db];
            let k = defrag_later.front().and_then(|key| ks.find(key));
            let mut moves = Defrag::new();
            let cursor = &mut server.defrag.later_cursor;
            let quit = defragLaterItem(ks, k, cursor, endtime, &mut moves);
            count(server, &mut moves);

            // The clock is looked at once in 16 steps, or more often where one does much.
            iterations += 1;
            if quit
                || iterations > 16
                || server.stat_active_defrag_hits - prev_defragged > 512
                || server.stat_active_defrag_scanned - prev_scanned > 64
            {
                if quit || getMonotonicUs() > endtime {
                    count_large_key(server, key_defragged);
                    return true;
                }
                iterations = 0;
                prev_defragged = server.stat_active_defrag_hits;
                prev_scanned = server.stat_active_defrag_scanned;
            }
            if server.defrag.later_cursor == 0 {
                break;
            }
        }
        count_large_key(server, key_defragged);
    }
}

/// Maps `x` from the range `x1` to `x2` to the range `y1` to `y2`.
fn INTERPOLATE(x: f32, x1: f32, x2: f32, y1: f32, y2: f32) -> f32 {
    y1 + (x - x1) * (y2 - y1) / (x2 - x1)
}

/// Brings `y` within its bounds.
fn LIMIT(y: i32, min: i32, max: i32) -> i32 {
    // Not `clamp`: the bounds are configured, and the lower one may be above the other.
    if y < min { min } else { y.min(max) }
}

/// Decides whether a scan is needed, and how much of the time it may take.
fn computeDefragCycles(server: &mut Server) {
    let (frag_pct, frag_bytes) = getAllocatorFragmentation();
    let (lower, upper) =
        (server.active_defrag_threshold_lower, server.active_defrag_threshold_upper);
    let (min, max) = (server.active_defrag_cycle_min, server.active_defrag_cycle_max);
    if server.active_defrag_running == 0
        && (frag_pct < lower as f32 || frag_bytes < server.active_defrag_ignore_bytes)
    {
        return;
    }

    // The more there is to gain, the harder we try.
    let cpu_pct = INTERPOLATE(frag_pct, lower as f32, upper as f32, min as f32, max as f32) as i32;
    let cpu_pct = LIMIT(cpu_pct, min, max);
    // While a scan runs it may get more time, not less.
    if cpu_pct > server.active_defrag_running {
        server.active_defrag_running = cpu_pct;
        serverLog!(
            LL_VERBOSE,
            "Starting active defrag, frag={:.0}%, frag_bytes={}, cpu={}%",
            frag_pct,
            frag_bytes,
            cpu_pct
        );
    }
}

/// Does a part of a scan, from the cron: for as many per cent of the time as
/// `server.active_defrag_running` says, which is 0 as long as nothing is to be done. The next call
/// goes on.
pub fn activeDefragCycle(server: &mut Server) {
    if !server.active_defrag_enabled {
        if server.active_defrag_running != 0 {
            // Switched off in the middle of a scan: the next one starts afresh.
            server.active_defrag_running = 0;
            if let Some(db) = server.defrag.db {
                server.db[db].defrag_later.clear();
            }
            server.defrag = DefragState::default();
        }
        return;
    }

    // Nobody can say what is worth moving; the start has said so.
    if !have_defrag() {
        return;
    }
    // Under a forked child moving copies pages, and frees none.
    if hasActiveChildProcess(server) {
        return;
    }

    // Once a second: is a scan worth it, or should the one that runs try harder?
    if run_with_period(server, 1000) {
        computeDefragCycles(server);
    }
    if server.active_defrag_running == 0 {
        return;
    }

    let start = getMonotonicUs();
    let timelimit =
        1_000_000 * i64::from(server.active_defrag_running) / i64::from(server.hz) / 100;
    let endtime = start + timelimit.max(1) as u64;
    let mut latency = latencyStartMonitor(server);
    defrag_until(server, endtime);
    latencyEndMonitor(server, &mut latency);
    latencyAddSampleIfNeeded(server, "active-defrag-cycle", latency);
}

/// Scans the dbs until `endtime`, or until all are scanned.
fn defrag_until(server: &mut Server, endtime: u64) {
    let mut iterations = 0;
    let mut prev_defragged = server.stat_active_defrag_hits;
    let mut prev_scanned = server.stat_active_defrag_scanned;
    loop {
        if server.defrag.cursor == 0 {
            // What was put off in this db comes before the next db.
            if let Some(db) = server.defrag.db
                && defragLaterStep(server, db, endtime)
            {
                return;
            }

            let db = server.defrag.db.map_or(0, |db| db + 1);
            if db >= server.dbnum {
                defragOtherGlobals(server);

                let now = getMonotonicUs();
                let (frag_pct, frag_bytes) = getAllocatorFragmentation();
                serverLog!(
                    LL_VERBOSE,
                    "Active defrag done in {}ms, reallocated={}, frag={:.0}%, frag_bytes={}",
                    (now - server.defrag.start_scan) / 1000,
                    server.stat_active_defrag_hits - server.defrag.start_stat,
                    frag_pct,
                    frag_bytes
                );

                server.defrag.start_scan = now;
                server.defrag.db = None;
                server.active_defrag_running = 0;

                // If another scan is needed it starts right away.
                computeDefragCycles(server);
                if server.active_defrag_running != 0 && getMonotonicUs() < endtime {
                    continue;
                }
                return;
            }
            if db == 0 {
                server.defrag.start_scan = getMonotonicUs();
                server.defrag.start_stat = server.stat_active_defrag_hits;
            }
            let mut moves = Defrag::new();
            server.db[db].dict.defrag_tables(&mut moves);
            count(server, &mut moves);
            server.defrag.db = Some(db);
        }
        let Some(db) = server.defrag.db else { return };

        loop {
            // Large keys of the last bucket come before the next bucket.
            if defragLaterStep(server, db, endtime) {
                return;
            }

            let cursor = server.defrag.cursor;
            server.defrag.cursor = defrag_bucket(server, db, cursor);

            // The clock is looked at once in 16 buckets, or more often where one has much. A db ends
            // the cycle in any case: what follows the last one is done in one go, and shall have all
            // of the time.
            iterations += 1;
            if server.defrag.cursor == 0
                || iterations > 16
                || server.stat_active_defrag_hits - prev_defragged > 512
                || server.stat_active_defrag_scanned - prev_scanned > 64
            {
                if server.defrag.cursor == 0 || getMonotonicUs() > endtime {
                    return;
                }
                iterations = 0;
                prev_defragged = server.stat_active_defrag_hits;
                prev_scanned = server.stat_active_defrag_scanned;
            }
        }
    }
}

#[cfg(test)]
mod tests;
