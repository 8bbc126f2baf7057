//! `lua FILE ARGS...` runs a file (`-` is standard input) as PUC's `lua` does: the libraries of the reference are
//! open, `arg` is set. `lua -e CODE` runs code.
//!
//! `--stress` before the file collects at every allocation; `--hook` sets a count hook as a server does;
//! `--limit BYTES` limits the memory; `--time` tells the seconds of the processor that the file took.

use std::io::{Read, Write};
use std::process::ExitCode;

use fidelis_lua::*;

/// What this host lends: nothing but the number of hooks that ran.
#[derive(Default)]
struct Host {
    hooks: u64,
}

type L = lua_State<Host>;

fn os_clock(L: &mut L, _: &mut Host) -> LuaResult<i32> {
    lua_pushnumber(L, cpu_seconds());
    Ok(1)
}

fn os_time(L: &mut L, _: &mut Host) -> LuaResult<i32> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    lua_pushnumber(L, now.map_or(0.0, |d| d.as_secs() as f64));
    Ok(1)
}

/// There is no locale but the C's.
fn os_setlocale(L: &mut L, _: &mut Host) -> LuaResult<i32> {
    let name = luaL_optlstring(L, 1, b"C")?;
    if matches!(&*name, b"C" | b"" | b"POSIX") {
        lua_pushstring(L, "C")
    } else {
        lua_pushnil(L)
    }
    Ok(1)
}

fn io_write(L: &mut L, _: &mut Host) -> LuaResult<i32> {
    let mut out = std::io::stdout();
    for i in 1..=lua_gettop(L) {
        let s = luaL_checklstring(L, i)?;
        let _ = out.write_all(&s);
    }
    Ok(0)
}

/// The time this process has used a processor, from its file in /proc; nanoseconds are the first field.
fn cpu_seconds() -> f64 {
    let s = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    s.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn count_hook(_: &mut L, host: &mut Host, _: &mut lua_Debug) -> LuaResult<()> {
    host.hooks += 1;
    Ok(())
}

fn open_libs(L: &mut L, host: &mut Host) -> LuaResult<i32> {
    luaL_openlibs(L, host)?;
    luaopen_debug(L, host)?;
    luaL_register(
        L,
        Some("os"),
        &[("clock", os_clock), ("setlocale", os_setlocale), ("time", os_time)],
    )?;
    luaL_register(L, Some("io"), &[("write", io_write)])?;
    Ok(0)
}

fn message(L: &mut L) -> Vec<u8> {
    lua_tolstring(L, -1).map_or_else(|| b"(error object is not a string)".to_vec(), |s| s.to_vec())
}

fn run(L: &mut L, host: &mut Host, file: &str, args: &[String]) -> Result<(), Vec<u8>> {
    lua_newtable(L);
    for (i, a) in [file].into_iter().chain(args.iter().map(String::as_str)).enumerate() {
        lua_pushstring(L, a);
        lua_rawseti(L, -2, i as i32).map_err(|_| b"arg".to_vec())?;
    }
    lua_setglobal(L, host, "arg").map_err(|_| b"arg".to_vec())?;
    let mut source = Vec::new();
    let read = if file == "-" {
        std::io::stdin().read_to_end(&mut source).map(|_| ())
    } else {
        std::fs::read(file).map(|s| source = s)
    };
    read.map_err(|e| format!("cannot open {file}: {e}").into_bytes())?;
    run_source(L, host, source, &format!("@{file}"), args)
}

fn run_source(
    L: &mut L,
    host: &mut Host,
    mut source: Vec<u8>,
    name: &str,
    args: &[String],
) -> Result<(), Vec<u8>> {
    if source.starts_with(b"#") {
        // The first line is for the shell; its end counts.
        let end = source.iter().position(|&c| c == b'\n').unwrap_or(source.len());
        source.drain(..end);
    }
    if luaL_loadbuffer(L, host, &source, name.as_bytes()) != LUA_OK {
        return Err(message(L));
    }
    for a in args {
        lua_pushstring(L, a);
    }
    if lua_pcall(L, host, args.len() as i32, 0, 0) != LUA_OK {
        return Err(message(L));
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut L = luaL_newstate();
    let mut host = Host::default();
    let (mut time, mut stress) = (false, false);
    lua_pushcfunction(&mut L, open_libs);
    if lua_pcall(&mut L, &mut host, 0, 0, 0) != LUA_OK {
        eprintln!("lua: {}", message(&mut L).escape_ascii());
        return ExitCode::FAILURE;
    }
    let mut code = None;
    while args.first().is_some_and(|a| a.len() > 1 && a.starts_with('-')) {
        match args.remove(0).as_str() {
            "-e" => {
                code = Some(args.remove(0));
                break;
            }
            "--stress" | "-stress" => stress = true,
            "--hook" => lua_sethook(&mut L, Some(count_hook), LUA_MASKCOUNT, 100_000),
            "--line" => lua_sethook(&mut L, Some(count_hook), LUA_MASKLINE, 0),
            "--limit" => {
                let bytes = args.remove(0).parse().unwrap_or(usize::MAX);
                lua_setmemorylimit(&mut L, bytes);
            }
            "--time" => time = true,
            other => {
                eprintln!("lua: unknown option {other}");
                return ExitCode::FAILURE;
            }
        }
    }
    let file = args.first().cloned().or_else(|| code.as_ref().map(|_| "-e".to_string()));
    let Some(file) = file else {
        eprintln!("usage: lua [--stress] [--hook] [--line] [--limit BYTES] [--time] FILE ARGS...");
        return ExitCode::FAILURE;
    };
    lua_setgcstress(&mut L, stress);
    let start = cpu_seconds();
    let result = match code {
        Some(code) => run_source(&mut L, &mut host, code.into_bytes(), "=(command line)", &[]),
        None => run(&mut L, &mut host, &file, &args[1..]),
    };
    if time {
        eprintln!("{file}: {:.3} s, {} hooks", cpu_seconds() - start, host.hooks);
    }
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(m) => {
            let mut err = std::io::stderr();
            let _ = err.write_all(&[b"lua: ".as_slice(), &m, b"\n"].concat());
            ExitCode::FAILURE
        }
    };
    lua_close(L, &mut host);
    code
}
