//! Ours: the trace, a file with one line for each change of state, for those who want to see how a
//! synchronization, a save or a failover went: `trace-file`.
//!
//! What changes is written where it changes, beside the line that changes it, by the macro
//! [`trace!`](crate::trace!) and those below it for the states. Nothing is written per command, and
//! nothing at all while `trace-file` is empty: then each of these places costs one branch.
//!
//! A line is an object of JSON: `t`, microseconds of the clock that no one can set, which is the
//! same for all servers of a machine; `ev`, what happened; `fn` and `at`, the function that wrote
//! the line, and where in the source; and what belongs to the event. The first one, `start`, has the
//! wall clock too, and who the server is. Bytes that are no ASCII are written as if they were
//! Latin-1. A forked child writes to the same file, and its lines have its `pid`.
//!
//! A line is one write(2), to the end of the file. If that fails, the log says so once, and the
//! trace ends: it never keeps the server from anything.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::write;

use crate::log::LL_WARNING;
use crate::networking::getClientType;
use crate::replication::replicationGetSlaveName;
use crate::server_h::*;
use crate::serverLog;
use crate::sys::clock::{getMonotonicUs, ustime};
use crate::sys::errno::error_text;
use crate::util::B;

/// Writes a line to the trace, if there is one: the server, the name of the event, and its fields as
/// `"name": value`, or `..fields` for a list of them. What is given is not evaluated otherwise.
#[macro_export]
macro_rules! trace {
    ($server:expr, $event:literal, ..$fields:expr) => {
        if $server.trace.is_on() {
            // The name of this function has the name of the one around it in front.
            fn here() {}
            let place = (std::any::type_name_of_val(&here), file!(), line!());
            let line = $crate::trace::line_of($event, place, &$fields);
            $server.trace.write_line(&line);
        }
    };
    ($server:expr, $event:literal $(, $name:literal: $value:expr)* $(,)?) => {
        $crate::trace!($server, $event, ..[$(($name, $crate::trace::Value::from($value))),*])
    };
}

/// Traces the state of the link to our master, if it has changed.
#[macro_export]
macro_rules! trace_repl_state {
    ($server:expr) => {
        if $server.trace.is_on() && $server.trace.repl_state != $server.repl_state {
            let from = std::mem::replace(&mut $server.trace.repl_state, $server.repl_state);
            $crate::trace!(
                $server,
                "repl_state",
                "from": $crate::trace::name_of(from),
                "to": $crate::trace::name_of($server.repl_state),
                "master": $crate::trace::master_of($server),
                "offset": $server.master_repl_offset,
            );
        }
    };
}

/// Traces the state of a replica, as its master sees it.
#[macro_export]
macro_rules! trace_replstate {
    ($server:expr, $slave:expr) => {
        if $server.trace.is_on() {
            let slave = $slave;
            $crate::trace!(
                $server,
                "replstate",
                "client": $server.clients[slave].id,
                "peer": &$crate::replication::replicationGetSlaveName($server, slave),
                "to": $crate::trace::replstate_name($server.clients[slave].replstate),
                "offset": $server.master_repl_offset,
            );
        }
    };
}

/// Traces our replication ids, and where we are in the history that they name.
#[macro_export]
macro_rules! trace_ids {
    ($server:expr) => {
        $crate::trace!($server, "ids", ..$crate::trace::ids_of($server))
    };
}

/// Traces what the backlog holds: `$what` has happened to it.
#[macro_export]
macro_rules! trace_backlog {
    ($server:expr, $what:literal) => {
        $crate::trace!(
            $server,
            "backlog",
            "what": $what,
            "first": $crate::trace::window_of($server).0,
            "last": $crate::trace::window_of($server).1,
            "size": $server.repl_backlog_size,
        )
    };
}

/// Traces why a replica that needs a full resync does not start a BGSAVE.
#[macro_export]
macro_rules! trace_wait {
    ($server:expr, $slave:expr, $reason:literal) => {
        $crate::trace!(
            $server,
            "waits_for_bgsave",
            "client": $server.clients[$slave].id,
            "peer": &$crate::replication::replicationGetSlaveName($server, $slave),
            "reason": $reason,
        )
    };
}

/// Traces what becomes of the client of our master that is kept for a partial resync.
#[macro_export]
macro_rules! trace_cached {
    ($server:expr, $master:expr, $what:literal) => {
        $crate::trace!(
            $server,
            "cached_master",
            "what": $what,
            "replid": &$server.clients[$master].replid,
            "offset": $server.clients[$master].reploff,
        )
    };
}

