//! `slowlog.c`: the commands that took longest, in memory, seen with SLOWLOG.

use crate::args::Args;
use crate::bformat;
use crate::networking::*;
use crate::object::getLongFromObjectOrReply;
use crate::server_h::*;

/// More arguments than this are only counted.
pub const SLOWLOG_ENTRY_MAX_ARGC: usize = 32;
/// Longer arguments are cut at this many bytes.
pub const SLOWLOG_ENTRY_MAX_STRING: usize = 128;

/// Returns an entry for a command that took `duration` microseconds. Many arguments and long ones
/// are cut, with a note of how much is missing.
pub fn slowlogCreateEntry(
    server: &mut Server,
    c: ClientId,
    argv: &Args,
    duration: i64,
) -> slowlogEntry {
    let slargc = argv.len().min(SLOWLOG_ENTRY_MAX_ARGC);
    let entry_arg = |j: usize| {
        if slargc != argv.len() && j == slargc - 1 {
            return bformat!("... ({} more arguments)", argv.len() - slargc + 1);
        }
        let arg = &argv[j];
        if arg.len() <= SLOWLOG_ENTRY_MAX_STRING {
            return arg.to_vec();
        }
        let mut s = arg[..SLOWLOG_ENTRY_MAX_STRING].to_vec();
        s.extend_from_slice(&bformat!("... ({} more bytes)", arg.len() - SLOWLOG_ENTRY_MAX_STRING));
        s
    };
    let id = server.slowlog_entry_id;
    server.slowlog_entry_id += 1;
    slowlogEntry {
        argv: (0..slargc).map(entry_arg).collect(),
        id,
        duration,
        time: crate::sys::clock::ustime() / 1_000_000,
        cname: server[c].name.clone().unwrap_or_default(),
        peerid: getClientPeerId(server, c),
    }
}

/// Tells whether `slowlogPushEntryIfNeeded` would do anything for a command that took `duration`
/// microseconds.
#[inline]
pub fn slowlog_would_push(server: &Server, duration: i64) -> bool {
    server.slowlog_log_slower_than >= 0
        && (duration >= server.slowlog_log_slower_than
            || server.slowlog.len() > server.slowlog_max_len)
}

/// Logs a command that took `duration` microseconds if that is too long, and drops what is above
/// the configured length.
pub fn slowlogPushEntryIfNeeded(server: &mut Server, c: ClientId, argv: &Args, duration: i64) {
    if server.slowlog_log_slower_than < 0 {
        return;
    }
    if duration >= server.slowlog_log_slower_than {
        let entry = slowlogCreateEntry(server, c, argv, duration);
        server.slowlog.push_front(entry);
    }
    let max_len = server.slowlog_max_len;
    server.slowlog.truncate(max_len);
}

/// Forgets all entries.
pub fn slowlogReset(server: &mut Server) {
    server.slowlog.clear();
}

/// SLOWLOG GET|LEN|RESET|HELP
pub fn slowlogCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let is = |name: &str| argv[1].eq_ignore_ascii_case(name.as_bytes());
    if argv.len() == 2 && is("help") {
        let help = [
            "GET [<count>]",
            "    Return top <count> entries from the slowlog (default: 10). Entries are",
            "    made of:",
            "    id, timestamp, time in microseconds, arguments array, client IP and port,",
            "    client name",
            "LEN",
            "    Return the length of the slowlog.",
            "RESET",
            "    Reset the slowlog.",
        ];
        addReplyHelp(server, c, argv, &help);
    } else if argv.len() == 2 && is("reset") {
        slowlogReset(server);
        addReply(server, c, shared::ok);
    } else if argv.len() == 2 && is("len") {
        let len = server.slowlog.len();
        addReplyLongLong(server, c, len as i64);
    } else if (argv.len() == 2 || argv.len() == 3) && is("get") {
        let mut count = 10;
        if argv.len() == 3 {
            match getLongFromObjectOrReply(server, c, &argv[2], None) {
                Ok(n) => count = n,
                Err(()) => return,
            }
        }
        // As in the C, a count below zero never comes down to zero: all entries.
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(server.slowlog.len());
        addReplyArrayLen(server, c, count);
        for se in server.slowlog.iter().take(count) {
            let clients = &mut server.clients;
            addReplyArrayLen(clients, c, 6);
            addReplyLongLong(clients, c, se.id);
            addReplyLongLong(clients, c, se.time);
            addReplyLongLong(clients, c, se.duration);
            addReplyArrayLen(clients, c, se.argv.len());
            for arg in &se.argv {
                addReplyBulkCBuffer(clients, c, arg);
            }
            addReplyBulkCBuffer(clients, c, &se.peerid);
            addReplyBulkCBuffer(clients, c, &se.cname);
        }
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}
