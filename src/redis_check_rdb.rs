//! `redis-check-rdb.c`: goes through an RDB file and tells where it is damaged.
//!
//! It is a mode of the server's binary, chosen by the name `redis-check-rdb` or the flag
//! `--check-rdb`; and what the server does with a file that it fails to load.
//!
//! Read first: `redis_check_rdb`, then `rdbReportError` in rdb.rs, which leaves here what the
//! loader found.
//!
//! Absent: the handler of signals that tells the offset when damaged bytes crash the loader; they
//! do not.
//!
//! Differs: the state is a field of the server, by which the loader knows that it checks. Files up
//! to version 12, and Valkey's 80 and 81, are read, as the server does.

use std::io::Write;
use std::os::fd::RawFd;

use crate::explain::{Kind, explain_main};
use crate::keyspace::Value;
use crate::log::LL_WARNING;
use crate::rdb::*;
use crate::rio::*;
use crate::server_h::*;
use crate::sys::clock::mstime;
use crate::sys::file::open;
use crate::sys::socket::close;
use crate::util::{B, c_str};
use crate::{bformat, serverLog};

/// The part of the file that the checker is about to read (`RDB_CHECK_DOING_*`).
#[derive(Copy, Clone, Default, PartialEq, Eq)]
enum Doing {
    #[default]
    DOING_START,
    READ_TYPE,
    READ_EXPIRE,
    READ_KEY,
    READ_OBJECT_VALUE,
    CHECK_SUM,
    READ_LEN,
    READ_AUX,
    READ_MODULE_AUX,
}

impl Doing {
    /// Returns the description of the part, for messages.
    fn name(self) -> &'static str {
        match self {
            Doing::DOING_START => "start",
            Doing::READ_TYPE => "read-type",
            Doing::READ_EXPIRE => "read-expire",
            Doing::READ_KEY => "read-key",
            Doing::READ_OBJECT_VALUE => "read-object-value",
            Doing::CHECK_SUM => "check-sum",
            Doing::READ_LEN => "read-len",
            Doing::READ_AUX => "read-aux",
            Doing::READ_MODULE_AUX => "read-module-aux",
        }
    }
}

/// The progress of a check (`rdbstate`).
#[derive(Default)]
pub struct RdbCheck {
    /// The first thing that the loader found wrong.
    pub error: Option<Vec<u8>>,
    /// What the loader found wrong was told. There the process of the C ends, so that whoever has
    /// called the checker says nothing more.
    pub terminated: bool,
    /// The key that is read now, and its type.
    key: Option<Vec<u8>>,
    key_type: Option<u8>,
    /// The version of the format, which the numbers of types belong to.
    rdbver: i32,
    keys: u64,
    expires: u64,
    already_expired: u64,
    doing: Doing,
}

/// The longest message, in bytes.
const MESSAGE_MAX: usize = 1023;

/// Writes to the standard output; if that is gone, there is nobody to tell. Unit tests are quiet,
/// as in log.rs.
fn print(text: &[u8]) {
    if !cfg!(test) {
        let _ = std::io::stdout().write_all(text);
    }
}

/// Prints the numbers of keys counted so far.
fn rdbShowGenericInfo(check: &RdbCheck) {
    print(&bformat!("[info] {} keys read\n", check.keys));
    print(&bformat!("[info] {} expires\n", check.expires));
    print(&bformat!("[info] {} already expired\n", check.already_expired));
}

/// Prints an error, and where in the file it is.
fn rdbCheckError(check: &RdbCheck, offset: u64, msg: &[u8]) {
    let msg = &msg[..msg.len().min(MESSAGE_MAX)];
    print(b"--- RDB ERROR DETECTED ---\n");
    print(&bformat!("[offset {}] {}\n", offset, B(c_str(msg))));
    print(&bformat!("[additional info] While doing: {}\n", check.doing.name()));
    if let Some(key) = &check.key {
        print(&bformat!("[additional info] Reading key '{}'\n", B(c_str(key))));
    }
    if let Some(key_type) = check.key_type {
        let name = rdb_type_name(key_type, check.rdbver).unwrap_or("unknown");
        print(&bformat!("[additional info] Reading type {} ({})\n", key_type, name));
    }
    rdbShowGenericInfo(check);
}

