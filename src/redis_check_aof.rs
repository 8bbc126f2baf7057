//! `redis-check-aof.c`: goes through an append only file, tells where it is damaged, and cuts that
//! off if asked to.
//!
//! It is a mode of the server's binary, chosen by the name `redis-check-aof`.
//!
//! Read first: `process`.
//!
//! Differs: what the C keeps in static variables is `AofCheck`. A length below 0, or above what the
//! file holds, is an error like others, where the C asks for the memory first.

use std::io::{BufRead, Write};

use crate::bformat;
use crate::explain::{Kind, explain_main};
use crate::redis_check_rdb::redis_check_rdb_open;
use crate::rio::*;
use crate::server_h::Server;
use crate::sys::file::{file_size, ftruncate, lseek, open};
use crate::sys::socket::{close, read};
use crate::util::{B, c_str, eq_ignore_case, strtoll};

/// The longest message, in bytes.
const MESSAGE_MAX: usize = 1023;
/// The longest line of a header, in bytes.
const LINE_MAX: usize = 127;

/// The progress of a check.
struct AofCheck {
    fp: Rio,
    /// The position in the file at which the RDB ends and the commands begin.
    base: u64,
    /// The first error found.
    error: Vec<u8>,
    /// The position of the last part that was read.
    epos: u64,
    line: i64,
}

/// Writes to the standard output; if that is gone, there is nobody to tell.
fn print(text: &[u8]) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text).and_then(|()| stdout.flush());
}

/// Returns a byte as the C shows it in hex: negative ones are long.
fn hex_char(byte: Option<&u8>) -> String {
    format!("{:02x}", byte.map_or(0, |&byte| i32::from(byte as i8)))
}

impl AofCheck {
    /// Returns the position in the file.
    fn tell(&self) -> u64 {
        self.base + rioTell(&self.fp)
    }

    /// Notes an error, with its position.
    fn ERROR(&mut self, msg: &[u8]) {
        let msg = c_str(msg);
        let msg = &msg[..msg.len().min(MESSAGE_MAX)];
        self.error = bformat!("0x{:16x}: {}", self.epos, B(msg));
    }

    fn consumeNewline(&mut self, buf: &[u8]) -> Option<()> {
        if !buf.starts_with(b"\r\n") {
            let (first, second) = (hex_char(buf.first()), hex_char(buf.get(1)));
            self.ERROR(&bformat!("Expected \\r\\n, got: {}{}", first, second));
            return None;
        }
        self.line += 1;
        Some(())
    }

    /// Reads a line with a number. `None`: there is none, or it is malformed.
    fn readLong(&mut self, prefix: u8) -> Option<i64> {
        self.epos = self.tell();
        let mut buf = [0; LINE_MAX];
        let len = rio_read_line(&mut self.fp, &mut buf).ok()?;
        // A NUL ends the number, but an error shows what is behind it.
        let buf = &buf[..len];
        let got = buf.first().copied().unwrap_or(0);
        if got != prefix {
            self.ERROR(&bformat!("Expected prefix '{}', got: '{}'", B(&[prefix]), B(&[got])));
            return None;
        }
        let number = strtoll(c_str(&buf[1..]), 10);
        self.consumeNewline(&buf[1 + number.len..])?;
        Some(number.value)
    }

    /// Reads the next `length` bytes.
    fn readBytes(&mut self, length: i64) -> Option<Vec<u8>> {
        self.epos = self.tell();
        let mut target = Vec::new();
        let wanted = usize::try_from(length).unwrap_or(0);
        while target.len() < wanted {
            let missing = (wanted - target.len()).min(1 << 20);
            if rio_read_append(&mut self.fp, &mut target, missing).is_err() {
                break;
            }
        }
        if target.len() as i64 != length {
            let real = target.len();
            self.ERROR(&bformat!("Expected to read {} bytes, got {} bytes", length, real));
            return None;
        }
        Some(target)
    }

    fn readString(&mut self) -> Option<Vec<u8>> {
        let len = self.readLong(b'$')?;
        let mut target = self.readBytes(len.wrapping_add(2))?;
        let newline = target.split_off(target.len().saturating_sub(2));
        self.consumeNewline(&newline)?;
        Some(target)
    }

    fn readArgc(&mut self) -> Option<i64> {
        self.readLong(b'*')
    }
}