/// Traces the state of the failover.
#[macro_export]
macro_rules! trace_failover {
    ($server:expr, $reason:expr) => {
        $crate::trace!(
            $server,
            "failover",
            "to": $crate::trace::name_of($server.failover_state),
            "target": $crate::trace::target_of($server),
            "reason": $reason,
            "offset": $server.master_repl_offset,
        )
    };
}

/// A value in a line. `Null` is one that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Null,
    Int(i64),
    Bool(bool),
    Text(&'a [u8]),
    Owned(Vec<u8>),
}

macro_rules! value_from_number {
    ($($number:ty),*) => {
        $(impl From<$number> for Value<'_> {
            fn from(n: $number) -> Self {
                Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
            }
        })*
    };
}
value_from_number!(i32, i64, u32, u64, usize);

impl From<bool> for Value<'_> {
    fn from(yes: bool) -> Self {
        Value::Bool(yes)
    }
}
impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(text.as_bytes())
    }
}
impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(text: &'a [u8]) -> Self {
        Value::Text(text)
    }
}
impl<'a> From<&'a Vec<u8>> for Value<'a> {
    fn from(text: &'a Vec<u8>) -> Self {
        Value::Text(text)
    }
}
impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::Owned(text.into_bytes())
    }
}
impl From<Vec<u8>> for Value<'_> {
    fn from(text: Vec<u8>) -> Self {
        Value::Owned(text)
    }
}
impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// The fields of a line.
pub type Fields<'a> = Vec<(&'static str, Value<'a>)>;

/// The trace of a server.
#[derive(Default)]
pub struct Trace {
    on: bool,
    file: Option<OwnedFd>,
    name: Vec<u8>,
    /// The server: lines of another process are those of a child.
    pid: u32,
    /// The state of the link that was written last.
    pub repl_state: repl_state,
    /// The offset that was written last.
    offset: i64,
}

impl Trace {
    /// Tells whether there is a trace.
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Writes a line, which is whole but for the number of a child.
    #[cold]
    pub fn write_line(&mut self, line: &[u8]) {
        let Some(file) = &self.file else { return };
        let pid = process::id();
        let with_pid;
        let line = if pid == self.pid {
            line
        } else {
            let end = line.len() - b"}\n".len();
            with_pid = [&line[..end], format!(",\"pid\":{pid}}}\n").as_bytes()].concat();
            &with_pid
        };
        let failure = loop {
            match write(file.as_fd(), line) {
                Ok(written) if written == line.len() => return,
                Ok(_) => break "it took a part of a line".to_string(),
                Err(Errno::EINTR) => {}
                Err(e) => break error_text(&io::Error::from(e)),
            }
        };
        serverLog!(
            LL_WARNING,
            "The trace ends here, as '{}' can't be written to: {}",
            B(&self.name),
            failure
        );
        self.on = false;
        self.file = None;
    }
}

