//! `lstate.h` and `lstate.c`: what a state holds, and how it begins and ends.
//!
//! Differs: `lua_State` is the running thread and the global state in one. A coroutine that does not run
//! waits in the arena of threads; `lua_resume` swaps it in. Objects live in typed arenas.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::lapi::lua_checkstack;
use crate::ldebug::{LUA_MASKCOUNT, settrace};
use crate::lfunc::luaF_close;
use crate::lgc::{luaC_callGCTM, luaC_separateudata};
use crate::lobject::*;
use crate::lstring::{
    LITERALS, Literal, MINSTRTABSIZE, NOT_CACHED, STRCACHE, luaS_fix, luaS_new, luaS_resize,
};
use crate::ltable::Table;
use crate::ltable::luaH_new;
use crate::ltm::{TM_N, luaT_init};

/// Extra slots a function of the host finds above its arguments.
pub const LUA_MINSTACK: usize = 20;
pub const LUAI_MAXCALLS: usize = 20000;
pub const LUAI_MAXCSTACK: usize = 8000;
pub const LUAI_MAXCCALLS: u32 = 200;
pub const LUA_MULTRET: i32 = -1;

/// The registers an instruction can name: the window of the stack that the interpreter looks at.
pub const WINDOW: usize = 256;
pub const BASIC_STACK_SIZE: usize = 2 * LUA_MINSTACK;
const BASIC_CI_SIZE: usize = 8;
const LUAI_GCPAUSE: i32 = 200;
const LUAI_GCMUL: i32 = 200;

/// An index into the stack of the running thread.
pub type StkId = usize;

/// `LUA_OK` and its failures: what `lua_pcall`, `lua_load` and `lua_resume` answer.
pub const LUA_OK: i32 = 0;
pub const LUA_YIELD: i32 = 1;
pub const LUA_ERRRUN: i32 = 2;
pub const LUA_ERRSYNTAX: i32 = 3;
pub const LUA_ERRMEM: i32 = 4;
pub const LUA_ERRERR: i32 = 5;

/// What `longjmp` was: it travels up to the next protected call. Which error it is, is one of the
/// `LUA_ERR` constants; the value that was raised waits in `L.errorvalue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LuaError(pub u8);

pub type LuaResult<T> = Result<T, LuaError>;

/// A function of the host. Its arguments are at indices 1 to `lua_gettop`; `Ok(n)` says that the `n`
/// topmost values are its results.
pub type lua_CFunction<H> = fn(&mut lua_State<H>, &mut H) -> LuaResult<i32>;

/// A hook of the host.
pub type lua_Hook<H> = fn(&mut lua_State<H>, &mut H, &mut lua_Debug) -> LuaResult<()>;

/// What is known of an active function.
#[derive(Clone, Debug, Default)]
pub struct lua_Debug {
    pub event: i32,
    pub name: Option<LuaStr>,
    pub namewhat: &'static str,
    pub what: &'static str,
    pub source: LuaStr,
    pub currentline: i32,
    pub nups: i32,
    pub linedefined: i32,
    pub lastlinedefined: i32,
    pub short_src: Vec<u8>,
    /// The frame; 0 is a call that a tail call replaced.
    pub i_ci: usize,
}

/// A frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallInfo {
    pub base: StkId,
    pub func: StkId,
    pub top: StkId,
    /// The next instruction, when another frame runs.
    pub savedpc: usize,
    pub nresults: i32,
    pub tailcalls: i32,
}

/// An interned string in its arena.
#[derive(Clone, Default)]
pub struct TString {
    pub data: LuaStr,
    pub hash: u32,
    /// The next string in the bucket.
    pub next: u32,
    /// The number of a reserved word, or 0; for the lexer.
    pub reserved: u8,
}

/// A Lua function.
pub struct LClosure {
    pub p: Rc<Proto>,
    pub upvals: Box<[UpValRef]>,
    pub env: Cell<TableRef>,
}

