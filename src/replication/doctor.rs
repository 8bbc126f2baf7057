//! Ours: REPLICATION DOCTOR and REPLICATION HISTORY, which say what was synchronized how, why, and
//! which setting would have made it cheaper.
//!
//! Whether a resync is partial or full is decided in a moment, and the reason is gone with it: how
//! far the backlog reached back, how long the replica was away, how fast the stream grew. So each
//! decision is kept with its figures, on either side, the last [`HISTORY_LEN`] of them, and so is
//! each link that we closed ourselves, for a limit or for silence. The arithmetic is in the log,
//! too.
//!
//! Read first: [`Event`], then [`note_refused`] with [`remedy_for_backlog`].

use std::collections::VecDeque;

use crate::args::Args;
use crate::log::{LL_NOTICE, LL_WARNING};
use crate::networking::{
    addReplyArrayLen, addReplyBulkCBuffer, addReplyError, addReplyHelp, addReplyLongLong,
    addReplyMapLen, addReplySubcommandSyntaxError, addReplyVerbatim,
};
use crate::replication::replicationGetSlaveName;
use crate::server_h::*;
use crate::sys::clock::{mstime, steady_ms};
use crate::trace::{Fields, Value};
use crate::util::{B, eq_ignore_case, string2ll};
use crate::{bformat, sdscatprintf, serverLog};

/// How many decisions are kept.
pub const HISTORY_LEN: usize = 128;
/// How many replicas that went are remembered, for the length of their absence.
const GONE_LEN: usize = 64;
/// The write rate is that of so many seconds.
const RATE_SECONDS: usize = 16;

/// What an entry of the history is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Partial,
    Full,
    Closed,
}
use Kind::*;

/// Whose decision it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Master,
    Replica,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Running,
    Done,
    Failed,
}

/// Why a master decided as it did, or closed a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The backlog has all that the replica lacks.
    InBacklog,
    /// The replica follows no history, or can't say which.
    NoHistory,
    /// The replica follows another history.
    OtherHistory,
    /// The replica follows the history that we left, and has more of it than we have.
    BeyondSecondId,
    /// The backlog does not reach back far enough.
    LackOfBacklog,
    /// The replica asks for bytes that do not exist yet.
    AheadOfUs,
    /// A limit of its output buffer.
    OutputLimit,
    /// The replica, or our master, was silent for too long.
    Silence,
    /// On the replica's side: what the master answered.
    MasterSaidSo,
}
use Why::*;

impl Why {
    fn text(self) -> &'static str {
        match self {
            InBacklog => "the backlog has all that was missed",
            NoHistory => "the replica had no history to go on from",
            OtherHistory => "the replica followed another history",
            BeyondSecondId => "the replica has writes that this history lacks",
            LackOfBacklog => "the backlog does not reach back so far",
            AheadOfUs => "the replica asked for bytes that were not written yet",
            OutputLimit => "the output buffer limit of replicas",
            Silence => "silence for longer than repl-timeout",
            MasterSaidSo => "the master decided so",
        }
    }
}

/// An entry of the history.
struct Event {
    /// When it was decided: unix time in seconds, and milliseconds as `steady_ms` counts them.
    time: i64,
    started: i64,
    side: Side,
    kind: Kind,
    state: State,
    why: Why,
    /// The replica, or on its side the master; and the number of the replica's client.
    peer: Vec<u8>,
    client: u64,
    /// What was asked for: `?` and -1 if nothing.
    replid: Vec<u8>,
    offset: i64,
    /// The first and the last byte in the backlog then; the last is before the first in an empty
    /// one.
    window: (i64, i64),
    /// By how many bytes the first one in the backlog was behind the one that was asked for.
    missed: i64,
    /// How many bytes the backlog, or the output buffer, would have had to hold, or how many seconds
    /// of silence there were.
    need: i64,
    /// How long the replica was away, in seconds; -1 if that is not known.
    outage: i64,
    /// How long it took, in milliseconds, and how many bytes; -1 as long as that is not known.
    took: i64,
    bytes: i64,
    /// The setting that would have made it cheaper, or another reason.
    remedy: Vec<u8>,
}

impl Event {
    fn side_text(&self) -> &'static str {
        if self.side == Side::Master { "master" } else { "replica" }
    }

    fn kind_text(&self) -> &'static str {
        match self.kind {
            Partial => "partial",
            Full => "full",
            Closed => "closed",
        }
    }
}