/// Goes through the commands, up to the end or the first error, which is told. Returns where the
/// last whole command or transaction ends.
fn process(check: &mut AofCheck) -> u64 {
    let mut pos = check.tell();
    let mut multi = 0;
    'commands: loop {
        if multi == 0 {
            pos = check.tell();
        }
        let Some(argc) = check.readArgc() else { break };
        for i in 0..argc {
            let Some(str) = check.readString() else { break 'commands };
            if i != 0 {
                continue;
            }
            let name = c_str(&str);
            if eq_ignore_case(name, b"multi") {
                multi += 1;
                if multi != 1 {
                    check.ERROR(b"Unexpected MULTI");
                    break 'commands;
                }
            } else if eq_ignore_case(name, b"exec") {
                multi -= 1;
                if multi != 0 {
                    check.ERROR(b"Unexpected EXEC");
                    break 'commands;
                }
            }
        }
    }

    if rio_at_eof(&check.fp) && multi != 0 && check.error.is_empty() {
        check.ERROR(b"Reached EOF before reading EXEC for MULTI");
    }
    if !check.error.is_empty() {
        print(&bformat!("{}\n", B(&check.error)));
    }
    pos
}

/// Checks the file that the arguments name, behind the name of the program: `[--fix] <file.aof>`.
/// Returns the exit code: 0 if the file is valid, or is so now.
///
/// The server is used up by it: it only gives the configuration.
pub fn redis_check_aof_main(server: &mut Server, argv: &[Vec<u8>]) -> i32 {
    // C: there is no such option.
    if let Some(code) = explain_main(Kind::Aof, argv) {
        return code;
    }
    let (filename, fix) = match argv {
        [program] => {
            print(&bformat!("Usage: {} [--fix] <file.aof>\n", B(program)));
            return 1;
        }
        [_, filename] => (filename, false),
        [_, option, filename] => {
            if option != b"--fix" {
                print(&bformat!("Invalid argument: {}\n", B(option)));
                return 1;
            }
            (filename, true)
        }
        _ => {
            print(b"Invalid arguments\n");
            return 1;
        }
    };
    let Ok(fd) = open(filename, libc::O_RDWR, 0) else {
        print(&bformat!("Cannot open file: {}\n", B(filename)));
        return 1;
    };
    let Ok(size) = file_size(fd) else {
        print(&bformat!("Cannot stat file: {}\n", B(filename)));
        return 1;
    };
    if size == 0 {
        print(&bformat!("Empty file: {}\n", B(filename)));
        return 1;
    }

    // It may begin with an RDB, which takes eight bytes at least.
    let mut base = 0;
    if size >= 8 {
        let mut sig = [0; 5];
        let has_preamble = read(fd, &mut sig).is_ok_and(|nread| nread == 5) && &sig == b"REDIS";
        if lseek(fd, 0, libc::SEEK_SET).is_err() {
            print(&bformat!("Cannot open file: {}\n", B(filename)));
            return 1;
        }
        if has_preamble {
            print(
                b"The AOF appears to start with an RDB preamble.\nChecking the RDB preamble to start:\n",
            );
            // The first argument stands for the file's name, even if it is `--fix`.
            match redis_check_rdb_open(server, &argv[1], Some(fd)) {
                Some(end) => base = end,
                None if server.rdb_check.as_ref().is_some_and(|check| check.terminated) => {
                    return 1;
                }
                None => {
                    print(b"RDB preamble of AOF file is not sane, aborting.\n");
                    return 1;
                }
            }
            print(b"RDB preamble is OK, proceeding with AOF tail...\n");
            // The check has read on behind the RDB.
            if lseek(fd, base as i64, libc::SEEK_SET).is_err() {
                print(b"RDB preamble of AOF file is not sane, aborting.\n");
                return 1;
            }
        }
    }

    let fp = rioInitWithFile(fd, 0);
    let mut check = AofCheck { fp, base, error: Vec::new(), epos: 0, line: 1 };
    let pos = process(&mut check) as i64;
    let diff = size - pos;
    print(&bformat!(
        "AOF analyzed: size={}, ok_up_to={}, ok_up_to_line={}, diff={}\n",
        size,
        pos,
        check.line,
        diff
    ));
    if diff > 0 {
        if !fix {
            print(b"AOF is not valid. Use the --fix option to try fixing it.\n");
            return 1;
        }
        print(&bformat!(
            "This will shrink the AOF from {} bytes, with {} bytes, to {} bytes\n",
            size,
            diff,
            pos
        ));
        print(b"Continue? [y/N]: ");
        let answer = std::io::stdin().lock().fill_buf().map(|buf| buf.first().copied());
        if !matches!(answer, Ok(Some(b'y' | b'Y'))) {
            print(b"Aborting...\n");
            return 1;
        }
        if ftruncate(fd, pos).is_err() {
            print(b"Failed to truncate AOF\n");
            return 1;
        }
        print(b"Successfully truncated AOF\n");
    } else {
        print(b"AOF is valid\n");
    }
    close(fd);
    0
}