/// Puts a line together: the event, the name of a function within the one that writes it with file
/// and line, and the fields.
pub fn line_of(event: &str, place: (&str, &str, u32), fields: &[(&str, Value<'_>)]) -> Vec<u8> {
    let (within, file, number) = place;
    let mut line = Vec::with_capacity(200);
    // A vector takes what is written to it.
    let _ = write!(line, "{{\"t\":{},\"ev\":\"{event}\"", getMonotonicUs());
    let _ = write!(line, ",\"fn\":\"{}\",\"at\":\"{file}:{number}\"", function_name(within));
    for (name, value) in fields {
        let _ = write!(line, ",\"{name}\":");
        match value {
            Value::Null => line.extend_from_slice(b"null"),
            Value::Int(n) => {
                let _ = write!(line, "{n}");
            }
            Value::Bool(yes) => {
                let _ = write!(line, "{yes}");
            }
            Value::Text(text) => quote(&mut line, text),
            Value::Owned(text) => quote(&mut line, text),
        }
    }
    line.extend_from_slice(b"}\n");
    line
}

/// Returns the function around `fidelis::replication::syncWithMaster::here`, without the name of the
/// crate and of closures.
fn function_name(within: &str) -> String {
    let parts = within.split("::").skip(1);
    let mut parts: Vec<&str> = parts.filter(|part| !part.starts_with('{')).collect();
    parts.pop();
    parts.join("::")
}

/// Appends text in quotes, in the form of JSON.
pub fn quote(line: &mut Vec<u8>, text: &[u8]) {
    line.push(b'"');
    for &c in text {
        match c {
            b'"' | b'\\' => line.extend([b'\\', c]),
            b' '..=b'~' => line.push(c),
            _ => {
                let _ = write!(line, "\\u{c:04x}");
            }
        }
    }
    line.push(b'"');
}

/// Returns the name of a state, which is that of the C.
pub fn name_of(state: impl std::fmt::Debug) -> String {
    format!("{state:?}")
}

/// Returns the name of a replica's state.
pub fn replstate_name(replstate: i32) -> &'static str {
    match replstate {
        0 => "REPL_STATE_NONE",
        SLAVE_STATE_WAIT_BGSAVE_START => "SLAVE_STATE_WAIT_BGSAVE_START",
        SLAVE_STATE_WAIT_BGSAVE_END => "SLAVE_STATE_WAIT_BGSAVE_END",
        SLAVE_STATE_SEND_BULK => "SLAVE_STATE_SEND_BULK",
        SLAVE_STATE_ONLINE => "SLAVE_STATE_ONLINE",
        _ => "unknown",
    }
}

/// Returns the address of our master.
pub fn master_of(server: &Server) -> Option<Vec<u8>> {
    let host = server.masterhost.as_ref()?;
    Some(crate::bformat!("{}:{}", B(host), server.masterport))
}

/// Returns the address of the replica that is to become the master.
pub fn target_of(server: &Server) -> Option<Vec<u8>> {
    let host = server.target_replica_host.as_ref()?;
    Some(crate::bformat!("{}:{}", B(host), server.target_replica_port))
}

/// Returns the first and the last byte in the backlog, if it holds any.
pub fn window_of(server: &Server) -> (Option<i64>, Option<i64>) {
    if !server.repl_backlog || server.repl_backlog_histlen == 0 {
        return (None, None);
    }
    let first = server.repl_backlog_off;
    (Some(first), Some(first.saturating_add(server.repl_backlog_histlen - 1)))
}

/// Returns the ids of our history, and where we are in it.
pub fn ids_of(server: &Server) -> Fields<'_> {
    let second = server.replid2.iter().any(|&c| c != b'0').then_some(&server.replid2);
    vec![
        ("replid", Value::from(&server.replid)),
        ("replid2", Value::from(second)),
        ("second_replid_offset", Value::from(server.second_replid_offset)),
        ("offset", Value::from(server.master_repl_offset)),
    ]
}

/// Traces where the stream is, if it has moved since the last time: called once a second.
pub fn trace_offset(server: &mut Server) {
    if !server.trace.on || server.trace.offset == server.master_repl_offset {
        return;
    }
    server.trace.offset = server.master_repl_offset;
    let (first, last) = window_of(server);
    trace!(
        server,
        "offset",
        "offset": server.master_repl_offset,
        "backlog_first": first,
        "backlog_last": last,
    );
}

/// Begins the trace at the start of the server. A file that can't be written to is logged.
pub fn start_trace(server: &mut Server) {
    if let Err(e) = open_trace(server) {
        serverLog!(
            LL_WARNING,
            "There is no trace, as '{}' can't be written to: {}",
            B(server.trace_file.as_deref().unwrap_or_default()),
            error_text(&e)
        );
    }
}

/// Applies CONFIG SET trace-file, also of the same name, when the file was moved away. The error is
/// the text for the client.
pub fn set_trace_file(server: &mut Server) -> Result<(), Vec<u8>> {
    open_trace(server)
        .map_err(|e| crate::bformat!("The trace file can't be written to: {}", error_text(&e)))
}