/// What the doctor knows.
#[derive(Default)]
pub struct Doctor {
    /// The newest is the last.
    history: VecDeque<Event>,
    /// Names of replicas whose link ended, and when, in seconds.
    gone: VecDeque<(Vec<u8>, i64)>,
    /// The offset of the stream second by second: the time in milliseconds, and the offset.
    rate: VecDeque<(i64, i64)>,
    /// Bytes of the RDB that is streamed to replicas.
    streamed: i64,
    /// The id that we had until the backlog was freed for lack of replicas, and when that was.
    dropped: Option<(Vec<u8>, i64)>,
    /// What we asked our master for, and when.
    question: (Vec<u8>, i64, i64),
}

fn doctor(server: &mut Server) -> &mut Doctor {
    &mut server.repl_statics.doctor
}

// -----------------------------------------------------------------------------
// Figures
// -----------------------------------------------------------------------------

/// Samples the offset of the stream. Called every second.
pub fn sample_write_rate(server: &mut Server) {
    let offset = server.master_repl_offset;
    let rate = &mut doctor(server).rate;
    // Another history has other offsets.
    if rate.back().is_some_and(|&(_, last)| last > offset) {
        rate.clear();
    }
    if rate.len() > RATE_SECONDS {
        rate.pop_front();
    }
    rate.push_back((steady_ms(), offset));
}

/// Returns the bytes that the stream grows by in a second, as in the last 16 of them.
pub fn write_rate(server: &Server) -> f64 {
    let Some(&(since, from)) = server.repl_statics.doctor.rate.front() else { return 0.0 };
    let (ms, bytes) = (steady_ms() - since, server.master_repl_offset - from);
    if ms <= 0 || bytes <= 0 { 0.0 } else { bytes as f64 * 1000.0 / ms as f64 }
}

/// Returns how many seconds of the stream the backlog holds when it is full, at the present write
/// rate. -1: there is no backlog, or nothing is written.
pub fn repl_backlog_seconds(server: &Server) -> i64 {
    let rate = write_rate(server);
    if !server.repl_backlog || rate == 0.0 {
        return -1;
    }
    (server.repl_backlog_size as f64 / rate) as i64
}

/// Returns a size as a directive takes it, rounded up.
fn config_size(bytes: i64) -> Vec<u8> {
    const MB: i64 = 1 << 20;
    let bytes = bytes.max(1);
    if bytes < MB {
        bformat!("{}kb", (bytes - 1) / 1024 + 1)
    } else {
        bformat!("{}mb", (bytes - 1) / MB + 1)
    }
}

/// Returns the text for a rate of writes.
fn rate_text(rate: f64) -> Vec<u8> {
    bformat!("{} bytes/s", rate as i64)
}

/// Returns what would have made a resync partial whose replica lacked `need` bytes and was away for
/// `outage` seconds (-1: nobody knows).
fn remedy_for_backlog(server: &Server, need: i64, outage: i64) -> Vec<u8> {
    // It would have held so much, if it had been there for long enough.
    if need <= server.repl_backlog_size {
        return b"the backlog was emptied meanwhile (CONFIG SET repl-backlog-size, REPLICAOF, or a restart); its size would do".to_vec();
    }
    let mut text = bformat!("repl-backlog-size >= {}", B(&config_size(need)));
    if outage >= 0 {
        sdscatprintf!(text, " at the present write rate covers the {} s outage", outage);
    } else {
        sdscatprintf!(text, " covers the {} bytes that the replica lacked", need);
    }
    text
}

/// Returns what would have helped a replica that follows another history.
fn remedy_for_other_history(server: &Server, replid: &[u8], outage: i64) -> Vec<u8> {
    if let Some((old, when)) = &server.repl_statics.doctor.dropped
        && eq_ignore_case(old, replid)
    {
        return bformat!(
            "the backlog was freed {} s ago, after {} s without a replica: repl-backlog-ttl 0, or a larger one, keeps it",
            steady_ms() / 1000 - when,
            server.repl_backlog_time_limit
        );
    }
    let up = mstime() / 1000 - server.stat_starttime;
    if server.replid2.iter().all(|&c| c == b'0') && (outage >= up || outage == -1 && up < 3600) {
        return bformat!(
            "this master was started {} s ago without a history: one that ends with SHUTDOWN SAVE, or has save points, and no append only file, goes on with its own",
            up
        );
    }
    Vec::new()
}