/// A function of the host with its upvalues.
pub struct CClosure<H> {
    pub f: lua_CFunction<H>,
    pub upvalue: Box<[TValue]>,
    pub env: TableRef,
}

/// An upvalue: in a stack as long as its function runs, on its own afterwards.
#[derive(Clone, Copy, Debug)]
pub enum UpVal {
    Open { thread: ThreadRef, level: u32 },
    Closed(TValue),
}

/// A full userdata; the host's data is whatever it likes.
pub struct Udata {
    pub metatable: Option<TableRef>,
    pub env: TableRef,
    pub data: Box<dyn Any>,
    /// The size as `lua_objlen` tells it.
    pub len: usize,
    /// Its `__gc` was called, or is about to be.
    pub finalized: Cell<bool>,
}

/// What a thread has of its own: that of the running one is in the state, the others wait in the arena.
pub struct LuaThread<H> {
    pub stack: Vec<TValue>,
    pub base: StkId,
    pub top: StkId,
    pub savedpc: usize,
    pub ci: Vec<CallInfo>,
    /// How many frames there may be before the C would ask for more.
    pub size_ci: usize,
    pub openupval: Vec<UpValRef>,
    pub nCcalls: u32,
    pub baseCcalls: u32,
    pub status: u8,
    pub hook: Option<lua_Hook<H>>,
    pub hookmask: u8,
    pub allowhook: bool,
    pub basehookcount: i32,
    pub hookcount: i32,
    pub l_gt: TableRef,
    /// The stack slot of the error handler; 0 is none.
    pub errfunc: StkId,
}

/// Objects of one type. The marks lie apart, so that a sweep reads one byte an object. A free slot holds
/// the default of its type.
pub struct Arena<T, R> {
    items: Vec<T>,
    marks: Vec<u8>,
    free: Vec<u32>,
    #[cfg(debug_assertions)]
    gens: Vec<u32>,
    refs: std::marker::PhantomData<fn() -> R>,
}

/// The marks: a free slot, the two colours that take turns, and an object that is never collected.
pub const FREE: u8 = 0;
pub const FIXED: u8 = 3;

/// What an arena holds.
pub trait Item: Default {
    /// Lets go of everything; the slot is free.
    fn vacate(&mut self, _idx: usize) {
        *self = Self::default();
    }
}

impl Item for TString {}
impl Item for UpVal {}
impl<T> Item for Option<T> {}

impl<T: Item, R: ObjRef> Arena<T, R> {
    pub fn new() -> Self {
        Arena {
            items: Vec::new(),
            marks: Vec::new(),
            free: Vec::new(),
            #[cfg(debug_assertions)]
            gens: Vec::new(),
            refs: std::marker::PhantomData,
        }
    }

    /// A place for `v`, with its mark.
    #[inline]
    pub fn alloc(&mut self, v: T, mark: u8) -> R {
        let idx = self.place(v, mark);
        self.slot_ref(idx as usize)
    }

    /// A vacant slot, with its mark, to be filled where it lies.
    #[inline]
    pub fn occupy(&mut self, mark: u8) -> (R, &mut T) {
        let idx = match self.free.pop() {
            Some(i) => {
                self.marks[i as usize] = mark;
                i
            }
            None => self.place(T::default(), mark),
        };
        (self.slot_ref(idx as usize), &mut self.items[idx as usize])
    }

    /// [`alloc`](Arena::alloc) that gives the bare index.
    #[inline]
    pub fn place(&mut self, v: T, mark: u8) -> u32 {
        if let Some(i) = self.free.pop() {
            self.items[i as usize] = v;
            self.marks[i as usize] = mark;
            return i;
        }
        let i = u32::try_from(self.items.len()).expect("fewer than 2^32 objects");
        self.items.push(v);
        self.marks.push(mark);
        #[cfg(debug_assertions)]
        self.gens.push(0);
        i
    }

