//! `lgc.c`: the collector.
//!
//! Differs: mark and sweep in one go instead of in steps. What is alive has the mark `currentwhite`, which
//! changes with every collection, so that a sweep writes only what it frees. A collection can happen where
//! the C's can ([`luaC_checkGC`]); finalizers run only where the host is at hand, which is at the end of
//! calls and where the interpreter allocates. A cached script is taken out of all this by [`luaC_fix`].

use std::rc::Rc;

use crate::ldo::{luaD_call, luaD_checkstack};
use crate::lfunc::{SIZE_CLOSURE, SIZE_UPVAL, proto_bytes};
use crate::lobject::*;
use crate::lstate::*;
use crate::lstring::{NO_STRING, SIZE_TSTRING, SIZE_UDATA, luaS_clearcache};
use crate::ltable::{Table, dead_key};
use crate::ltm::{TM_GC, TM_MODE, fasttm};

/// A heap has to grow at least this much before the next collection.
const MIN_GROWTH: usize = 256 * 1024;
/// A step of `lua_gc` is at least this large, as the C's.
const GCSTEPSIZE: usize = 1024;
/// `LUA_GCSTEP` leaves a heap alone that has grown less than this since the last collection, or less than half
/// of what a collection has to look at.
const SMALL_GROWTH: usize = 48 * 1024;

/// Collects, if enough was allocated since the last time. Called at the points where the C may collect:
/// everything that is alive has to be on a stack.
#[inline(always)]
pub fn luaC_checkGC<H>(L: &mut lua_State<H>) {
    if L.g.totalbytes >= L.g.GCthreshold {
        luaC_collect(L);
    }
}

/// [`luaC_checkGC`] where the host is at hand: finalizers that wait are called, and the limit is looked at.
#[inline(always)]
pub fn luaC_checkGC_host<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<()> {
    if L.g.totalbytes >= L.g.GCthreshold || L.g.tmwait {
        return checkGC_slow(L, host);
    }
    Ok(())
}

#[cold]
#[inline(never)]
fn checkGC_slow<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<()> {
    luaC_checkGC(L);
    crate::lmem::luaM_checkmem(L)?;
    if L.g.tmwait { luaC_callGCTM(L, host) } else { Ok(()) }
}

/// The marks of all arenas, and what is marked but not looked at yet.
struct Marker<'a> {
    strings: &'a mut [u8],
    tables: &'a mut [u8],
    lclosures: &'a mut [u8],
    cclosures: &'a mut [u8],
    upvals: &'a mut [u8],
    udata: &'a mut [u8],
    threads: &'a mut [u8],
    gray: Vec<TValue>,
    graythreads: Vec<ThreadRef>,
    weak: Vec<(TableRef, bool, bool)>,
    current: u8,
    /// The bytes of the tables that were looked at.
    traversed: usize,
}

/// Marks a slot; true if it was not marked.
#[inline(always)]
fn white(marks: &mut [u8], i: u32, current: u8) -> bool {
    let m = &mut marks[i as usize];
    debug_assert!(*m != FREE, "a collected object is reachable");
    if *m == current || *m == FIXED {
        return false;
    }
    *m = current;
    true
}