// -----------------------------------------------------------------------------
// The master's side
// -----------------------------------------------------------------------------

fn push(server: &mut Server, event: Event) {
    let history = &mut doctor(server).history;
    if history.len() == HISTORY_LEN {
        history.pop_front();
    }
    history.push_back(event);
}

/// Returns what the trace has of the newest decision.
pub fn newest_decision(server: &Server) -> Fields<'_> {
    let Some(event) = server.repl_statics.doctor.history.back() else { return Vec::new() };
    vec![
        ("side", event.side_text().into()),
        ("event", event.kind_text().into()),
        ("peer", Value::from(&event.peer)),
        ("client", event.client.into()),
        ("reason", event.why.text().into()),
        ("remedy", (!event.remedy.is_empty()).then_some(&event.remedy).into()),
        ("replid", Value::from(&event.replid)),
        ("offset", event.offset.into()),
        ("backlog_first", event.window.0.into()),
        ("backlog_last", event.window.1.into()),
        ("missed", event.missed.into()),
        ("outage", event.outage.into()),
        ("bytes", event.bytes.into()),
    ]
}

fn window(server: &Server) -> (i64, i64) {
    let (off, histlen) = (server.repl_backlog_off, server.repl_backlog_histlen);
    if server.repl_backlog { (off, off.saturating_add(histlen - 1)) } else { (0, -1) }
}

/// Returns for how many seconds a replica has been away, if its last link is remembered.
fn outage_of(server: &Server, name: &[u8]) -> i64 {
    let gone = server.repl_statics.doctor.gone.iter().rev().find(|(gone, _)| gone == name);
    gone.map_or(-1, |(_, when)| steady_ms() / 1000 - when)
}

fn new_event(server: &Server, side: Side, kind: Kind, why: Why, peer: Vec<u8>) -> Event {
    Event {
        time: mstime() / 1000,
        started: steady_ms(),
        side,
        kind,
        state: State::Running,
        why,
        peer,
        client: 0,
        replid: b"?".to_vec(),
        offset: -1,
        window: window(server),
        missed: 0,
        need: 0,
        outage: -1,
        took: -1,
        bytes: -1,
        remedy: Vec::new(),
    }
}

/// Returns the entry for what a replica has asked for.
fn asked(server: &Server, c: ClientId, replid: &[u8], offset: i64, kind: Kind, why: Why) -> Event {
    let name = replicationGetSlaveName(server, c);
    let outage = outage_of(server, &name);
    let mut event = new_event(server, Side::Master, kind, why, name);
    event.client = server[c].id;
    event.replid = replid.to_vec();
    event.offset = offset;
    event.outage = outage;
    event
}

/// Notes that a replica goes on from the backlog, with so many bytes.
pub fn note_partial(server: &mut Server, c: ClientId, replid: &[u8], offset: i64, bytes: i64) {
    let mut event = asked(server, c, replid, offset, Partial, InBacklog);
    event.state = State::Done;
    event.took = 0;
    event.bytes = bytes;
    push(server, event);
}

/// Notes that a replica needs a full resync, and logs the arithmetic: what it asked for, what there
/// is, and what would have helped.
pub fn note_refused(server: &mut Server, c: ClientId, replid: &[u8], offset: i64, mut why: Why) {
    // A server that was a master asks by its own id. Where nothing was written that is no history.
    if why == OtherHistory && offset <= 1 {
        why = NoHistory;
    }
    let mut event = asked(server, c, replid, offset, Full, why);
    match why {
        LackOfBacklog => {
            // A replica may ask for any offset.
            event.missed = event.window.0.saturating_sub(offset);
            event.need = server.master_repl_offset.saturating_sub(offset).saturating_add(1);
            event.remedy = remedy_for_backlog(server, event.need, event.outage);
            serverLog!(
                LL_NOTICE,
                "Replica {} asked for byte {}, and the backlog has {} to {}: it missed by {} bytes, and lacks {}, at {} now. {}",
                B(&event.peer),
                offset,
                event.window.0,
                event.window.1,
                event.missed,
                event.need,
                B(&rate_text(write_rate(server))),
                B(&event.remedy)
            );
        }
        OtherHistory => {
            event.remedy = remedy_for_other_history(server, replid, event.outage);
            if !event.remedy.is_empty() {
                serverLog!(LL_NOTICE, "Replica {}: {}", B(&event.peer), B(&event.remedy));
            }
        }
        BeyondSecondId => {
            event.need = offset.saturating_sub(server.second_replid_offset);
            event.remedy = bformat!(
                "{} bytes of the stream were written to a master that was replaced, or that crashed: min-replicas-to-write and WAIT keep writes from being acknowledged alone",
                event.need
            );
            serverLog!(
                LL_NOTICE,
                "Replica {} has {} bytes of the old history that this one lacks",
                B(&event.peer),
                event.need
            );
        }
        _ => {}
    }
    push(server, event);
}

