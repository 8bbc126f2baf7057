//! Ours: DEBUG STEP, the event loop in slow motion, for a lecture.
//!
//! In step mode the server prints before each turn which descriptors are ready and what they are,
//! and which timers are due, and waits until somebody says that it may go on: DEBUG STEP NEXT, or
//! Return on its terminal. The functions around the turn say what they did: `beforeSleep`,
//! `serverCron` and `replicationCron`, and all the handlers together, by the figures that changed.
//!
//! Nothing else happens while it waits, but for one connection: the one that has switched step mode
//! on is read and answered, whatever it sends. NEXT of another connection is served when its turn
//! has come, like any command.
//!
//! Read first: [`step_after_sleep`]. It stands between the poll and the handlers, in the place of
//! `afterSleep`, and only in step mode: a server that is not in it knows nothing of this file.

use std::io::Write;
use std::os::fd::RawFd;

use crate::ae::{AE_READABLE, AE_WRITABLE, aeSetAfterSleepProc, aeSetBeforeSleepProc};
use crate::aof::flushAppendOnlyFile;
use crate::args::Args;
use crate::bformat;
use crate::connection::conn_fd;
use crate::db::dbTotalServerKeyCount;
use crate::ds::adlist::listLength;
use crate::networking::*;
use crate::replication::replicationGetSlaveName;
use crate::server::{afterSleep, beforeSleep, serverCron, strChildType};
use crate::server_h::*;
use crate::sys::clock::getMonotonicUs;
use crate::sys::file::has_terminal;
use crate::sys::signal;
use crate::sys::socket::{poll_readable, read};
use crate::util::{B, eq_ignore_case, string2ll};

/// The state of step mode.
#[derive(Default)]
pub struct Step {
    on: bool,
    /// The connection that is served while the loop waits.
    controller: Option<ClientId>,
    /// Whether Return on the terminal counts.
    terminal: bool,
    /// The number of turns that need not wait.
    allowed: u64,
    turn: u64,
    /// When the last turn began, and the figures then.
    since: u64,
    before: Option<Figures>,
}