impl Marker<'_> {
    /// `markvalue`.
    #[inline(always)]
    fn mark(&mut self, v: TValue) {
        let c = self.current;
        match v {
            Str(s) => {
                white(self.strings, s.idx(), c);
            }
            Tab(r) => {
                if white(self.tables, r.idx(), c) {
                    self.gray.push(v);
                }
            }
            LFunction(r) => {
                if white(self.lclosures, r.idx(), c) {
                    self.gray.push(v);
                }
            }
            CFunction(r) => {
                if white(self.cclosures, r.idx(), c) {
                    self.gray.push(v);
                }
            }
            Userdata(r) => {
                if white(self.udata, r.idx(), c) {
                    self.gray.push(v);
                }
            }
            Thread(r) => {
                if white(self.threads, r.idx(), c) {
                    self.graythreads.push(r);
                }
            }
            Nil | Boolean(_) | LightUserdata(_) | Number(_) | TValue::DeadKey(_) => {}
        }
    }

    fn mark_proto(&mut self, p: &Proto) {
        if p.marked.get() == self.current || p.marked.get() == FIXED {
            return;
        }
        p.marked.set(self.current);
        self.mark(Str(p.source));
        for &k in &p.k {
            self.mark(k);
        }
        for &u in &p.upvalues {
            self.mark(Str(u));
        }
        for q in &p.p {
            self.mark_proto(q);
        }
        for v in &p.locvars {
            self.mark(Str(v.varname));
        }
    }

    /// `traversetable`: a weak one waits until everything is marked. Keys without a value die.
    fn traverse_table(&mut self, r: TableRef, h: &mut Table, weakkey: bool, weakvalue: bool) {
        self.traversed += h.bytes();
        if let Some(mt) = h.metatable {
            self.mark(Tab(mt));
        }
        if weakkey || weakvalue {
            self.weak.push((r, weakkey, weakvalue));
        }
        if weakkey && weakvalue {
            return;
        }
        if !weakvalue {
            for &v in &h.array {
                self.mark(v);
            }
        }
        for n in &mut h.node {
            if n.i_val.is_nil() {
                remove_entry(&mut n.i_key);
            } else {
                if !weakkey {
                    self.mark(n.i_key);
                }
                if !weakvalue {
                    self.mark(n.i_val);
                }
            }
        }
    }

    /// `iscleared`: was a value of a weak table collected? Strings are values, never weak.
    fn is_cleared<H>(&mut self, g: &Shared<'_, H>, v: TValue, iskey: bool) -> bool {
        let dead = |m: u8| m != self.current && m != FIXED;
        match v {
            Str(s) => {
                white(self.strings, s.idx(), self.current);
                false
            }
            Tab(r) => dead(self.tables[r.idx() as usize]),
            LFunction(r) => dead(self.lclosures[r.idx() as usize]),
            CFunction(r) => dead(self.cclosures[r.idx() as usize]),
            Thread(r) => dead(self.threads[r.idx() as usize]),
            Userdata(r) => {
                dead(self.udata[r.idx() as usize])
                    || !iskey
                        && g.udata[r.idx() as usize].as_ref().is_some_and(|u| u.finalized.get())
            }
            _ => false,
        }
    }
}

fn remove_entry(key: &mut TValue) {
    if let Some(d) = dead_key(*key) {
        *key = TValue::DeadKey(d);
    }
}

/// The objects that a mark looks into, apart from their marks.
struct Shared<'a, H> {
    strings: &'a [TString],
    tables: &'a mut [Table],
    lclosures: &'a [Option<Rc<LClosure>>],
    cclosures: &'a [Option<CClosure<H>>],
    upvals: &'a [UpVal],
    udata: &'a [Option<Box<Udata>>],
    threads: &'a mut [Option<Box<LuaThread<H>>>],
    /// Bytes of stacks that were freed.
    freed: usize,
}

/// `traversestack`: marks what is below the top, and clears what is between it and the ends of the frames,
/// where old values may lie about. A stack of which little is used is halved; the bytes that were freed.
fn traverse_stack(
    m: &mut Marker<'_>,
    stack: &mut Vec<TValue>,
    top: StkId,
    ci: &[CallInfo],
    size_ci: &mut usize,
) -> usize {
    let lim = ci.iter().map(|ci| ci.top).fold(top, usize::max);
    for &v in &stack[..top] {
        m.mark(v);
    }
    let end = (lim + 1).min(stack.len());
    stack[top..end].fill(Nil);
    // checkstacksizes
    if *size_ci <= LUAI_MAXCALLS && 4 * (ci.len() - 1) < *size_ci && 16 < *size_ci {
        *size_ci /= 2;
    }
    let size = stack.len();
    if 4 * (end + WINDOW) >= size || size <= 2 * (BASIC_STACK_SIZE + WINDOW) {
        return 0;
    }
    stack.truncate(size / 2);
    stack.shrink_to_fit();
    (size - size / 2) * 16
}

