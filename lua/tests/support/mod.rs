//! What the tests share: a state whose output is kept, PUC's Lua as a peer, and random numbers with a seed.

#![allow(dead_code)] // every test takes what it needs

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use fidelis_lua::*;

/// The host of the tests: what programs print.
#[derive(Default)]
pub struct Output(pub Vec<u8>);

fn print(L: &mut lua_State<Output>, host: &mut Output) -> LuaResult<i32> {
    let n = lua_gettop(L);
    lua_getglobal(L, host, "tostring")?;
    for i in 1..=n {
        lua_pushvalue(L, -1);
        lua_pushvalue(L, i);
        lua_call(L, host, 1, 1)?;
        let s = luaL_checklstring(L, -1)?;
        if i > 1 {
            host.0.push(b'\t');
        }
        // As the C's print shows it, which ends at a NUL.
        host.0.extend_from_slice(cstd::cstr(&s));
        lua_pop(L, 1);
    }
    host.0.push(b'\n');
    Ok(0)
}

fn io_write(L: &mut lua_State<Output>, host: &mut Output) -> LuaResult<i32> {
    for i in 1..=lua_gettop(L) {
        let s = luaL_checklstring(L, i)?;
        host.0.extend_from_slice(&s);
    }
    Ok(0)
}

/// A state with all libraries; `print` and `io.write` go to the host.
pub fn new_state() -> Box<lua_State<Output>> {
    let mut L = luaL_newstate::<Output>();
    let host = &mut Output::default();
    let opened = luaL_openlibs(&mut L, host).and_then(|()| {
        lua_pushcfunction(&mut L, print);
        lua_setglobal(&mut L, host, "print")?;
        luaL_register(&mut L, Some("io"), &[("write", io_write)])
    });
    assert!(opened.is_ok(), "the libraries open");
    lua_settop(&mut L, 0);
    L
}

/// Runs a program; what it printed, and the message it ended with if it did.
pub fn run(L: &mut lua_State<Output>, source: &[u8], name: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut host = Output::default();
    let mut status = luaL_loadbuffer(L, &mut host, source, name.as_bytes());
    if status == LUA_OK {
        status = lua_pcall(L, &mut host, 0, LUA_MULTRET, 0);
    }
    let error = (status != LUA_OK)
        .then(|| lua_tolstring(L, -1).map_or(b"(no string)".to_vec(), |s| s.to_vec()));
    lua_settop(L, 0);
    (host.0, error)
}

/// Runs `f` on a stack of 2 MB, the smallest that the engine is made for.
pub fn on_small_stack<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(f).expect("a thread");
    match thread.join() {
        Ok(v) => v,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs a program in PUC's Lua 5.1 (Debian's lua5.1, or `FIDELIS_LUA_PEER`) with `input` as its standard input; its output.
pub fn peer(program: &str, input: Vec<u8>) -> Vec<u8> {
    let peer = std::env::var("FIDELIS_LUA_PEER").unwrap_or_else(|_| "lua5.1".into());
    let mut child = Command::new(&peer)
        .args(["-e", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{peer} has to be installed: {e}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let feeder =
        std::thread::Builder::new().spawn(move || drop(stdin.write_all(&input))).expect("a thread");
    let mut output = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut output).expect("output of the peer");
    feeder.join().expect("the peer read its input");
    assert!(child.wait().expect("the peer ended").success(), "the peer failed");
    output
}

/// Frames texts for a peer: each behind a line with its length.
pub fn frames<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for text in texts {
        out.extend_from_slice(format!("{}\n", text.len()).as_bytes());
        out.extend_from_slice(text);
    }
    out
}

/// Takes texts out of their frames.
pub fn unframe(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    while let Some(eol) = bytes.iter().position(|&c| c == b'\n') {
        let line = std::str::from_utf8(&bytes[..eol]).expect("a number");
        let n: usize = line.parse().expect("a length");
        texts.push(bytes[eol + 1..eol + 1 + n].to_vec());
        bytes = &bytes[eol + 1 + n..];
    }
    texts
}

/// Random numbers (xorshift64*).
pub struct Random(u64);

impl Random {
    /// With the seed in `FIDELIS_SEED`, or one of now, which is printed.
    pub fn from_env() -> Random {
        let seed = match std::env::var("FIDELIS_SEED") {
            Ok(seed) => seed.parse().expect("FIDELIS_SEED is a number"),
            Err(_) => std::time::UNIX_EPOCH.elapsed().map_or(1, |t| t.as_nanos() as u64 | 1),
        };
        println!("FIDELIS_SEED={seed}");
        Random::new(seed)
    }

    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// How often a random test runs: `short`, or `long` with `FIDELIS_LONG=1`.
pub fn rounds(short: usize, long: usize) -> usize {
    if std::env::var_os("FIDELIS_LONG").is_some() { long } else { short }
}
