//! The compiler against PUC's: the same bytecode, byte for byte, and the same messages.

#![allow(non_snake_case)]

mod support;

use fidelis_lua::lobject::Proto;
use fidelis_lua::*;
use support::*;

/// A function as `string.dump` of the C writes it.
fn dump(L: &lua_State<Output>, f: &Proto) -> Vec<u8> {
    let mut out = b"\x1bLuaQ\0\x01\x04\x08\x04\x08\0".to_vec();
    dump_function(L, f, true, &mut out);
    out
}

fn dump_int(n: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(n as u32).to_le_bytes());
}

fn dump_string(L: &lua_State<Output>, s: lobject::StrRef, out: &mut Vec<u8>) {
    let s = &L.g.strings.get(s).data;
    out.extend_from_slice(&(s.len() + 1).to_le_bytes());
    out.extend_from_slice(s);
    out.push(0);
}

fn dump_function(L: &lua_State<Output>, f: &Proto, main: bool, out: &mut Vec<u8>) {
    if main {
        dump_string(L, f.source, out);
    } else {
        out.extend_from_slice(&[0; 8]); // the source is that of the function around it
    }
    dump_int(f.linedefined as usize, out);
    dump_int(f.lastlinedefined as usize, out);
    out.extend_from_slice(&[f.nups, f.numparams, f.is_vararg, f.maxstacksize]);
    dump_int(f.code.len(), out);
    f.code.iter().for_each(|i| out.extend_from_slice(&i.to_le_bytes()));
    dump_int(f.k.len(), out);
    for k in &f.k {
        out.push(k.ttype() as u8);
        match *k {
            TValue::Nil => {}
            TValue::Boolean(b) => out.push(b.into()),
            TValue::Number(n) => out.extend_from_slice(&n.to_le_bytes()),
            TValue::String(s) => dump_string(L, s, out),
            _ => panic!("no constant"),
        }
    }
    dump_int(f.p.len(), out);
    f.p.iter().for_each(|p| dump_function(L, p, false, out));
    dump_int(f.lineinfo.len(), out);
    f.lineinfo.iter().for_each(|&l| dump_int(l as usize, out));
    dump_int(f.locvars.len(), out);
    for v in &f.locvars {
        dump_string(L, v.varname, out);
        dump_int(v.startpc as usize, out);
        dump_int(v.endpc as usize, out);
    }
    dump_int(f.upvalues.len(), out);
    f.upvalues.iter().for_each(|&u| dump_string(L, u, out));
}

/// What becomes of a source: its bytecode, or the message.
fn compile(L: &mut lua_State<Output>, source: &[u8]) -> Vec<u8> {
    // The peer's program is two calls deep when it compiles, and the depth of a source counts on from there.
    L.th.nCcalls += 2;
    let status = luaL_loadbuffer(L, &mut Output::default(), source, b"@p.lua");
    L.th.nCcalls -= 2;
    let result = match lapi::index2adr(L, -1) {
        Some(TValue::LFunction(f)) if status == LUA_OK => {
            let p = L.g.lclosures.get(f).as_ref().expect("a closure").p.clone();
            dump(L, &p)
        }
        _ => lua_tolstring(L, -1).expect("a message").to_vec(),
    };
    lua_settop(L, 0);
    result
}

const PEER: &str = r#"
while true do
  local n = io.read("*l")
  if not n then break end
  local s = tonumber(n) > 0 and io.read(tonumber(n)) or ""
  local f, e = loadstring(s, "@p.lua")
  local r = f and string.dump(f) or e
  io.write(#r, "\n", r)
end"#;

/// Compares what becomes of the sources here and in the peer.
fn compare(sources: &[Vec<u8>]) -> usize {
    let mut theirs = unframe(&peer(PEER, frames(sources.iter().map(Vec::as_slice))));
    for theirs in &mut theirs {
        // Some errors go through the handler of the peer's main program.
        if let Some(n) = theirs.windows(17).position(|w| w == b"\nstack traceback:") {
            theirs.truncate(n);
        }
    }
    assert_eq!(sources.len(), theirs.len());
    let mut L = new_state();
    let mut compiled = 0;
    for (source, theirs) in sources.iter().zip(&theirs) {
        let ours = compile(&mut L, source);
        if ours != *theirs {
            let first = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
            panic!(
                "of the source\n{}\nours (from byte {first} on different)\n{}\ntheirs\n{}",
                String::from_utf8_lossy(source),
                ours.escape_ascii(),
                theirs.escape_ascii()
            );
        }
        compiled += usize::from(ours.starts_with(b"\x1bLua"));
    }
    compiled
}

/// All files of a folder, and of those in it.
fn files(folder: &std::path::Path, out: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "lua") {
            out.push(std::fs::read(&path).expect("a file"));
        }
    }
}

