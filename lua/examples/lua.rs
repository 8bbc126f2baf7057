//! Runs Lua programs, for tests and for a look: `cargo run -p fidelis-lua --example lua -- script.lua`.
//!
//! Options: `-e CODE` runs code; `-` reads the program from standard input; `-stress` collects at every allocation. The
//! program has a second library beside those of the reference: `io.write`, and `os.clock`.

use std::io::{Read, Write};
use std::process::ExitCode;

use fidelis_lua::*;

fn io_write(L: &mut lua_State<()>, _host: &mut ()) -> LuaResult<i32> {
    for i in 1..=lua_gettop(L) {
        let s = luaL_checklstring(L, i)?;
        drop(std::io::stdout().write_all(&s));
    }
    Ok(0)
}

fn os_clock(L: &mut lua_State<()>, _host: &mut ()) -> LuaResult<i32> {
    let ms = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |t| t.as_secs_f64());
    lua_pushnumber(L, ms);
    Ok(1)
}

fn open(L: &mut lua_State<()>) -> LuaResult<()> {
    luaL_openlibs(L, &mut ())?;
    luaL_register(L, Some("io"), &[("write", io_write)])?;
    luaL_register(L, Some("os"), &[("clock", os_clock)])?;
    lua_settop(L, 0);
    Ok(())
}

fn run(L: &mut lua_State<()>, source: &[u8], name: &str) -> bool {
    // As the C's lua does, a first line that begins with # is skipped.
    let source = match source.first() {
        Some(b'#') => &source[source.iter().position(|&c| c == b'\n').unwrap_or(source.len())..],
        _ => source,
    };
    let mut status = luaL_loadbuffer(L, &mut (), source, name.as_bytes());
    if status == LUA_OK {
        status = lua_pcall(L, &mut (), 0, 0, 0);
    }
    if status != LUA_OK {
        let msg =
            lua_tolstring(L, -1).unwrap_or_else(|| LuaStr::new(b"(error object is not a string)"));
        eprintln!("lua: {}", String::from_utf8_lossy(&msg));
    }
    status == LUA_OK
}

fn main() -> ExitCode {
    let mut L = luaL_newstate::<()>();
    if open(&mut L).is_err() {
        eprintln!("lua: cannot open the libraries");
        return ExitCode::FAILURE;
    }
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let ok = match arg.as_str() {
            "-stress" => {
                lua_setgcstress(&mut L, true);
                true
            }
            "-e" => run(&mut L, args.next().unwrap_or_default().as_bytes(), "=(command line)"),
            "-" => {
                let mut source = Vec::new();
                drop(std::io::stdin().read_to_end(&mut source));
                run(&mut L, &source, "=stdin")
            }
            path => match std::fs::read(path) {
                Ok(source) => run(&mut L, &source, &format!("@{path}")),
                Err(e) => {
                    eprintln!("lua: cannot open {path}: {e}");
                    false
                }
            },
        };
        if !ok {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