fn newest_of(server: &mut Server, client: u64) -> Option<&mut Event> {
    let history = &mut doctor(server).history;
    history.iter_mut().rev().find(|e| e.client == client && e.state == State::Running)
}

/// Notes how many bytes of an RDB a replica gets.
pub fn note_rdb_size(server: &mut Server, slave: ClientId, bytes: i64) {
    let client = server[slave].id;
    if let Some(event) = newest_of(server, client) {
        event.bytes = bytes;
    }
}

/// Counts bytes of the RDB that is streamed to replicas. With `begin` it is a new one.
pub fn count_streamed(server: &mut Server, bytes: usize, begin: bool) {
    let streamed = &mut doctor(server).streamed;
    *streamed = bytes as i64 + if begin { 0 } else { *streamed };
}

/// Returns the size of the RDB that was streamed to replicas.
pub fn streamed_bytes(server: &Server) -> i64 {
    server.repl_statics.doctor.streamed
}

/// Notes that a full resync is complete.
pub fn note_online(server: &mut Server, slave: ClientId) {
    let client = server[slave].id;
    if let Some(event) = newest_of(server, client) {
        event.took = steady_ms() - event.started;
        event.state = State::Done;
    }
}

/// Notes that a replica goes, for whatever reason. Called before it is freed.
pub fn note_gone(server: &mut Server, slave: ClientId) {
    let name = replicationGetSlaveName(server, slave);
    let client = server[slave].id;
    if let Some(event) = newest_of(server, client) {
        event.took = steady_ms() - event.started;
        event.state = State::Failed;
    }
    let gone = &mut doctor(server).gone;
    gone.retain(|(other, _)| *other != name);
    if gone.len() == GONE_LEN {
        gone.pop_front();
    }
    gone.push_back((name, steady_ms() / 1000));
}

/// Notes that a replica is closed because of its output buffer limit; it holds `held` bytes.
pub fn note_output_limit(server: &mut Server, slave: ClientId, held: usize) {
    let limits = server.clients.client_obuf_limits[CLIENT_TYPE_SLAVE];
    let rate = write_rate(server);
    let mut event = new_event(
        server,
        Side::Master,
        Closed,
        OutputLimit,
        replicationGetSlaveName(server, slave),
    );
    event.state = State::Done;
    event.need = held as i64;
    event.bytes = held as i64;
    let client = server[slave].id;
    let syncing = newest_of(server, client).map(|sync| steady_ms() - sync.started);
    let which = if limits.hard_limit_bytes != 0 && held as u64 >= limits.hard_limit_bytes {
        "hard limit"
    } else {
        "soft limit"
    };
    event.remedy = bformat!(
        "client-output-buffer-limit replica with a {} above {}",
        which,
        B(&config_size(event.need))
    );
    match syncing {
        Some(ms) => sdscatprintf!(
            event.remedy,
            ": {} s into its full resync, in which the stream gathers, at {} now",
            ms / 1000,
            B(&rate_text(rate))
        ),
        None => sdscatprintf!(
            event.remedy,
            ": it takes the stream more slowly than the present {}",
            B(&rate_text(rate))
        ),
    }
    serverLog!(
        LL_WARNING,
        "Replica {} held {} bytes in its output buffer. {}",
        B(&event.peer),
        held,
        B(&event.remedy)
    );
    push(server, event);
}

/// Notes that a link is given up after `silence` seconds: that of a replica, or that to our master.
pub fn note_silence(server: &mut Server, slave: Option<ClientId>, silence: i64) {
    let (side, peer) = match slave {
        Some(slave) => (Side::Master, replicationGetSlaveName(server, slave)),
        None => (Side::Replica, master_name(server)),
    };
    let mut event = new_event(server, side, Closed, Silence, peer);
    event.state = State::Done;
    event.need = silence;
    event.remedy = bformat!("repl-timeout > {}", silence);
    serverLog!(LL_NOTICE, "There was silence for {} s: {}", silence, B(&event.remedy));
    push(server, event);
}