/// The programs in tests/data, and those in the folder that `FIDELIS_LUA_CORPUS` names.
#[test]
fn bytecode_of_files_is_that_of_puc() {
    let mut sources = Vec::new();
    files(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"), &mut sources);
    if let Some(corpus) = std::env::var_os("FIDELIS_LUA_CORPUS") {
        files(std::path::Path::new(&corpus), &mut sources);
    }
    let compiled = compare(&sources);
    println!("{} sources, {compiled} of them compile", sources.len());
    assert!(compiled > 5);
}

/// Parts of programs, mixed: most of it is no program, and the message has to be the same.
#[test]
fn messages_for_broken_sources_are_those_of_puc() {
    let mut random = Random::from_env();
    let mut sources = Vec::new();
    files(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"), &mut sources);
    let words: [&[u8]; 66] = [
        b"and",
        b"break",
        b"do",
        b"else",
        b"elseif",
        b"end",
        b"false",
        b"for",
        b"function",
        b"if",
        b"in",
        b"local",
        b"nil",
        b"not",
        b"or",
        b"repeat",
        b"return",
        b"then",
        b"true",
        b"until",
        b"while",
        b"..",
        b"...",
        b"==",
        b">=",
        b"<=",
        b"~=",
        b"(",
        b")",
        b"{",
        b"}",
        b"[",
        b"]",
        b";",
        b":",
        b",",
        b".",
        b"+",
        b"-",
        b"*",
        b"/",
        b"%",
        b"^",
        b"#",
        b"=",
        b"<",
        b">",
        b"~",
        b"a",
        b"b",
        b"f",
        b"x1",
        b"1",
        b"0x1F",
        b"3e",
        b".5",
        b"'s'",
        b"\"q\\65\"",
        b"[[l]]",
        b"[==[m\n]==]",
        b"--c\n",
        b"--[[d\n]]",
        b"\n",
        b"\0",
        b"\r\n",
        b"'\\\n'",
    ];
    let mut programs = Vec::new();
    for _ in 0..rounds(4_000, 200_000) {
        let mut p = Vec::new();
        if random.one_in(2) {
            for _ in 0..=random.below(24) {
                p.extend_from_slice(random.pick(&words));
                p.extend_from_slice(random.pick(&[&b" "[..], b"", b" ", b"\n"]));
            }
        } else {
            // A piece of a program with a change.
            let source = &sources[random.below(sources.len())];
            let from = random.below(source.len());
            let to = source.len().min(from + 1 + random.below(400));
            p.extend_from_slice(&source[from..to]);
            for _ in 0..random.below(4) {
                let at = random.below(p.len());
                match random.below(3) {
                    0 => p[at] = random.next() as u8,
                    1 => drop(p.splice(at..at, random.pick(&words).iter().copied())),
                    _ => p.truncate(at + 1),
                }
            }
        }
        if p.first() == Some(&0x1b) {
            continue; // bytecode, which PUC takes
        }
        programs.push(p);
    }
    compare(&programs);
}

/// The limits of the compiler, each at its edge.
#[test]
fn limits_are_those_of_puc() {
    let mut sources: Vec<String> = Vec::new();
    for n in [196, 197, 198, 199, 200, 201, 202] {
        sources.push(format!("local {} = 1", vec!["a"; n].join(",")));
        sources.push(format!("return {}1{}", "(".repeat(n), ")".repeat(n)));
        sources.push(format!("return {}{}", "{".repeat(n), "}".repeat(n)));
        sources.push(format!("return {} 1", "not ".repeat(n)));
        sources.push(format!("return {} 1", "- ".repeat(n)));
        sources.push(format!("{} {}", "do ".repeat(n), "end ".repeat(n)));
        sources.push(format!("{} {}", "while x do ".repeat(n), "end ".repeat(n)));
        sources.push(format!("{} {}", "if x then ".repeat(n), "end ".repeat(n)));
        sources.push(format!("{} {}", "repeat ".repeat(n), "until x ".repeat(n)));
        sources.push(format!("{} {}", "for i=1,2 do ".repeat(n), "end ".repeat(n)));
        sources.push(format!("{} {}", "function f() ".repeat(n), "end ".repeat(n)));
        sources.push(format!("return {}1", "1 .. ".repeat(n)));
        sources.push(format!("return {}1", "x ^ ".repeat(n)));
        sources.push(format!("return {}1", "x + ".repeat(n)));
        sources.push(format!("x = {}1{}", "f(".repeat(n), ")".repeat(n)));
        sources.push(format!("x = a{}", "[1]".repeat(n)));
        sources.push(format!("x = f{}", "()".repeat(n)));
        sources.push(format!("{} = 1", vec!["a"; n].join(",")));
        sources.push(format!("{} = 1", vec!["a[1]"; n].join(",")));
        sources.push(format!("if x then y() {} end", "elseif x then y() ".repeat(n)));
        sources.push(format!("return {}", vec!["f()"; n].join(",")));
        for part in ["a and ", "a or ", "a and b or ", "not (a or b) and ", "(a == 1 or b) and "] {
            sources.push(format!("x = {}c", part.repeat(n)));
            sources.push(format!("if {}c then y() else z() end", part.repeat(n)));
            sources.push(format!("repeat y() until {}c", part.repeat(n)));
            sources.push(format!("while {}c do y() end", part.repeat(n)));
        }
        sources.push(format!("while x do {} end", "if y or z then break end ".repeat(n)));
        sources.push(format!("return {{{}}}", vec!["x"; n * 50].join(",")));
    }
    for n in [58, 59, 60, 61, 62] {
        let names: Vec<String> = (0..n).map(|i| format!("v{i}")).collect();
        let uses = names.join("+");
        sources.push(format!("local {}\nfunction f() return {uses} end", names.join(",")));
        sources.push(format!(
            "function g() local {}\nfunction f() return {uses} end end",
            names.join(",")
        ));
    }
    for n in [246, 247, 248, 249, 250, 251] {
        sources.push(format!("return {}", vec!["1"; n].join(",")));
        sources.push(format!("f({})", vec!["x"; n].join(",")));
        sources.push(format!("return {{{}}}", vec!["1"; n].join(",")));
        sources.push(format!("return {}", vec!["a"; n].join("..")));
    }
    for n in [254, 255, 256, 257, 258, 600] {
        let many: Vec<String> = (0..n).map(|i| format!("x = {i} + y.f{i}")).collect();
        sources.push(many.join("\n"));
        let many: Vec<String> =
            (0..n).map(|i| format!("local a = {{nil, true, {i} == 'q{i}'}}")).take(180).collect();
        sources.push(many.join("\n"));
    }
    sources.push(format!("while x do {} end", "a = b\n".repeat(70_000)));
    sources.push(format!("for i = 1, 2 do {} end", "a = b\n".repeat(70_000)));
    sources
        .push(format!("return {{{}}}", (0..30_000).map(|i| format!("{i},")).collect::<String>()));
    sources.push((0..33_000).map(|i| format!("do local a{i} end ")).collect());
    sources.push((0..270_000).map(|i| format!("x={i} ")).collect());
    sources.push("x = function() end ".repeat(3_000));
    let sources: Vec<Vec<u8>> = sources.into_iter().map(String::into_bytes).collect();
    on_small_stack(move || compare(&sources));
}
