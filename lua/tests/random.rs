//! Random programs here and in PUC's Lua: what they print has to be the same.

#![allow(non_snake_case)]

mod support;

use fidelis_lua::*;
use support::*;

#[path = "support/generate.rs"]
mod generate;

/// Runs programs one after the other, each in an environment of its own, and writes what each printed.
const DRIVER: &str = r##"
local pairs, type, tostring, pcall, error, select = pairs, type, tostring, pcall, error, select
local getmetatable, rawget, setmetatable, setfenv, loadstring = getmetatable, rawget, setmetatable, setfenv, loadstring
local concat, format, sub, next, write = table.concat, string.format, string.sub, next, io.write
local budget, out
local function tick() budget = budget - 1 if budget < 0 then error("budget", 0) end end
local function cut(s, ...)
  if type(s) == "string" and #s > 100 then s = sub(s, 1, 100) end
  return s, ...
end
local function key(v)
  local t = type(v)
  if t == "number" or t == "string" or t == "boolean" then return v end
  return t
end
local function show(v, depth)
  local t = type(v)
  if t == "number" then return format("%.17g", v) end
  if t == "string" then return format("%q", v) end
  if t ~= "table" then return (t == "boolean" or t == "nil") and tostring(v) or t end
  depth = type(depth) == "number" and depth or 0
  if depth > 2 then return "{..}" end
  local o, n = {}, 0
  for k, x in next, v do
    n = n + 1
    if n > 12 then o[n] = "more" break end
    o[n] = show(k, depth + 1) .. "=" .. show(x, depth + 1)
  end
  return "{" .. concat(o, ",") .. "}#" .. #v
end
local function print(...)
  local o = {}
  for i = 1, select("#", ...) do o[i] = sub(show((select(i, ...))), 1, 400) end
  if #out < 200 then out[#out + 1] = concat(o, "\t") end
end
local libs = {}
for _, name in pairs{"string", "table", "math", "coroutine"} do libs[name] = _G[name] end
local names = {"assert", "error", "getmetatable", "ipairs", "loadstring", "next", "pairs", "pcall", "rawequal",
  "rawget", "rawset", "select", "setmetatable", "tonumber", "type", "unpack", "xpcall", "collectgarbage"}
local nextprogram = nextprogram
local G = _G
while true do
  local s = nextprogram()
  if not s then break end
  local env = {tick = tick, cut = cut, key = key, show = show, print = print}
  for i = 1, #names do env[names[i]] = G[names[i]] end
  -- The metatable of strings is readonly here.
  env.getmetatable = function(v) return type(v) ~= "string" and getmetatable(v) or nil end
  for name, lib in pairs(libs) do
    env[name] = {}
    for k, v in pairs(lib) do env[name][k] = v end
  end
  budget, out = 400, {}
  local f, e = loadstring(s, "=p")
  if f then
    setfenv(f, env)
    local ok, e = pcall(f, 1, "x", nil, env)
    print(ok, e)
  else
    print(e)
  end
  local text = concat(out, "\n")
  write(#text, "\n", text)
end
"##;

const PEER: &str = r#"
function nextprogram()
  local n = io.read("*l")
  return n and (tonumber(n) > 0 and io.read(tonumber(n)) or "")
end
"#;

thread_local! {
    static PROGRAMS: std::cell::Cell<Vec<Vec<u8>>> = const { std::cell::Cell::new(Vec::new()) };
}

fn nextprogram(L: &mut lua_State<Output>, _host: &mut Output) -> LuaResult<i32> {
    let mut programs = PROGRAMS.take();
    match programs.pop() {
        Some(p) => lua_pushlstring(L, &p),
        None => lua_pushnil(L),
    }
    PROGRAMS.set(programs);
    Ok(1)
}

fn ours(programs: &[Vec<u8>], stress: bool) -> Vec<Vec<u8>> {
    PROGRAMS.set(programs.iter().rev().cloned().collect());
    let mut L = new_state();
    lua_pushcfunction(&mut L, nextprogram);
    assert!(lua_setglobal(&mut L, &mut Output::default(), "nextprogram").is_ok());
    lua_setgcstress(&mut L, stress);
    L.th.nCcalls += 1; // the peer's main program is one call
    // Messages can show the driver's own lines: they are named and numbered as in the peer.
    let source = format!("{}{DRIVER}", "\n".repeat(PEER.matches('\n').count()));
    let (out, error) = run(&mut L, source.as_bytes(), "=(command line)");
    if let Some(error) = error {
        let done = unframe(&out).len();
        let program = programs.get(done).map_or_else(Vec::new, Clone::clone);
        panic!("{} in\n{}", String::from_utf8_lossy(&error), String::from_utf8_lossy(&program));
    }
    unframe(&out)
}

fn compare(programs: &[Vec<u8>], stress: bool) -> usize {
    let source = format!("{PEER}{DRIVER}");
    let theirs = unframe(&peer(&source, frames(programs.iter().map(Vec::as_slice))));
    let ours = ours(programs, stress);
    assert_eq!(ours.len(), theirs.len());
    let mut lines = 0;
    for ((program, ours), theirs) in programs.iter().zip(&ours).zip(&theirs) {
        lines += ours.iter().filter(|&&c| c == b'\n').count();
        assert!(
            ours == theirs,
            "the program\n{}\nprints here\n{}\nthere\n{}",
            String::from_utf8_lossy(program),
            String::from_utf8_lossy(ours),
            String::from_utf8_lossy(theirs)
        );
    }
    lines
}

fn programs(random: &mut Random, n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|_| generate::program(random).into_bytes()).collect()
}

#[test]
fn random_programs_print_what_they_print_in_puc() {
    on_small_stack(|| {
        let mut random = Random::from_env();
        let mut lines = 0;
        for _ in 0..rounds(4, 100) {
            lines += compare(&programs(&mut random, 1000), false);
        }
        println!("{lines} lines");
    });
}

#[test]
fn random_programs_print_the_same_under_constant_collection() {
    on_small_stack(|| {
        let mut random = Random::from_env();
        for _ in 0..rounds(1, 20) {
            compare(&programs(&mut random, 100), true);
        }
    });
}