/// Remembers under which id the backlog was that is now freed, for lack of replicas.
pub fn note_backlog_freed(server: &mut Server, replid: Vec<u8>) {
    doctor(server).dropped = Some((replid, steady_ms() / 1000));
}

// -----------------------------------------------------------------------------
// The replica's side
// -----------------------------------------------------------------------------

fn master_name(server: &Server) -> Vec<u8> {
    bformat!("{}:{}", B(server.masterhost.as_deref().unwrap_or_default()), server.masterport)
}

/// Notes what we ask our master for.
pub fn note_question(server: &mut Server, replid: &[u8], offset: i64) {
    doctor(server).question = (replid.to_vec(), offset, steady_ms());
}

/// Notes our master's answer: `partial` or full.
pub fn note_answer(server: &mut Server, partial: bool) {
    let (replid, offset, started) = doctor(server).question.clone();
    let (kind, why) = match (partial, offset) {
        (true, _) => (Partial, InBacklog),
        (false, -1) => (Full, NoHistory),
        (false, _) => (Full, MasterSaidSo),
    };
    let mut event = new_event(server, Side::Replica, kind, why, master_name(server));
    event.started = started;
    event.replid = replid;
    event.offset = offset;
    if server.repl_down_since != 0 {
        event.outage = server.steady_time - server.repl_down_since;
    }
    if partial {
        event.state = State::Done;
        event.took = steady_ms() - started;
    }
    push(server, event);
}

/// Notes how our full resync ends, and after how many bytes (-1: unknown).
pub fn note_sync_end(server: &mut Server, done: bool, bytes: i64) {
    let history = &mut doctor(server).history;
    let running =
        history.iter_mut().rev().find(|e| e.side == Side::Replica && e.state == State::Running);
    if let Some(event) = running {
        event.took = steady_ms() - event.started;
        event.bytes = bytes;
        event.state = if done { State::Done } else { State::Failed };
    }
}

// -----------------------------------------------------------------------------
// Warnings
// -----------------------------------------------------------------------------

/// Returns which limit of a replica's output buffer is smaller than the backlog: a partial resync
/// from a full backlog would reach it, and the link would be closed as soon as it is established.
fn limit_below_backlog(server: &Server) -> Option<(&'static str, u64)> {
    let limits = server.clients.client_obuf_limits[CLIENT_TYPE_SLAVE];
    let below = |limit: u64| limit != 0 && limit < server.repl_backlog_size as u64;
    if below(limits.hard_limit_bytes) {
        Some(("hard", limits.hard_limit_bytes))
    } else if below(limits.soft_limit_bytes) {
        Some(("soft", limits.soft_limit_bytes))
    } else {
        None
    }
}

/// Warns if a replica's output buffer may not hold what the backlog does. Called at the start, and
/// after CONFIG SET of either.
pub fn warn_replica_limits(server: &Server) {
    if let Some((which, limit)) = limit_below_backlog(server) {
        serverLog!(
            LL_WARNING,
            "WARNING: the {} limit of client-output-buffer-limit replica, {} bytes, is below repl-backlog-size, {} bytes. A replica that gets most of the backlog in a partial resync may be closed for it.",
            which,
            limit,
            server.repl_backlog_size
        );
    }
}

// -----------------------------------------------------------------------------
// The command
// -----------------------------------------------------------------------------