/// `propagateall`.
fn propagate<H>(
    m: &mut Marker<'_>,
    g: &mut Shared<'_, H>,
    running: Running<'_>,
    mode_name: StrRef,
) {
    loop {
        if let Some(v) = m.gray.pop() {
            match v {
                Tab(r) => {
                    let mode = match g.tables[r.idx() as usize].metatable {
                        Some(mt) => g.tables[mt.idx() as usize].getstr(mode_name),
                        None => Nil,
                    };
                    let (mut weakkey, mut weakvalue) = (false, false);
                    if let Str(s) = mode {
                        let mode = &g.strings[s.idx() as usize].data;
                        let mode = mode.split(|&c| c == 0).next().unwrap_or_default();
                        weakkey = mode.contains(&b'k');
                        weakvalue = mode.contains(&b'v');
                    }
                    m.traverse_table(r, &mut g.tables[r.idx() as usize], weakkey, weakvalue);
                }
                LFunction(r) => {
                    if let Some(cl) = &g.lclosures[r.idx() as usize] {
                        m.mark(Tab(cl.env.get()));
                        m.mark_proto(&cl.p);
                        for &u in &cl.upvals {
                            mark_upval(m, g, running, u);
                        }
                    }
                }
                CFunction(r) => {
                    if let Some(cl) = &g.cclosures[r.idx() as usize] {
                        m.mark(Tab(cl.env));
                        for &v in &cl.upvalue {
                            m.mark(v);
                        }
                    }
                }
                Userdata(r) => {
                    if let Some(u) = &g.udata[r.idx() as usize] {
                        if let Some(mt) = u.metatable {
                            m.mark(Tab(mt));
                        }
                        m.mark(Tab(u.env));
                    }
                }
                _ => {}
            }
        } else if let Some(t) = m.graythreads.pop() {
            // The running thread is not in its slot: it is marked as a root.
            if let Some(t) = &mut g.threads[t.idx() as usize] {
                m.mark(Tab(t.l_gt));
                g.freed += traverse_stack(m, &mut t.stack, t.top, &t.ci, &mut t.size_ci);
                for &u in &t.openupval {
                    white(m.upvals, u.idx(), m.current);
                }
            }
        } else {
            return;
        }
    }
}

/// The stack of the running thread, for upvalues that are open in it.
#[derive(Clone, Copy)]
struct Running<'a> {
    thread: ThreadRef,
    stack: &'a [TValue],
}

/// An open upvalue keeps its value alive even where its thread is not.
fn mark_upval<H>(m: &mut Marker<'_>, g: &Shared<'_, H>, running: Running<'_>, u: UpValRef) {
    if !white(m.upvals, u.idx(), m.current) {
        return;
    }
    match g.upvals[u.idx() as usize] {
        UpVal::Closed(v) => m.mark(v),
        UpVal::Open { thread, level } if thread == running.thread => {
            m.mark(running.stack[level as usize])
        }
        UpVal::Open { thread, level } => {
            if let Some(t) = &g.threads[thread.idx() as usize] {
                m.mark(t.stack[level as usize]);
            }
        }
    }
}