/// Prints what was found.
fn rdbCheckInfo(offset: u64, msg: &[u8]) {
    let msg = &msg[..msg.len().min(MESSAGE_MAX)];
    print(&bformat!("[offset {}] {}\n", offset, B(c_str(msg))));
}

/// The reason why a check ends early.
enum Stop {
    /// The bytes end, or the loader reported what is wrong with them.
    Eof,
    /// The checker has found an error, which the text tells.
    Error(Vec<u8>),
}

/// Returns the state of the check that is going on.
fn state(server: &mut Server) -> &mut RdbCheck {
    server.rdb_check.get_or_insert_default()
}

/// Checks the file, or that which is open as `fd`. `None`: it cannot be opened, or it is damaged,
/// which was told. Else where the RDB ends in it.
fn redis_check_rdb(server: &mut Server, rdbfilename: &[u8], fd: Option<RawFd>) -> Option<u64> {
    let opened = match fd {
        Some(_) => None,
        None => Some(open(rdbfilename, libc::O_RDONLY, 0).ok()?),
    };
    let end = check_rdb_file(server, fd.or(opened)?, rdbfilename);
    opened.into_iter().for_each(close);
    stopLoading(server, end.is_some());
    end
}

fn check_rdb_file(server: &mut Server, fd: RawFd, rdbfilename: &[u8]) -> Option<u64> {
    let size = startLoadingFile(server, fd, rdbfilename, RDBFLAGS_NONE);
    let mut rdb = rioInitWithFile(fd, size as u64);
    rdb.update_cksum = true;
    let Err(stop) = check_rdb_stream(server, &mut rdb) else { return Some(rioTell(&rdb)) };
    let offset = rioTell(&rdb);
    let check = server.rdb_check.get_or_insert_default();
    match (stop, check.error.take()) {
        (Stop::Error(msg), _) => rdbCheckError(check, offset, &msg),
        (Stop::Eof, None) => rdbCheckError(check, offset, b"Unexpected EOF reading RDB file"),
        (Stop::Eof, Some(msg)) => {
            rdbCheckError(check, offset, &msg);
            check.terminated = true;
            serverLog!(LL_WARNING, "Terminating server after rdb file reading failure.");
        }
    }
    None
}