/// REPLICATION DOCTOR, HISTORY [count], HELP.
pub fn replication_command(server: &mut Server, c: ClientId, argv: &Args) {
    let is = |name: &str| eq_ignore_case(&argv[1], name.as_bytes());
    if is("doctor") && argv.len() == 2 {
        let report = doctor_report(server);
        addReplyVerbatim(server, c, &report, "txt");
    } else if is("history") && argv.len() <= 3 {
        let count = match argv.iter().nth(2).map(string2ll) {
            None => HISTORY_LEN,
            Some(Some(count)) if count >= 0 => usize::try_from(count).unwrap_or(HISTORY_LEN),
            Some(_) => {
                addReplyError(server, c, b"count is not an integer or out of range");
                return;
            }
        };
        reply_with_history(server, c, count);
    } else if is("help") && argv.len() == 2 {
        let help = [
            "DOCTOR",
            "    Return a human readable report about full and partial resyncs and lost links.",
            "HISTORY [<count>]",
            "    Return the last <count> resyncs and links that were closed, the newest first",
            "    (default: the last 128, which are all that is kept).",
        ];
        addReplyHelp(server, c, argv, &help);
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

fn reply_with_history(server: &mut Server, c: ClientId, count: usize) {
    let clients = &mut server.clients;
    let history = &server.repl_statics.doctor.history;
    let count = count.min(history.len());
    addReplyArrayLen(clients, c, count);
    for event in history.iter().rev().take(count) {
        let texts: [(&str, &[u8]); 7] = [
            ("side", event.side_text().as_bytes()),
            ("event", event.kind_text().as_bytes()),
            (
                "state",
                match event.state {
                    State::Running => b"running",
                    State::Done => b"done",
                    State::Failed => b"failed",
                },
            ),
            ("peer", &event.peer),
            ("reason", event.why.text().as_bytes()),
            ("remedy", &event.remedy),
            ("replid", &event.replid),
        ];
        let numbers = [
            ("time", event.time),
            ("offset", event.offset),
            ("backlog-first", event.window.0),
            ("backlog-last", event.window.1),
            ("missed-bytes", event.missed),
            ("outage-seconds", event.outage),
            ("duration-ms", event.took),
            ("bytes", event.bytes),
        ];
        addReplyMapLen(clients, c, texts.len() + numbers.len());
        for (name, text) in texts {
            addReplyBulkCBuffer(clients, c, name.as_bytes());
            addReplyBulkCBuffer(clients, c, text);
        }
        for (name, number) in numbers {
            addReplyBulkCBuffer(clients, c, name.as_bytes());
            addReplyLongLong(clients, c, number);
        }
    }
}

/// Returns the doctor's report.
fn doctor_report(server: &Server) -> Vec<u8> {
    let history = &server.repl_statics.doctor.history;
    let count = |kind| history.iter().filter(|e| e.kind == kind).count();
    let (partial, full) = (count(Partial), count(Full));
    let all = |why: Why| history.iter().filter(move |e| e.why == why);
    let worst = |why| all(why).max_by_key(|e| e.need);
    let mut issues = Vec::new();

    // What was: full resyncs that need not have been, each with what would have made it partial,
    // and links that were closed.
    if let Some(worst) = worst(LackOfBacklog) {
        sdscatprintf!(
            issues,
            " * Lack of backlog: {} of the last {} full resyncs would have been partial with a larger backlog. The worst of them was that of {}, which lacked {} bytes and missed the backlog by {}. My prescription: {}.\n\n",
            all(LackOfBacklog).count(),
            full,
            B(&worst.peer),
            worst.need,
            worst.missed,
            B(&worst.remedy)
        );
    }
    if let Some(last) = all(OtherHistory).rfind(|e| !e.remedy.is_empty()) {
        sdscatprintf!(
            issues,
            " * Lost histories: {} replicas came back with a history that this instance does not know. The last of them was {}: {}.\n\n",
            all(OtherHistory).count(),
            B(&last.peer),
            B(&last.remedy)
        );
    }
    if let Some(last) = all(BeyondSecondId).next_back() {
        sdscatprintf!(
            issues,
            " * Writes that were left behind: {} had more of the old history than this instance has. {}.\n\n",
            B(&last.peer),
            B(&last.remedy)
        );
    }
    if let Some(worst) = worst(OutputLimit) {
        sdscatprintf!(
            issues,
            " * Output buffers: {} links to replicas were closed for their output buffer limit. The worst of them was that of {}, with {} bytes. My prescription: {}.\n\n",
            all(OutputLimit).count(),
            B(&worst.peer),
            worst.need,
            B(&worst.remedy)
        );
    }
    if let Some(worst) = worst(Silence) {
        sdscatprintf!(
            issues,
            " * Silence: {} links were given up because nothing came over them, the worst of them, {}, after {} s. If the other side was alive and only busy, {} would have kept it.\n\n",
            all(Silence).count(),
            B(&worst.peer),
            worst.need,
            B(&worst.remedy)
        );
    }
    // What will be: settings with which the next cut of a link ends in a full resync.
    if let Some((which, limit)) = limit_below_backlog(server) {
        sdscatprintf!(
            issues,
            " * Limit below the backlog: the {} limit of client-output-buffer-limit replica is {} bytes, and repl-backlog-size {}. A replica that gets most of the backlog is closed for it, and asks again. Please make the limit the larger one of the two.\n\n",
            which,
            limit,
            server.repl_backlog_size
        );
    }
    let seconds = repl_backlog_seconds(server);
    if (0..i64::from(server.repl_timeout)).contains(&seconds) {
        sdscatprintf!(
            issues,
            " * Short backlog: at the present {} the backlog covers {} s, and it takes up to repl-timeout, {} s, until a link that is dead is noticed. My prescription: repl-backlog-size >= {}.\n\n",
            B(&rate_text(write_rate(server))),
            seconds,
            server.repl_timeout,
            B(&config_size((write_rate(server) * f64::from(server.repl_timeout)) as i64))
        );
    }
    // What is: a link that does not come about.
    if super::guard::guard_holds(server) {
        sdscatprintf!(
            issues,
            " * An empty master: {} has no keys, and a history that this instance does not know. It was refused, and the keys here are kept. If it is right that all of them go, give REPLICAOF again.\n\n",
            B(&master_name(server))
        );
    }
    if let Some((failures, reason)) = super::backoff::failures(server) {
        sdscatprintf!(
            issues,
            " * A link that does not last: {} attempts in a row to follow {} have failed, the last one: {}.\n\n",
            failures,
            B(&master_name(server)),
            B(reason)
        );
    }

    // The report, in the voice of LATENCY DOCTOR and MEMORY DOCTOR.
    if !issues.is_empty() {
        let mut report =
            b"Sam, I detected a few issues in the way this instance is kept in sync:\n\n".to_vec();
        report.extend(issues);
        report.extend_from_slice(b"I'm here to keep your data in more than one place, Sam. REPLICATION HISTORY has my notes.\n");
        report
    } else if history.is_empty() {
        b"Hi Sam, nobody has synchronized with this instance, and it has followed nobody: there is nothing that I could examine. Please come back when you have a clone.\n".to_vec()
    } else {
        let mut report = bformat!(
            "Hi Sam, I have examined the last {} partial and {} full resyncs, and no setting would have made any of them cheaper.",
            partial,
            full
        );
        if seconds >= 0 {
            sdscatprintf!(report, " At the present write rate the backlog covers {} s.", seconds);
        }
        report.extend_from_slice(b" I can only account for what occurred on this base.\n");
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes are rounded up, to what a directive takes.
    #[test]
    fn sizes() {
        let size = |bytes| String::from_utf8(config_size(bytes)).unwrap();
        assert_eq!(size(0), "1kb");
        assert_eq!(size(1024), "1kb");
        assert_eq!(size(1025), "2kb");
        assert_eq!(size(1 << 20), "1mb");
        assert_eq!(size((37 << 20) + 1), "38mb");
        assert_eq!(size(i64::MAX), "8796093022208mb");
    }

    /// The history keeps the last ones.
    #[test]
    fn length_of_the_history() {
        let mut server = Server::default();
        for i in 0..HISTORY_LEN as i64 + 3 {
            let mut event = new_event(&server, Side::Master, Full, NoHistory, b"peer".to_vec());
            event.offset = i;
            push(&mut server, event);
        }
        let history = &doctor(&mut server).history;
        assert_eq!(history.len(), HISTORY_LEN);
        assert_eq!(history.front().map(|e| e.offset), Some(3));
    }

    /// The rate is that of the samples, and a history of other offsets begins anew.
    #[test]
    fn rate_of_writes() {
        let mut server = Server::default();
        assert_eq!(write_rate(&server), 0.0);
        doctor(&mut server).rate.push_back((steady_ms() - 4000, 1000));
        server.master_repl_offset = 9000;
        let rate = write_rate(&server);
        assert!(rate > 0.0 && rate <= 2000.0, "{rate}");
        sample_write_rate(&mut server);
        assert_eq!(doctor(&mut server).rate.len(), 2);
        server.master_repl_offset = 5;
        sample_write_rate(&mut server);
        assert_eq!(doctor(&mut server).rate.len(), 1);
        assert_eq!(repl_backlog_seconds(&server), -1, "there is no backlog");
    }
}
