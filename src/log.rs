//! The log: `serverLog`, `serverLogRaw` and `serverLogFromHandler` of `server.c`.
//!
//! Read first: [`serverLogRaw`]. A line is `pid:role dd Mon yyyy HH:MM:SS.mmm level message`; the
//! role is M (master), S (replica), C (a forked child) or X (sentinel), the level one of `.-*#`.
//!
//! This is the one thing that belongs to the process and not to a `Server`: the threads of
//! `bio.rs`, forked children and signal handlers log too, and most of what logs has no server at
//! hand. So its settings are atomics, and one lock for the name of the file. The lock is written by
//! `set_log_file` alone, and a reader holds it just for the line.
//!
//! Differs: the clock, the time zone and syslog come through hooks, which `sys/` fills in; without
//! them times are UTC.

use std::fmt;
use std::io::{Cursor, IoSlice, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::uio::writev;
use nix::unistd::write;

/// The level of details for development.
pub const LL_DEBUG: i32 = 0;
/// The level of information that is rarely useful.
pub const LL_VERBOSE: i32 = 1;
/// The level of what a production log should hold; the default.
pub const LL_NOTICE: i32 = 2;
/// The level of what the operator should see.
pub const LL_WARNING: i32 = 3;
/// A flag beside the level: the message alone, without head and newline.
pub const LL_RAW: i32 = 1 << 10;

/// A formatted message is cut so that it fits, with a closing NUL, in so many bytes.
pub const LOG_MAX_LEN: usize = 1024;

/// The clock of the log: milliseconds since 1970 UTC, and seconds that local time is ahead of UTC.
pub type LogClock = fn() -> (i64, i64);
/// The function that sends a line to syslog: a level (`LL_DEBUG` to `LL_WARNING`) and the message
/// without head.
pub type LogSyslog = fn(i32, &[u8]);

static VERBOSITY: AtomicI32 = AtomicI32::new(LL_NOTICE);
static ROLE: AtomicU8 = AtomicU8::new(b'M');
static SERVER_PID: AtomicU32 = AtomicU32::new(0);
static DAEMONIZE: AtomicBool = AtomicBool::new(false);
static SYSLOG_ENABLED: AtomicBool = AtomicBool::new(false);
static LOGFILE: RwLock<Vec<u8>> = RwLock::new(Vec::new());
static CLOCK: OnceLock<LogClock> = OnceLock::new();
/// True while daylight saving is on (the C's `server.daylight_active`).
static DAYLIGHT: AtomicBool = AtomicBool::new(false);
static SYSLOG: OnceLock<LogSyslog> = OnceLock::new();

/// Sets the lowest level that is logged: `server.verbosity`.
pub fn set_log_level(verbosity: i32) {
    VERBOSITY.store(verbosity, Relaxed);
}

/// Returns the lowest level that is logged.
pub fn get_log_level() -> i32 {
    VERBOSITY.load(Relaxed)
}

/// Sets the file to log to: `server.logfile`. Empty is standard output.
pub fn set_log_file(path: &[u8]) {
    *LOGFILE.write().unwrap_or_else(PoisonError::into_inner) = path.to_vec();
}

/// Returns the file that is logged to; empty for standard output.
pub fn get_log_file() -> Vec<u8> {
    LOGFILE.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Sets the role of the server: `M`, `S`, or `X`. A child of a master or replica shows as `C` by
/// itself.
pub fn set_log_role(role: u8) {
    ROLE.store(role, Relaxed);
}

/// Tells which process is the server, `server.pid`; any other that logs is its child. To be called
/// again after daemonizing. Before the first call nobody is a child.
pub fn set_log_pid(pid: u32) {
    SERVER_PID.store(pid, Relaxed);
}

/// Tells whether the server runs in the background, where a signal handler has no standard output
/// to log to.
pub fn set_log_daemonize(daemonize: bool) {
    DAEMONIZE.store(daemonize, Relaxed);
}

/// Turns syslog on or off. It needs the hook as well: [`set_log_syslog_hook`].
pub fn set_log_syslog(enabled: bool) {
    SYSLOG_ENABLED.store(enabled, Relaxed);
}

/// Gives the log its way to syslog. Only the first call counts.
pub fn set_log_syslog_hook(hook: LogSyslog) {
    let _ = SYSLOG.set(hook);
}

/// Tells the log whether daylight saving is on: then local time is an hour ahead of what the clock
/// says.
pub fn set_log_daylight(active: bool) {
    DAYLIGHT.store(active, Relaxed);
}

/// Gives the log its clock. Only the first call counts.
pub fn set_log_clock(clock: LogClock) {
    let _ = CLOCK.set(clock);
}

/// Logs a formatted message: `serverLog!(LL_NOTICE, "DB saved on {}", x)`.
///
/// Bytes are given as [`B`](crate::util::B), and are not lost. The arguments are not evaluated
/// below the verbosity.
#[macro_export]
macro_rules! serverLog {
    ($level:expr, $($arg:tt)+) => {
        if ($level) & 0xff >= $crate::log::get_log_level() {
            $crate::log::_serverLog($level, format_args!($($arg)+));
        }
    };
}
pub use crate::serverLog;

/// Returns the milliseconds since 1970, and the seconds that local time is ahead of UTC.
fn now() -> (i64, i64) {
    match CLOCK.get() {
        Some(clock) => {
            let (msec, offset) = clock();
            (msec, if DAYLIGHT.load(Relaxed) { offset + 3600 } else { offset })
        }
        None => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            (i64::try_from(since.as_millis()).unwrap_or(0), 0)
        }
    }
}

/// A local time that prints as `%d %b %Y %H:%M:%S.` and the milliseconds.
struct LogTime {
    msec: i64,
    offset: i64,
}

impl fmt::Display for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let seconds = self.msec.div_euclid(1000).saturating_add(self.offset);
        let (days, second) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));

        // The civil calendar, in eras of 400 years that begin in March, so that the leap day is the
        // last of its year.
        let days = days + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day_of_month = day - (153 * month + 2) / 5 + 1;
        let (month, carry) = if month < 10 { (month + 2, 0) } else { (month - 10, 1) };

        write!(
            f,
            "{:02} {} {} {:02}:{:02}:{:02}.{:03}",
            day_of_month,
            MONTHS[month as usize],
            era * 400 + year + carry,
            second / 3600,
            second / 60 % 60,
            second % 60,
            self.msec.rem_euclid(1000)
        )
    }
}