/// Ends the trace that there is, and begins the one that is configured. If its file can't be opened,
/// the old one goes on.
fn open_trace(server: &mut Server) -> io::Result<()> {
    let Some(name) = server.trace_file.clone() else {
        trace!(server, "end");
        server.trace = Trace::default();
        return Ok(());
    };
    // The open of a pipe that nobody reads must not wait, and nor must a write to a full one.
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o644);
    let file = nix::fcntl::open(name.as_slice(), flags | OFlag::O_NONBLOCK, mode)?;
    trace!(server, "end");
    let state = server.repl_state;
    server.trace = Trace {
        on: true,
        file: Some(file),
        name,
        pid: process::id(),
        repl_state: state,
        offset: server.master_repl_offset,
    };
    trace!(
        server,
        "start",
        "wall": ustime(),
        "pid": server.trace.pid,
        "port": server.port,
        "run_id": &server.runid,
        "version": REDIS_VERSION,
        "role": if server.masterhost.is_some() { "replica" } else { "master" },
        "master": master_of(server),
        "repl_state": name_of(server.repl_state),
    );
    trace_ids!(server);
    if server.repl_backlog {
        trace_backlog!(server, "there");
    }
    for slave in server.slaves.iter().copied().collect::<Vec<_>>() {
        trace_replstate!(server, slave);
    }
    Ok(())
}

/// Traces that a client goes, if it is a replica, or the link to our master.
pub fn trace_client_gone(server: &mut Server, c: ClientId) {
    if !server.trace.on {
        return;
    }
    let reason = match server[c].flags {
        flags if flags & CLIENT_PROTOCOL_ERROR != 0 => "an error of the protocol",
        flags if flags & CLIENT_CLOSE_ASAP != 0 => "we close it",
        _ => "the connection ended, or is given up",
    };
    if getClientType(&server[c]) == CLIENT_TYPE_SLAVE {
        trace!(
            server,
            "replica_gone",
            "client": server[c].id,
            "peer": &replicationGetSlaveName(server, c),
            "from": replstate_name(server[c].replstate),
            "reason": reason,
            "offset": server.master_repl_offset,
        );
    } else if server.master == Some(c) {
        trace!(
            server,
            "master_gone",
            "master": master_of(server),
            "reason": reason,
            "offset": server[c].reploff,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::file::unlink;

    fn text(line: &[u8]) -> String {
        String::from_utf8(line.to_vec()).unwrap()
    }

    /// A line names the function that wrote it, closures or not, and any bytes make a line of JSON.
    #[test]
    fn a_line() {
        let place = ("fidelis::replication::syncWithMaster::{{closure}}::here", "src/r.rs", 7);
        let fields: Fields =
            vec![("a", (-5).into()), ("b", (&b"x\"\\\n\xff\0"[..]).into()), ("c", Value::Null)];
        let line = text(&line_of("ev", place, &fields));
        assert!(line.starts_with("{\"t\":"));
        let end = r#","ev":"ev","fn":"replication::syncWithMaster","at":"src/r.rs:7","a":-5,"b":"x\"\\\u000a\u00ff\u0000","c":null}"#;
        assert!(line.ends_with(&format!("{end}\n")), "{line}");
    }

    /// The trace begins, is reopened and ends by its directive; a file that can't be written to
    /// leaves the one that there is, and one that is full ends it.
    #[test]
    fn begin_and_end() {
        let path = format!("/tmp/fidelis-trace-{}", std::process::id());
        let lines = || std::fs::read_to_string(&path).unwrap_or_default().lines().count();
        let mut server = Server::default();
        let mut evaluated = 0;
        let mut evaluate = || {
            evaluated += 1;
            evaluated
        };
        trace!(server, "nothing", "x": evaluate());
        server.trace_file = Some(path.clone().into_bytes());
        set_trace_file(&mut server).unwrap();
        let started = lines();
        assert!(started >= 2);
        trace!(server, "something", "x": 4 + evaluate());
        assert_eq!(lines(), started + 1);
        let all = std::fs::read_to_string(&path).unwrap();
        assert!(all.ends_with(",\"x\":5}\n") && all.contains("\"trace::tests::begin_and_end\""));

        server.trace_file = Some(b"/nonexistent/trace".to_vec());
        assert!(set_trace_file(&mut server).is_err());
        trace!(server, "something");
        assert_eq!(lines(), started + 2);

        // Reopened, by the same name.
        unlink(path.as_bytes()).unwrap();
        server.trace_file = Some(path.clone().into_bytes());
        set_trace_file(&mut server).unwrap();
        assert_eq!(lines(), started);

        server.trace_file = Some(b"/dev/full".to_vec());
        set_trace_file(&mut server).unwrap();
        assert!(!server.trace.is_on(), "the first line does not fit");
        trace!(server, "something");
        server.trace_file = None;
        set_trace_file(&mut server).unwrap();
        assert!(!server.trace.is_on());
        unlink(path.as_bytes()).unwrap();
    }
}