/// A whole collection, but for the finalizers: they wait in `tmudata`.
#[cold]
#[inline(never)]
pub fn luaC_collect<H>(L: &mut lua_State<H>) {
    let old = L.g.currentwhite;
    let current = 3 - old;
    L.g.currentwhite = current;
    let mode_name = L.g.tmname[TM_MODE];
    let (string_marks, strings) = L.g.strings.split();
    let (table_marks, tables) = L.g.tables.split();
    let (lclosure_marks, lclosures) = L.g.lclosures.split();
    let (cclosure_marks, cclosures) = L.g.cclosures.split();
    let (upval_marks, upvals) = L.g.upvals.split();
    let (udata_marks, udata) = L.g.udata.split();
    let (thread_marks, threads) = L.g.threads.split();
    let mut m = Marker {
        strings: string_marks,
        tables: table_marks,
        lclosures: lclosure_marks,
        cclosures: cclosure_marks,
        upvals: upval_marks,
        udata: udata_marks,
        threads: thread_marks,
        gray: Vec::new(),
        graythreads: Vec::new(),
        weak: Vec::new(),
        current,
        traversed: 0,
    };
    let mut g = Shared { strings, tables, lclosures, cclosures, upvals, udata, threads, freed: 0 };
    // The roots. The main thread is never collected, hence not found by its mark.
    g.freed += traverse_stack(&mut m, &mut L.th.stack, L.th.top, &L.th.ci, &mut L.th.size_ci);
    for &u in &L.th.openupval {
        white(m.upvals, u.idx(), current);
    }
    m.mark(Tab(L.th.l_gt));
    m.mark(Tab(L.g.l_registry));
    m.mark(L.errorvalue);
    m.mark(Thread(L.thread));
    if L.thread != L.g.mainthread {
        m.graythreads.push(L.g.mainthread);
    }
    for mt in L.g.mt.into_iter().flatten() {
        m.mark(Tab(mt));
    }
    if let Some(env) = L.g.fixedenv {
        m.mark(Tab(env));
    }
    for &f in &L.g.fixed {
        if let Some(cl) = &g.lclosures[f.idx() as usize] {
            m.mark(Tab(cl.env.get()));
        }
    }
    for &u in &L.g.tmudata {
        m.mark(Userdata(u));
    }
    let running = Running { thread: L.thread, stack: &L.th.stack };
    propagate(&mut m, &mut g, running, mode_name);
    // Userdata that need a finalizer live on until it was called.
    let gc_name = L.g.tmname[TM_GC];
    for &u in L.g.udatalist.iter().rev() {
        let i = u.idx() as usize;
        if m.udata[i] == current || m.udata[i] == FIXED {
            continue;
        }
        let Some(ud) = &g.udata[i] else { continue };
        if ud.finalized.get() {
            continue;
        }
        let tm = match ud.metatable {
            Some(mt) => g.tables[mt.idx() as usize].getstr(gc_name),
            None => Nil,
        };
        if !tm.is_nil() {
            ud.finalized.set(true);
            L.g.tmudata.push_back(u);
        }
    }
    for &u in &L.g.tmudata {
        m.mark(Userdata(u));
    }
    propagate(&mut m, &mut g, running, mode_name);
    clear_tables(&mut m, &mut g);
    L.g.totalbytes -= g.freed.min(L.g.totalbytes);
    L.g.traversed = m.traversed;
    sweep(L, old);
    let g = &mut L.g;
    g.tmwait = !g.tmudata.is_empty();
    g.estimate = g.totalbytes;
    g.gcdept = 0;
    // What is never collected is not worth waiting for.
    let live = g.estimate - g.fixedbytes.min(g.estimate);
    let pause = (live / 100).saturating_mul(g.gcpause.max(0) as usize);
    g.GCthreshold =
        if g.gcstress { 0 } else { g.fixedbytes.saturating_add(pause.max(live + MIN_GROWTH)) };
}

/// `cleartable`: entries of weak tables whose key or value was collected go away.
fn clear_tables<H>(m: &mut Marker<'_>, g: &mut Shared<'_, H>) {
    for (r, _, weakvalue) in std::mem::take(&mut m.weak) {
        let mut h = std::mem::take(&mut g.tables[r.idx() as usize]);
        if weakvalue {
            for v in &mut h.array {
                if m.is_cleared(g, *v, false) {
                    *v = Nil;
                }
            }
        }
        for n in &mut h.node {
            if !n.i_val.is_nil()
                && (m.is_cleared(g, n.i_key, true) || m.is_cleared(g, n.i_val, false))
            {
                n.i_val = Nil;
            }
            if n.i_val.is_nil() {
                remove_entry(&mut n.i_key);
            }
        }
        g.tables[r.idx() as usize] = h;
    }
}

/// The last slot of those before `end` that has the mark of what was not reached. The last one first: so the
/// first ones are handed out first.
#[inline]
fn last_dead<T: Item, R: ObjRef>(a: &Arena<T, R>, end: usize, old: u8) -> Option<usize> {
    match &a.marks()[..end] {
        // What was made one after the other mostly dies together.
        [before @ .., last] if *last == old => Some(before.len()),
        marks => memchr::memrchr(old, marks),
    }
}