fn check_rdb_stream(server: &mut Server, rdb: &mut Rio) -> Result<(), Stop> {
    const EOF: Stop = Stop::Eof;
    let now = mstime();
    let mut magic = [0; 9];
    rioRead(rdb, &mut magic).map_err(|()| EOF)?;
    let rdbver = rdb_version_of(&magic).map_err(Stop::Error)?;
    state(server).rdbver = rdbver;

    let mut expiretime = -1;
    loop {
        state(server).doing = Doing::READ_TYPE;
        let type_ = rdbLoadType(server, rdb).ok_or(EOF)?;
        match type_ {
            RDB_OPCODE_EXPIRETIME => {
                state(server).doing = Doing::READ_EXPIRE;
                expiretime = rdbLoadTime(server, rdb).ok_or(EOF)? * 1000;
                continue;
            }
            RDB_OPCODE_EXPIRETIME_MS => {
                state(server).doing = Doing::READ_EXPIRE;
                expiretime = rdbLoadMillisecondTime(server, rdb).ok_or(EOF)?;
                continue;
            }
            RDB_OPCODE_FREQ => {
                rdbLoadType(server, rdb).ok_or(EOF)?;
                continue;
            }
            RDB_OPCODE_IDLE => {
                rdbLoadLen(server, rdb).ok_or(EOF)?;
                continue;
            }
            RDB_OPCODE_EOF => break,
            RDB_OPCODE_SELECTDB => {
                state(server).doing = Doing::READ_LEN;
                let dbid = rdbLoadLen(server, rdb).ok_or(EOF)?;
                rdbCheckInfo(rioTell(rdb), &bformat!("Selecting DB ID {}", dbid));
                continue;
            }
            RDB_OPCODE_RESIZEDB => {
                state(server).doing = Doing::READ_LEN;
                rdbLoadLen(server, rdb).ok_or(EOF)?;
                rdbLoadLen(server, rdb).ok_or(EOF)?;
                continue;
            }
            RDB_OPCODE_AUX => {
                state(server).doing = Doing::READ_AUX;
                let auxkey = rdbLoadStringObject(server, rdb).ok_or(EOF)?;
                let auxval = rdbLoadStringObject(server, rdb).ok_or(EOF)?;
                let msg = bformat!("AUX FIELD {} = '{}'", B(c_str(&auxkey)), B(c_str(&auxval)));
                rdbCheckInfo(rioTell(rdb), &msg);
                continue;
            }
            RDB_OPCODE_MODULE_AUX => {
                state(server).doing = Doing::READ_MODULE_AUX;
                let moduleid = rdbLoadLen(server, rdb).ok_or(EOF)?;
                // When it is to be loaded: the kind of the number, and the number.
                rdbLoadLen(server, rdb).ok_or(EOF)?;
                rdbLoadLen(server, rdb).ok_or(EOF)?;
                let name = moduleTypeNameByID(moduleid);
                rdbCheckInfo(rioTell(rdb), &bformat!("MODULE AUX for: {}", B(&name)));
                // C: does not notice when its end is missing.
                rdbLoadCheckModuleValue(server, rdb, &name).ok_or(EOF)?;
                continue;
            }
            // C: it knows no such opcodes.
            RDB_OPCODE_SLOT_INFO if rdbver >= 12 => {
                state(server).doing = Doing::READ_LEN;
                for _ in 0..3 {
                    rdbLoadLen(server, rdb).ok_or(EOF)?;
                }
                continue;
            }
            RDB_OPCODE_SLOT_IMPORT if RDB_VERSION_VALKEY.contains(&rdbver) => {
                state(server).doing = Doing::READ_LEN;
                rdb_skip_slot_import(server, rdb).ok_or(EOF)?;
                let msg = b"Slots that were being imported, which this version can't use";
                rdbCheckInfo(rioTell(rdb), msg);
                continue;
            }
            RDB_OPCODE_FUNCTION2 | RDB_OPCODE_FUNCTION_PRE_GA if rdbver >= 10 => {
                state(server).doing = Doing::READ_AUX;
                let name = rdb_skip_function(server, rdb, type_).ok_or(EOF)?;
                let msg = bformat!("Function library '{}', which this version can't use", B(&name));
                rdbCheckInfo(rioTell(rdb), &msg);
                continue;
            }
            RDB_OPCODE_UPDATE if rdbver >= 81 => {
                return Err(Stop::Error(UPDATE_IN_RDB.as_bytes().to_vec()));
            }
            _ if !rdbIsObjectType(type_, rdbver) => {
                return Err(Stop::Error(bformat!("Invalid object type: {}", type_)));
            }
            _ => state(server).key_type = Some(type_),
        }

        state(server).doing = Doing::READ_KEY;
        let key = rdbLoadStringObject(server, rdb).ok_or(EOF)?;
        let check = state(server);
        check.key = Some(key.clone());
        check.keys += 1;
        check.doing = Doing::READ_OBJECT_VALUE;
        // An empty value is an error here, where the server skips its key.
        let val: Value = rdbLoadObject(server, type_, rdb, &key, rdbver).map_err(|_| EOF)?;
        drop(val);

        let check = state(server);
        check.expires += u64::from(expiretime != -1);
        check.already_expired += u64::from(expiretime != -1 && expiretime < now);
        (check.key, check.key_type) = (None, None);
        expiretime = -1;
    }

    if rdbver >= 5 && server.rdb_checksum {
        let expected = rio_checksum(rdb);
        state(server).doing = Doing::CHECK_SUM;
        let mut cksum = [0; 8];
        rioRead(rdb, &mut cksum).map_err(|()| EOF)?;
        match u64::from_le_bytes(cksum) {
            0 => rdbCheckInfo(
                rioTell(rdb),
                b"RDB file was saved with checksum disabled: no check performed.",
            ),
            cksum if cksum != expected => return Err(Stop::Error(b"RDB CRC error".to_vec())),
            _ => rdbCheckInfo(rioTell(rdb), b"Checksum OK"),
        }
    }
    Ok(())
}