/// Logs `msg` as it is, of any length. `level` may carry [`LL_RAW`].
///
/// The file is opened for each line and closed after it, so that it can be moved away at any time.
/// If it cannot be opened the message is lost. A line is one write: lines of several processes do
/// not mix.
pub fn serverLogRaw(level: i32, msg: &[u8]) {
    let rawmode = level & LL_RAW != 0;
    let level = level & 0xff;
    if level < get_log_level() {
        return;
    }

    // Nothing is allocated, since the line may be about an allocation that failed.
    let mut head = Cursor::new([0u8; 96]);
    if !rawmode {
        let (msec, offset) = now();
        let pid = std::process::id();
        let server_pid = SERVER_PID.load(Relaxed);
        let role_char = match ROLE.load(Relaxed) {
            b'X' => 'X',
            _ if server_pid != 0 && pid != server_pid => 'C',
            role => role as char,
        };
        let sign = match level {
            LL_DEBUG => '.',
            LL_VERBOSE => '-',
            LL_NOTICE => '*',
            _ => '#',
        };
        let _ = write!(head, "{pid}:{role_char} {} {sign} ", LogTime { msec, offset });
    }
    let head_len = head.position() as usize;
    let line = [&head.get_ref()[..head_len], msg, if rawmode { b"" } else { b"\n" }];

    {
        let logfile = LOGFILE.read().unwrap_or_else(PoisonError::into_inner);
        if logfile.is_empty() {
            // Unit tests do not log: their servers' lines would hide the result. A test that looks
            // at the log names a file.
            if !cfg!(test) {
                write_line(std::io::stdout(), line);
            }
        } else {
            match open_append(&logfile, Mode::from_bits_truncate(0o666)) {
                Some(fd) => write_line(fd, line),
                None => return,
            }
        }
    }
    if SYSLOG_ENABLED.load(Relaxed) {
        if let Some(syslog) = SYSLOG.get() {
            syslog(level.min(LL_WARNING), msg);
        }
    }
}

/// Implements [`serverLog!`](crate::serverLog) when the level is high enough: formats, cuts at
/// [`LOG_MAX_LEN`], logs.
pub fn _serverLog(level: i32, args: fmt::Arguments<'_>) {
    let mut msg = crate::util::format_bytes(args);
    msg.truncate(LOG_MAX_LEN - 1);
    serverLogRaw(level, &msg);
}

/// Logs a fixed message from a signal handler: `pid:signal-handler (unix time) message`.
///
/// It allocates nothing, and waits for no lock: in the moment when the name of the log file is
/// being changed, the message is lost. Nothing goes to standard output in the background, nor to
/// syslog.
pub fn serverLogFromHandler(level: i32, msg: &[u8]) {
    if level & 0xff < get_log_level() {
        return;
    }
    let Ok(logfile) = LOGFILE.try_read() else { return };
    if logfile.is_empty() && (DAEMONIZE.load(Relaxed) || cfg!(test)) {
        return;
    }

    let mut head = Cursor::new([0u8; 64]);
    let _ = write!(head, "{}:signal-handler ({}) ", std::process::id(), now().0.div_euclid(1000));
    let len = head.position() as usize;
    let head = &head.get_ref()[..len];

    if logfile.is_empty() {
        let stdout = std::io::stdout();
        for part in [head, msg, b"\n"] {
            write_all(&stdout, part);
        }
    } else if let Some(fd) = open_append(&logfile, Mode::from_bits_truncate(0o644)) {
        for part in [head, msg, b"\n"] {
            write_all(&fd, part);
        }
    }
}

fn open_append(path: &[u8], mode: Mode) -> Option<OwnedFd> {
    open(path, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_CLOEXEC, mode).ok()
}