fn sweep<H>(L: &mut lua_State<H>, old: u8) {
    let g = &mut L.g;
    let mut freed = 0;
    luaS_clearcache(g, old);
    // A thread that dies closes its upvalues; closures may still have them.
    let mut end = g.threads.slots();
    while let Some(i) = last_dead(&g.threads, end, old) {
        end = i;
        if let Some(t) = g.threads.slot_mut(i).take() {
            for &u in &t.openupval {
                if g.upvals.slot_mark(u.idx() as usize) != old
                    && let UpVal::Open { level, .. } = *g.upvals.get(u)
                {
                    *g.upvals.get_mut(u) = UpVal::Closed(t.stack[level as usize]);
                }
            }
            freed += t.bytes();
        }
        g.threads.release(i);
    }
    // An open upvalue that nobody refers to any more is still in the list of its thread, where it is marked.
    let mut end = g.upvals.slots();
    while let Some(i) = last_dead(&g.upvals, end, old) {
        end = i;
        g.upvals.release(i);
        freed += SIZE_UPVAL;
    }
    let mut end = g.strings.slots();
    while let Some(i) = last_dead(&g.strings, end, old) {
        end = i;
        let ts = g.strings.slot(i);
        freed += SIZE_TSTRING + ts.data.len() + 1;
        let (b, next) = (ts.hash as usize & (g.strt.len() - 1), ts.next);
        if g.strt[b] == i as u32 {
            g.strt[b] = next;
        } else {
            let mut o = g.strt[b];
            while o != NO_STRING {
                let ts = g.strings.slot_mut(o as usize);
                if ts.next == i as u32 {
                    ts.next = next;
                    break;
                }
                o = ts.next;
            }
        }
        g.nuse -= 1;
        g.strings.release(i);
    }
    let mut end = g.tables.slots();
    while let Some(i) = last_dead(&g.tables, end, old) {
        end = i;
        freed += g.tables.slot(i).bytes();
        g.tables.release(i);
    }
    let mut end = g.lclosures.slots();
    while let Some(i) = last_dead(&g.lclosures, end, old) {
        end = i;
        if let Some(c) = g.lclosures.slot(i) {
            freed += SIZE_CLOSURE + c.upvals.len() * 8;
        }
        g.lclosures.release(i);
    }
    let mut end = g.cclosures.slots();
    while let Some(i) = last_dead(&g.cclosures, end, old) {
        end = i;
        if let Some(c) = g.cclosures.slot(i) {
            freed += SIZE_CLOSURE + c.upvalue.len() * 16;
        }
        g.cclosures.release(i);
    }
    let udata = &g.udata;
    g.udatalist.retain(|u| udata.slot_mark(u.idx() as usize) != old);
    let mut end = g.udata.slots();
    while let Some(i) = last_dead(&g.udata, end, old) {
        end = i;
        if let Some(u) = g.udata.slot(i) {
            freed += SIZE_UDATA + u.len;
        }
        g.udata.release(i);
    }
    g.protos.retain(|p| {
        let alive = p.marked.get() != old;
        if !alive {
            freed += proto_bytes(p);
        }
        alive
    });
    g.totalbytes -= freed.min(g.totalbytes);
    // checkSizes: the buckets shrink when most are empty.
    if g.nuse < g.strt.len() / 4 && g.strt.len() > 64 {
        let size = g.strt.len() / 2;
        crate::lstring::luaS_resize(L, size);
    }
}

/// `luaC_separateudata`: all userdata with a finalizer wait for it now.
pub fn luaC_separateudata<H>(L: &mut lua_State<H>) {
    for i in (0..L.g.udatalist.len()).rev() {
        let r = L.g.udatalist[i];
        let Some(u) = L.g.udata.get_mut(r) else { continue };
        if u.finalized.replace(true) {
            continue;
        }
        let mt = u.metatable;
        if fasttm(&mut L.g, mt, TM_GC).is_some() {
            L.g.tmudata.push_back(r);
        }
    }
}

/// `luaC_callGCTM`: calls the finalizers that wait. An error in one is raised; the others wait on.
pub fn luaC_callGCTM<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<()> {
    // The calls in a finalizer do not end with the next one.
    L.g.tmwait = false;
    while let Some(&u) = L.g.tmudata.front() {
        // GCTM
        let mt = L.g.udata.get(u).as_ref().and_then(|u| u.metatable);
        let Some(tm) = fasttm(&mut L.g, mt, TM_GC) else {
            L.g.tmudata.pop_front();
            continue;
        };
        let oldah = std::mem::replace(&mut L.th.allowhook, false);
        let oldt = L.g.GCthreshold;
        if !L.g.gcstress {
            L.g.GCthreshold = L.g.totalbytes.saturating_mul(2);
        }
        luaD_checkstack(L, 2);
        let top = L.th.top;
        L.th.stack[top] = tm;
        L.th.stack[top + 1] = Userdata(u);
        L.th.top += 2;
        L.g.tmudata.pop_front();
        // An error leaves the threshold where it is now, as in the C, and the finalizers that are left
        // wait for the next collection. Were they called at the next chance, every script after
        // this one would get their errors.
        luaD_call(L, host, top, 0)?;
        L.th.allowhook = oldah;
        L.g.GCthreshold = oldt;
    }
    Ok(())
}