/// A figure of the server, and its name.
type Figure = (&'static str, fn(&Server) -> i64);

/// What the functions that are watched may change.
const FIGURES: [Figure; 18] = [
    ("commands", |s| s.stat_numcommands),
    ("bytes read", |s| s.stat_net_input_bytes),
    ("bytes sent", |s| s.stat_net_output_bytes),
    ("clients with a reply to send", |s| s.clients.clients_pending_write.len() as i64),
    ("clients", |s| listLength(&s.clients.list) as i64),
    ("replicas", |s| listLength(&s.slaves) as i64),
    ("blocked clients", |s| s.blocked_clients.into()),
    ("keys", |s| dbTotalServerKeyCount(s) as i64),
    ("expired keys", |s| s.stat_expiredkeys),
    ("evicted keys", |s| s.stat_evictedkeys),
    ("changes to save", |s| s.dirty),
    ("bytes for the AOF", |s| s.aof_buf.len() as i64),
    ("bytes of the AOF", |s| s.aof_current_size),
    ("replication offset", |s| s.master_repl_offset),
    ("state of the link to the master", |s| s.repl_state as i64),
    ("forks", |s| s.stat_total_forks),
    ("children", |s| i64::from(s.child_pid != -1)),
    ("calls of the cron", |s| s.cronloops),
];

/// The milliseconds after which a server that waits looks whether it was told to end.
const WAIT_MS: i32 = 500;

type Figures = [i64; FIGURES.len()];

fn figures(server: &Server) -> Figures {
    FIGURES.map(|(_, figure)| figure(server))
}

/// Writes to the terminal of the server; if that is gone, there is nobody to tell. Unit tests are
/// quiet.
fn print(text: &[u8]) {
    if !cfg!(test) {
        let mut stdout = std::io::stdout();
        let _ = stdout.write_all(text).and_then(|()| stdout.flush());
    }
}

/// Notes the figures before a function that is watched. `None`: the server is not in step mode.
pub fn step_note(server: &Server) -> Option<Figures> {
    server.step.on.then(|| figures(server))
}

/// Says what a function did since `before` was noted.
pub fn step_say(server: &Server, name: &str, before: Option<Figures>) {
    let Some(before) = before else { return };
    let now = figures(server);
    let mut changes = Vec::new();
    for ((name, _), (before, now)) in FIGURES.iter().zip(before.into_iter().zip(now)) {
        if before != now {
            let by = now.saturating_sub(before);
            changes.push(format!("{name} {by:+} = {now}"));
        }
    }
    if changes.is_empty() {
        changes.push("changed nothing".to_string());
    }
    print(&bformat!("  {}: {}\n", name, changes.join(", ")));
}

/// DEBUG STEP ON, OFF, NEXT [n].
pub fn step_command(server: &mut Server, c: ClientId, argv: &Args) {
    let is = |name: &str| eq_ignore_case(&argv[2], name.as_bytes());
    if is("on") && argv.len() == 3 {
        if server.daemonize {
            addReplyError(
                server,
                c,
                b"step mode needs a terminal, and the server has left its own",
            );
            return;
        }
        step_on(server, c);
    } else if is("off") && argv.len() == 3 {
        step_off(server);
    } else if is("next") && argv.len() <= 4 {
        let turns = match argv.iter().nth(3).map(string2ll) {
            None => 1,
            Some(Some(turns)) if turns > 0 => turns as u64,
            Some(_) => {
                addReplyError(server, c, b"the number of turns must be positive");
                return;
            }
        };
        if !server.step.on {
            addReplyError(server, c, b"step mode is off");
            return;
        }
        server.step.allowed = server.step.allowed.saturating_add(turns);
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
        return;
    }
    addReply(server, c, shared::ok);
}

fn step_on(server: &mut Server, c: ClientId) {
    let el = &mut server.net.el;
    aeSetBeforeSleepProc(el, Some(step_before_sleep));
    aeSetAfterSleepProc(el, Some(step_after_sleep));
    el.swap_time_proc(serverCron, step_cron);
    let terminal = has_terminal();
    server.step = Step { on: true, controller: Some(c), terminal, ..Step::default() };
    let by = if terminal { "DEBUG STEP NEXT or Return" } else { "DEBUG STEP NEXT" };
    let id = server[c].id;
    print(&bformat!("Step mode: each turn of the loop waits for {} (client {}).\n", by, id));
}

fn step_off(server: &mut Server) {
    if !server.step.on {
        return;
    }
    let el = &mut server.net.el;
    aeSetBeforeSleepProc(el, Some(beforeSleep));
    aeSetAfterSleepProc(el, Some(afterSleep));
    el.swap_time_proc(step_cron, serverCron);
    server.step = Step::default();
    print(b"Step mode is off.\n");
}

/// Stands for `beforeSleep`: says first what the handlers of the turn did that ends here.
fn step_before_sleep(server: &mut Server) {
    if server.blocking_op_nesting == 0 {
        let before = server.step.before.take();
        step_say(server, "the handlers and timers", before);
    }
    let before = step_note(server);
    beforeSleep(server);
    step_say(server, "beforeSleep", before);
    server.step.since = getMonotonicUs();
}

/// Stands for `serverCron`.
fn step_cron(server: &mut Server, id: i64, clientData: u64) -> i64 {
    let before = step_note(server);
    let next = serverCron(server, id, clientData);
    step_say(server, "serverCron", before);
    next
}

/// Stands for `afterSleep`: the poll has reported what is ready, and no handler was called yet.
fn step_after_sleep(server: &mut Server) {
    afterSleep(server);
    // A turn within another one: something long lets events through, and goes on by itself.
    if server.blocking_op_nesting != 0 {
        return;
    }
    server.step.turn += 1;
    let slept = getMonotonicUs().saturating_sub(server.step.since) / 1000;
    print(&bformat!("--- turn {} (the poll took {} ms)\n", server.step.turn, slept));
    for (fd, mask) in server.net.el.due_in_turn() {
        let what = match (mask & AE_READABLE != 0, mask & AE_WRITABLE != 0) {
            (true, true) => "readable and writable",
            (true, false) => "readable",
            _ => "writable",
        };
        print(&bformat!("  ready: {} is {} (fd {})\n", B(&name_of_fd(server, fd)), what, fd));
    }
    for proc in server.net.el.due_timers() {
        let name = if std::ptr::fn_addr_eq(proc, step_cron as crate::ae::aeTimeProc<Server>) {
            "serverCron"
        } else {
            "evictionTimeProc"
        };
        print(&bformat!("  due: {}\n", name));
    }
    wait_for_next(server);
    server.step.before = step_note(server);
}

/// Waits until the turn may go on.
fn wait_for_next(server: &mut Server) {
    while server.step.on && server.step.allowed == 0 && !signal::shutdown_requested() {
        let controller = server.step.controller.filter(|&c| server.clients.contains(c));
        let conn = controller.and_then(|c| server[c].conn);
        let terminal = server.step.terminal;
        // One that is blocked can't say NEXT, and is unblocked by a turn.
        let blocked = controller.is_some_and(|c| server[c].flags & CLIENT_BLOCKED != 0);
        if blocked && !terminal {
            print(b"  (the client that steps is blocked: the loop goes on)\n");
            return;
        }
        let Some(conn) = conn else {
            if !terminal {
                print(b"  (nobody is left who could say NEXT)\n");
                step_off(server);
                return;
            }
            if poll_readable(&[0], WAIT_MS).is_ok_and(|ready| !ready.is_empty()) {
                read_terminal(server);
            }
            continue;
        };
        let fd = conn_fd(&server.net, conn);
        let mut fds: Vec<RawFd> = if terminal { vec![0] } else { Vec::new() };
        if !blocked {
            fds.push(fd);
        }
        let Ok(ready) = poll_readable(&fds, WAIT_MS) else { continue };
        if ready.contains(&0) {
            read_terminal(server);
        }
        if ready.contains(&fd) {
            readQueryFromClient(server, conn);
            // The reply leaves at once, behind what it is about.
            if server.aof_state == AOF_ON {
                flushAppendOnlyFile(server, false);
            }
            handleClientsWithPendingWrites(server);
            freeClientsInAsyncFreeQueue(server);
        }
    }
    server.step.allowed = server.step.allowed.saturating_sub(1);
}

/// Reads the terminal: each Return is a turn.
fn read_terminal(server: &mut Server) {
    let mut buf = [0; 256];
    match read(0, &mut buf) {
        Ok(n) if n > 0 => {
            let returns = buf[..n].iter().filter(|&&c| c == b'\n').count();
            server.step.allowed = server.step.allowed.saturating_add(returns as u64);
        }
        // It is gone.
        _ => server.step.terminal = false,
    }
}

/// Returns what a descriptor of the event loop is.
fn name_of_fd(server: &Server, fd: RawFd) -> Vec<u8> {
    if server.ipfd.contains(&fd) {
        return bformat!("the listening socket of port {}", server.port);
    }
    if server.sofd == Some(fd) {
        return b"the listening unix socket".to_vec();
    }
    if server.rdb_pipe_read == Some(fd) {
        return b"the pipe of the child that streams an RDB".to_vec();
    }
    if let Some(pipes) = server.aof_pipes {
        if pipes.write_data_to_child == fd {
            return b"the pipe to the child that rewrites the AOF".to_vec();
        }
        if pipes.read_ack_from_child == fd {
            return b"the pipe of the child that rewrites the AOF".to_vec();
        }
    }
    if server.repl_transfer_s.is_some_and(|conn| conn_fd(&server.net, conn) == fd) {
        return bformat!("the link to our master, in {:?}", server.repl_state);
    }
    let is_client = |c: &ClientId| server[*c].conn.is_some_and(|s| conn_fd(&server.net, s) == fd);
    let Some(c) = server.clients.list.iter().copied().find(is_client) else {
        let child = if server.child_pid != -1 { strChildType(server.child_type) } else { "no" };
        return bformat!("a descriptor of its own ({} child)", child);
    };
    let id = server[c].id;
    match getClientType(&server[c]) {
        CLIENT_TYPE_MASTER => bformat!("our master, client {},", id),
        CLIENT_TYPE_SLAVE => {
            bformat!("replica {}, client {},", B(&replicationGetSlaveName(server, c)), id)
        }
        CLIENT_TYPE_PUBSUB => bformat!("subscriber, client {},", id),
        _ if server.step.controller == Some(c) => bformat!("client {}, which steps,", id),
        _ => bformat!("client {}", id),
    }
}