    #[inline(always)]
    fn check(&self, _r: R) {
        #[cfg(debug_assertions)]
        {
            let i = _r.idx() as usize;
            assert!(self.marks[i] != FREE, "a collected object is used");
            if size_of::<R>() == 8 && std::any::type_name::<R>().ends_with("StrRef") {
                return;
            }
            assert!(self.gens[i] == _r.gen_(), "an object is used in place of a collected one");
        }
    }

    #[inline(always)]
    pub fn get(&self, r: R) -> &T {
        self.check(r);
        &self.items[r.idx() as usize]
    }

    #[inline(always)]
    pub fn get_mut(&mut self, r: R) -> &mut T {
        self.check(r);
        &mut self.items[r.idx() as usize]
    }

    #[inline(always)]
    pub fn mark_of(&self, r: R) -> u8 {
        self.check(r);
        self.marks[r.idx() as usize]
    }

    #[inline(always)]
    pub fn set_mark(&mut self, r: R, mark: u8) {
        self.check(r);
        self.marks[r.idx() as usize] = mark;
    }

    /// How many slots there are, free ones included.
    pub fn slots(&self) -> usize {
        self.items.len()
    }

    pub fn slot_mark(&self, i: usize) -> u8 {
        self.marks[i]
    }

    pub fn slot(&self, i: usize) -> &T {
        &self.items[i]
    }

    pub fn slot_mut(&mut self, i: usize) -> &mut T {
        &mut self.items[i]
    }

    /// The reference to a slot that is in use.
    #[inline]
    pub fn slot_ref(&self, i: usize) -> R {
        #[cfg(debug_assertions)]
        let gen_ = self.gens[i];
        #[cfg(not(debug_assertions))]
        let gen_ = 0;
        R::new(i as u32, gen_)
    }

    /// Drops what a slot holds, and hands the slot out again.
    pub fn release(&mut self, i: usize) {
        self.items[i].vacate(i);
        self.marks[i] = FREE;
        #[cfg(debug_assertions)]
        {
            self.gens[i] = self.gens[i].wrapping_add(1);
        }
        self.free.push(i as u32);
    }

    /// The marks and the objects, apart.
    pub fn split(&mut self) -> (&mut [u8], &mut [T]) {
        (&mut self.marks, &mut self.items)
    }

    /// The marks, for a sweep.
    pub fn marks(&self) -> &[u8] {
        &self.marks
    }
}

impl<T: Item, R: ObjRef> Default for Arena<T, R> {
    fn default() -> Self {
        Arena::new()
    }
}

/// What all threads share.
pub struct global_State<H> {
    pub strings: Arena<TString, StrRef>,
    pub tables: Arena<Table, TableRef>,
    pub lclosures: Arena<Option<Rc<LClosure>>, LClosureRef>,
    pub cclosures: Arena<Option<CClosure<H>>, CClosureRef>,
    pub upvals: Arena<UpVal, UpValRef>,
    pub udata: Arena<Option<Box<Udata>>, UdataRef>,
    pub threads: Arena<Option<Box<LuaThread<H>>>, ThreadRef>,
    /// The buckets of the interned strings: the first string, or [`NO_STRING`](crate::lstring::NO_STRING).
    pub strt: Vec<u32>,
    /// Where strings are put together.
    pub buff: Vec<u8>,
    /// Literals of the host, so that they need not be hashed.
    pub literals: [Literal; LITERALS],
    /// Strings that were asked for lately, so that they need not be hashed again.
    pub strcache: [StrRef; STRCACHE],
    /// How many strings there are.
    pub nuse: usize,
    /// The mark of what is alive, and of new objects.
    pub currentwhite: u8,
    pub totalbytes: usize,
    pub GCthreshold: usize,
    /// What was alive after the last collection, in bytes.
    pub estimate: usize,
    /// The work that `LUA_GCSTEP` owes.
    pub gcdept: usize,
    pub gcpause: i32,
    pub gcstepmul: i32,
    /// A collection at every point where one may be.
    pub gcstress: bool,
    /// The most bytes a state may hold; beyond it a script ends with "not enough memory".
    pub memlimit: usize,
    /// Bytes of cached scripts, which are never collected.
    pub fixedbytes: usize,
    /// The environment of the functions that are never collected, ...
    pub fixedenv: Option<TableRef>,
    /// ... and those of them that have, or had, another one.
    pub fixed: Vec<LClosureRef>,
    /// What the last collection looked at, in bytes.
    pub traversed: usize,
    /// Userdata whose `__gc` is to be called, in this order.
    pub tmudata: VecDeque<UdataRef>,
    /// Some wait, and no finalizer runs.
    pub tmwait: bool,
    /// All userdata, the oldest first: the order of finalizers.
    pub udatalist: Vec<UdataRef>,
    /// All prototypes but those that are never collected.
    pub protos: Vec<Rc<Proto>>,
    pub l_registry: TableRef,
    pub mainthread: ThreadRef,
    /// The metatables of the basic types.
    pub mt: [Option<TableRef>; 9],
    pub tmname: [StrRef; TM_N],
    pub memerrmsg: StrRef,
}