/// `luaC_fullgc`: a collection and its finalizers.
pub fn luaC_fullgc<H>(L: &mut lua_State<H>, host: &mut H) -> LuaResult<()> {
    luaC_collect(L);
    luaC_callGCTM(L, host)
}

/// A step of `size` bytes of work; true if it ended a cycle, that is, if there was a collection.
///
/// `lazy`: the steps are the host's own, from time to time; then a heap that has hardly grown is left alone.
pub fn luaC_step<H>(
    L: &mut lua_State<H>,
    host: &mut H,
    size: usize,
    lazy: bool,
) -> LuaResult<bool> {
    let work = size.max(GCSTEPSIZE) / 100 * L.g.gcstepmul.max(1) as usize;
    L.g.gcdept = L.g.gcdept.saturating_add(work);
    if L.g.gcdept < L.g.totalbytes - L.g.fixedbytes.min(L.g.totalbytes) {
        return Ok(false);
    }
    let growth = SMALL_GROWTH.max(L.g.traversed / 2);
    if lazy && L.g.totalbytes < L.g.estimate + growth && L.g.tmudata.is_empty() {
        L.g.gcdept = 0;
        return Ok(true);
    }
    luaC_fullgc(L, host)?;
    Ok(true)
}

/// Takes a function with its prototypes and constants out of collections; false if it has upvalues, which
/// would have to be looked at.
pub fn luaC_fix<H>(L: &mut lua_State<H>, f: LClosureRef) -> bool {
    if L.g.lclosures.mark_of(f) == FIXED {
        return true;
    }
    let Some(cl) = L.g.lclosures.get(f).clone() else { return false };
    if !cl.upvals.is_empty() {
        return false;
    }
    L.g.lclosures.set_mark(f, FIXED);
    if *L.g.fixedenv.get_or_insert(cl.env.get()) != cl.env.get() {
        L.g.fixed.push(f);
    }
    L.g.fixedbytes += SIZE_CLOSURE;
    fix_proto(L, &cl.p);
    L.g.protos.retain(|p| p.marked.get() != FIXED);
    true
}

/// Another environment for a Lua function.
pub fn luaC_setenv<H>(L: &mut lua_State<H>, f: LClosureRef, env: TableRef) {
    let Some(cl) = L.g.lclosures.get(f) else { return };
    cl.env.set(env);
    let fixed = L.g.lclosures.mark_of(f) == FIXED;
    if fixed && L.g.fixedenv != Some(env) && !L.g.fixed.contains(&f) {
        L.g.fixed.push(f);
    }
}

fn fix_proto<H>(L: &mut lua_State<H>, p: &Proto) {
    p.marked.set(FIXED);
    L.g.fixedbytes += proto_bytes(p);
    let names = p.upvalues.iter().copied().chain(p.locvars.iter().map(|v| v.varname));
    let constants = p.k.iter().filter_map(|k| match k {
        Str(s) => Some(*s),
        _ => None,
    });
    for s in names.chain(constants).chain([p.source]) {
        if L.g.strings.mark_of(s) != FIXED {
            L.g.strings.set_mark(s, FIXED);
            L.g.fixedbytes += SIZE_TSTRING + L.g.strings.get(s).data.len() + 1;
        }
    }
    for q in &p.p {
        fix_proto(L, q);
    }
}

/// Registers the prototypes of a chunk that was compiled.
pub fn luaC_linkproto<H>(L: &mut lua_State<H>, p: &Rc<Proto>) {
    p.marked.set(L.g.currentwhite);
    L.g.totalbytes += proto_bytes(p);
    L.g.protos.push(p.clone());
    for q in &p.p {
        luaC_linkproto(L, q);
    }
}