/// Writes a line in one go, so that lines of several processes do not mix.
fn write_line(fd: impl AsFd, parts: [&[u8]; 3]) {
    let mut written = writev(&fd, &parts.map(IoSlice::new)).unwrap_or(0);
    // What is left, where a signal or a full disk came between.
    for part in parts {
        let done = written.min(part.len());
        written -= done;
        write_all(&fd, &part[done..]);
    }
}

/// Writes past std's buffer and its lock, which a forked child might find held for ever. Errors are
/// dropped: there is nowhere to report them.
fn write_all(fd: impl AsFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match write(&fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::B;

    fn time(msec: i64, offset: i64) -> String {
        LogTime { msec, offset }.to_string()
    }

    #[test]
    fn calendar() {
        assert_eq!(time(0, 0), "01 Jan 1970 00:00:00.000");
        assert_eq!(time(951_782_400_000, 0), "29 Feb 2000 00:00:00.000");
        assert_eq!(time(1_709_164_799_999, 0), "28 Feb 2024 23:59:59.999");
        assert_eq!(time(1_709_164_799_999, 1), "29 Feb 2024 00:00:00.999");
        assert_eq!(time(1_735_689_599_001, 7200), "01 Jan 2025 01:59:59.001");
        assert_eq!(time(1_735_689_599_001, -5 * 3600), "31 Dec 2024 18:59:59.001");
        assert_eq!(time(4_107_542_400_000, 0), "01 Mar 2100 00:00:00.000");
        assert_eq!(time(-1, 0), "31 Dec 1969 23:59:59.999");
    }

    /// One test for all, since the log is one for the process. Other tests may log meanwhile: lines
    /// are told by a mark.
    #[test]
    fn lines() {
        let path = std::env::temp_dir().join(format!("fidelis-log-{}", std::process::id()));
        let name = path.to_str().unwrap().as_bytes().to_vec();
        let lines = || -> Vec<Vec<u8>> {
            let text = std::fs::read(&path).unwrap_or_default();
            text.split(|&c| c == b'\n')
                .filter(|l| l.windows(4).any(|w| w == b"mark"))
                .map(<[u8]>::to_vec)
                .collect()
        };
        set_log_file(&name);
        assert_eq!(get_log_file(), name);

        serverLog!(LL_NOTICE, "mark {} {}", B(b"\x00\xff\xc3\xa9"), 7);
        let line = lines().remove(0);
        let pid = std::process::id().to_string();
        assert!(line.starts_with(format!("{pid}:M ").as_bytes()), "{:?}", B(&line));
        assert!(line.ends_with(b" * mark \x00\xff\xc3\xa9 7"), "{:?}", B(&line));
        assert_eq!(line.len(), format!("{pid}:M 01 Jan 1970 00:00:00.000 * ").len() + 11);

        // Levels and roles; what is not logged is not evaluated.
        let mut evaluated = false;
        serverLog!(LL_VERBOSE, "mark {}", {
            evaluated = true;
            1
        });
        assert!(!evaluated);
        set_log_role(b'S');
        serverLog!(LL_WARNING, "mark {}", {
            evaluated = true;
            2
        });
        assert!(evaluated);
        set_log_pid(std::process::id() + 1);
        serverLog!(LL_NOTICE, "mark 3");
        set_log_role(b'X');
        serverLog!(LL_NOTICE, "mark 4");
        set_log_pid(0);
        set_log_role(b'M');
        set_log_level(LL_DEBUG);
        serverLog!(LL_DEBUG, "mark 5");
        serverLog!(LL_VERBOSE, "mark 6");
        set_log_level(LL_NOTICE);
        let got = lines();
        let heads: Vec<(u8, u8, u8)> =
            got[1..].iter().map(|l| (l[pid.len() + 1], l[l.len() - 8], l[l.len() - 1])).collect();
        assert_eq!(
            heads,
            [
                (b'S', b'#', b'2'),
                (b'C', b'*', b'3'),
                (b'X', b'*', b'4'),
                (b'M', b'.', b'5'),
                (b'M', b'-', b'6')
            ]
        );

        // Rotation: the next line makes a new file. Long messages are cut; raw ones are not.
        std::fs::remove_file(&path).unwrap();
        serverLog!(LL_NOTICE, "mark{}", B(&[b'x'; 2000]));
        serverLogRaw(LL_NOTICE | LL_RAW, &[b"mark".as_slice(), &[b'y'; 2000], b"\n"].concat());
        serverLogFromHandler(LL_WARNING, b"mark handled");
        let got = lines();
        assert_eq!(got[0].iter().filter(|&&c| c == b'x').count(), LOG_MAX_LEN - 1 - 4);
        assert_eq!(got[1].len(), 2004);
        assert!(got[2].starts_with(format!("{pid}:signal-handler (").as_bytes()));
        assert!(got[2].ends_with(b") mark handled"));

        // A file that cannot be opened loses the message and nothing else.
        set_log_file(b"/nonexistent/dir/log");
        serverLog!(LL_WARNING, "mark lost");
        set_log_file(b"");
        std::fs::remove_file(&path).unwrap();
    }
}