/// A state of Lua: the thread that runs, and what all threads share.
pub struct lua_State<H> {
    /// What belongs to the thread that runs.
    pub th: LuaThread<H>,
    /// The interpreter has to look at hooks at every instruction.
    pub trace: bool,
    /// Which thread runs.
    pub thread: ThreadRef,
    /// The functions of the frames that wait for one another in `luaV_execute`, so that a return does not have to
    /// look for its caller.
    pub callers: Vec<Rc<LClosure>>,
    /// The value of an error on its way.
    pub errorvalue: TValue,
    pub g: global_State<H>,
}

/// What the C's structures of a state and a thread take.
const SIZE_LG: usize = 664;
const SIZE_STATE: usize = 184;
const SIZE_CI: usize = 40;

impl Default for UpVal {
    fn default() -> UpVal {
        UpVal::Closed(Nil)
    }
}

impl<H> LuaThread<H> {
    /// A thread without a hook. `stack_init`: it has an entry for the code that is outside of all functions.
    fn new(l_gt: TableRef) -> LuaThread<H> {
        let mut ci = Vec::with_capacity(BASIC_CI_SIZE);
        ci.push(CallInfo { base: 1, func: 0, top: 1 + LUA_MINSTACK, ..CallInfo::default() });
        LuaThread {
            stack: vec![Nil; BASIC_STACK_SIZE + WINDOW],
            base: 1,
            top: 1,
            savedpc: 0,
            ci,
            size_ci: BASIC_CI_SIZE,
            openupval: Vec::new(),
            nCcalls: 0,
            baseCcalls: 0,
            status: 0,
            hook: None,
            hookmask: 0,
            allowhook: true,
            basehookcount: 0,
            hookcount: i32::MAX,
            l_gt,
            errfunc: 0,
        }
    }

    /// Pushes a value on the stack of a thread that does not run; the bytes the stack grew by.
    pub fn push(&mut self, v: TValue) -> usize {
        let before = self.stack.len();
        if self.top + WINDOW >= before {
            self.stack.resize(before * 2, Nil);
        }
        self.stack[self.top] = v;
        self.top += 1;
        if let Some(ci) = self.ci.last_mut() {
            ci.top = ci.top.max(self.top);
        }
        (self.stack.len() - before) * 16
    }

    /// The bytes a thread holds; its stack is larger than the C's by the window.
    pub fn bytes(&self) -> usize {
        SIZE_STATE + self.stack.len() * 16 + BASIC_CI_SIZE * SIZE_CI
    }
}