/// Checks the file that the arguments name, behind the name of the program. Returns the exit code:
/// 0 if it can be loaded.
///
/// The server is used up by it: it only gives the configuration.
pub fn redis_check_rdb_main(server: &mut Server, argv: &[Vec<u8>]) -> i32 {
    // C: there is no such option.
    if let Some(code) = explain_main(Kind::Rdb, argv) {
        return code;
    }
    let [_, rdbfilename] = argv else {
        let program = argv.first().map_or(&b""[..], |name| name);
        let usage = bformat!("Usage: {} <rdb-file-name>\n", B(program));
        let _ = std::io::stderr().write_all(&usage);
        return 1;
    };
    i32::from(redis_check_rdb_open(server, rdbfilename, None).is_none())
}

/// Checks an RDB at the beginning of a file that is open as `fd` (an append only file with a
/// preamble). `None`: it is damaged. Else where it ends.
// C: `redis_check_rdb_main` with a third argument.
pub fn redis_check_rdb_open(
    server: &mut Server,
    rdbfilename: &[u8],
    fd: Option<RawFd>,
) -> Option<u64> {
    server.loading_process_events_interval_bytes = 0;
    server.sanitize_dump_payload = SANITIZE_DUMP_YES;
    // Before the first key, as in the C, its type is 0.
    server.rdb_check = Some(Box::new(RdbCheck { key_type: Some(0), ..Default::default() }));
    rdbCheckInfo(0, &bformat!("Checking RDB file {}", B(rdbfilename)));
    let end = redis_check_rdb(server, rdbfilename, fd);
    if let Some(end) = end {
        rdbCheckInfo(end, b"\\o/ RDB looks OK! \\o/");
        rdbShowGenericInfo(state(server));
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::file::unlink;

    /// Returns the exit code for a file with these contents.
    fn check(contents: &[u8]) -> i32 {
        let path = format!("/tmp/fidelis-check-rdb-{}", std::process::id());
        std::fs::write(&path, contents).unwrap();
        let mut server = Server { rdb_checksum: true, ..Default::default() };
        let code = redis_check_rdb_main(&mut server, &[b"x".to_vec(), path.clone().into_bytes()]);
        assert!(!server.loading);
        unlink(path.as_bytes()).unwrap();
        code
    }

    #[test]
    fn exit_codes() {
        let mut file = b"REDIS0009\xfa\x01a\x01b\xfe\x00\xfb\x01\x00\xf9\x05\xfc\0\0\0\0\0\0\0\0\x00\x01k\x01v\xff".to_vec();
        let crc = crate::crc64::crc64(0, &file);
        file.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(check(&file), 0);
        for len in 0..file.len() {
            assert_eq!(check(&file[..len]), 1, "{len} of {}", file.len());
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x20;
            assert_eq!(check(&damaged), 1, "{at}");
        }
        // The data of a module is gone through without the module. A key without elements is an
        // error.
        assert_eq!(
            check(b"REDIS0003\x07\x01k\x05\x01\x05\x05\x03abc\x04\0\0\0\0\0\0\0\0\x00\xff"),
            0
        );
        assert_eq!(check(b"REDIS0003\x07\x01k\x05\x01\x05\x05\x03ab"), 1);
        // A hash of Valkey, without and with a time to live.
        let mut hash = b"VALKEY080\xf3\x01j\x01\x00\x05\x16\x01k\x01\x01f\x01v".to_vec();
        hash.extend([0xff; 8]);
        hash.extend(b"\xff\0\0\0\0\0\0\0\0");
        assert_eq!(check(&hash), 0);
        hash[28] = 0x7f;
        assert_eq!(check(&hash), 1);
        assert_eq!(check(b"REDIS0003\x02\x01k\x00\xff"), 1);

        let mut server = Server::default();
        let missing = b"/nonexistent/dump.rdb".to_vec();
        assert_eq!(redis_check_rdb_main(&mut server, &[b"x".to_vec(), missing]), 1);
        assert_eq!(redis_check_rdb_main(&mut server, &[b"x".to_vec()]), 1);
    }
}