/// `luaE_newthread`: a thread that shares the globals and the hook of the running one.
pub fn luaE_newthread<H>(L: &mut lua_State<H>) -> ThreadRef {
    let from = &L.th;
    let mut t = LuaThread::new(from.l_gt);
    (t.hook, t.hookmask, t.basehookcount) = (from.hook, from.hookmask, from.basehookcount);
    if t.hookmask & LUA_MASKCOUNT != 0 {
        t.hookcount = t.basehookcount;
    }
    L.g.totalbytes += t.bytes();
    L.g.threads.alloc(Some(Box::new(t)), L.g.currentwhite)
}

/// Makes `to` the running thread. The one that ran waits in the arena.
pub fn swap_thread<H>(L: &mut lua_State<H>, to: ThreadRef) {
    let mut t = L.g.threads.get_mut(to).take().expect("a thread that does not run");
    std::mem::swap(&mut L.th, &mut *t);
    let from = std::mem::replace(&mut L.thread, to);
    *L.g.threads.get_mut(from) = Some(t);
    settrace(L);
}

/// A new state, without libraries.
pub fn lua_newstate<H>() -> Box<lua_State<H>> {
    let mut tables = Arena::new();
    let registry = tables.alloc(Table::default(), 1);
    let mut threads = Arena::new();
    let mainthread = threads.alloc(None, FIXED);
    let none = StrRef { hash: 0, idx: 0 };
    let mut L = Box::new(lua_State {
        th: LuaThread::new(registry),
        trace: false,
        thread: mainthread,
        callers: Vec::new(),
        errorvalue: Nil,
        g: global_State {
            strings: Arena::new(),
            tables,
            lclosures: Arena::new(),
            cclosures: Arena::new(),
            upvals: Arena::new(),
            udata: Arena::new(),
            threads,
            strt: Vec::new(),
            buff: Vec::new(),
            literals: [Literal::default(); LITERALS],
            strcache: [NOT_CACHED; STRCACHE],
            nuse: 0,
            currentwhite: 1,
            totalbytes: SIZE_LG + BASIC_STACK_SIZE * 16 + BASIC_CI_SIZE * SIZE_CI,
            GCthreshold: usize::MAX,
            estimate: 0,
            gcdept: 0,
            gcpause: LUAI_GCPAUSE,
            gcstepmul: LUAI_GCMUL,
            gcstress: false,
            memlimit: usize::MAX,
            fixedbytes: 0,
            fixedenv: None,
            fixed: Vec::new(),
            traversed: 0,
            tmudata: VecDeque::new(),
            tmwait: false,
            udatalist: Vec::new(),
            protos: Vec::new(),
            l_registry: registry,
            mainthread,
            mt: [None; 9],
            tmname: [none; TM_N],
            memerrmsg: none,
        },
    });
    luaS_resize(&mut L, MINSTRTABSIZE);
    L.th.l_gt = luaH_new(&mut L, 0, 2);
    L.g.l_registry = luaH_new(&mut L, 0, 2);
    luaT_init(&mut L);
    crate::llex::luaX_init(&mut L);
    let s = luaS_new(&mut L, "not enough memory");
    luaS_fix(&mut L, s);
    L.g.memerrmsg = s;
    L.g.GCthreshold = 4 * L.g.totalbytes;
    L
}

/// Ends a state: the finalizers of all userdata are called; an error in one does not stop the others.
pub fn lua_close<H>(mut L: Box<lua_State<H>>, host: &mut H) {
    let L = &mut *L;
    if L.thread != L.g.mainthread {
        swap_thread(L, L.g.mainthread);
    }
    luaF_close(L, 0);
    luaC_separateudata(L);
    L.th.errfunc = 0;
    while !L.g.tmudata.is_empty() {
        L.th.ci.truncate(1);
        L.th.base = L.th.ci[0].base;
        L.th.top = L.th.base;
        L.th.nCcalls = 0;
        L.th.baseCcalls = 0;
        lua_checkstack(L, LUA_MINSTACK as i32);
        // The one that failed is out of the list: the next turn goes on behind it.
        let _ = luaC_callGCTM(L, host);
    }
}
