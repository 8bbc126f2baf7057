//! `latency.c`: what took long, when and how long, by kind of event; and `sparkline.c`, which draws
//! it.
//!
//! Read first: `latencyAddSample` (what is remembered), `createLatencyReport` (what is made of it).
//!
//! Elsewhere: the functions on transparent huge pages are in sys/proc.rs, like other questions to
//! the kernel.

use crate::args::Args;
use crate::networking::*;
use crate::sdscatprintf;
use crate::server_h::*;
use crate::sys::clock::{steady_ms, ustime};
use crate::sys::proc::{THPGetAnonHugePagesSize, huge_pages_are_unasked};
use crate::util::{B, c_str, eq_ignore_case};

/// The number of samples of an event that are kept.
pub const LATENCY_TS_LEN: usize = 160;

/// A sample: when an event took long, and how long.
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
pub struct latencySample {
    /// Seconds since 1970; 0 where there is no sample.
    pub time: i32,
    /// The duration in milliseconds.
    pub latency: u32,
}

/// The last samples of an event, in a ring.
#[derive(Clone)]
pub struct latencyTimeSeries {
    /// The place of the next sample.
    pub idx: usize,
    /// The longest of all, in milliseconds, even if its sample is gone.
    pub max: u32,
    pub samples: [latencySample; LATENCY_TS_LEN],
}

impl latencyTimeSeries {
    /// Returns the samples, oldest first.
    fn iter(&self) -> impl Iterator<Item = &latencySample> {
        let (newer, older) = self.samples.split_at(self.idx);
        older.iter().chain(newer).filter(|sample| sample.time != 0)
    }
}

/// Statistics of the samples of an event. Times in milliseconds but for `period`.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct latencyStats {
    pub all_time_high: u32,
    pub avg: u32,
    pub min: u32,
    pub max: u32,
    /// The mean absolute deviation from the average.
    pub mad: u32,
    pub samples: u32,
    /// Seconds since the oldest sample.
    pub period: i64,
}

fn unix_seconds() -> i64 {
    ustime() / 1_000_000
}

// ---------------------------- Latency API ---------------------------------

/// Begins to measure. Returns the time now, in milliseconds, or 0 if latency is not monitored.
#[inline]
pub fn latencyStartMonitor(server: &Server) -> mstime_t {
    if server.latency_monitor_threshold != 0 { steady_ms() } else { 0 }
}

/// Ends a measurement: replaces the start time in `var` by the milliseconds since.
#[inline]
pub fn latencyEndMonitor(server: &Server, var: &mut mstime_t) {
    if server.latency_monitor_threshold != 0 {
        *var = steady_ms() - *var;
    }
}

/// Adds a sample if `event` took long enough with its `latency` milliseconds
/// (`latency-monitor-threshold`).
#[inline]
pub fn latencyAddSampleIfNeeded(server: &mut Server, event: &str, latency: mstime_t) {
    if server.latency_monitor_threshold != 0 && latency >= server.latency_monitor_threshold {
        latencyAddSample(server, event, latency);
    }
}

/// Takes the time of an event within another one out of that one: its start is moved by as much.
#[inline]
pub fn latencyRemoveNestedEvent(event_var: &mut mstime_t, nested_var: mstime_t) {
    *event_var += nested_var;
}

/// Adds a sample: `event` took `latency` milliseconds.
pub fn latencyAddSample(server: &mut Server, event: &str, latency: mstime_t) {
    latency_add_sample_at(server, event, latency, unix_seconds());
}

/// Adds a sample at a given time.
fn latency_add_sample_at(server: &mut Server, event: &str, latency: mstime_t, now: i64) {
    if !server.latency_tracking_events.contains_key(event.as_bytes()) {
        let ts = latencyTimeSeries {
            idx: 0,
            max: 0,
            samples: [latencySample::default(); LATENCY_TS_LEN],
        };
        server.latency_tracking_events.insert(event.as_bytes().to_vec(), ts);
    }
    let Some(ts) = server.latency_tracking_events.get_mut(event.as_bytes()) else { return };
    let (latency, now) = (latency.clamp(0, i64::from(u32::MAX)) as u32, now as i32);

    ts.max = ts.max.max(latency);

    // Of one second there is one sample, the longest.
    let prev = &mut ts.samples[(ts.idx + LATENCY_TS_LEN - 1) % LATENCY_TS_LEN];
    if prev.time == now {
        prev.latency = prev.latency.max(latency);
        return;
    }

    ts.samples[ts.idx] = latencySample { time: now, latency };
    ts.idx = (ts.idx + 1) % LATENCY_TS_LEN;
}

/// Forgets the samples of an event, or of all. Returns how many events that were.
pub fn latencyResetEvent(server: &mut Server, event_to_reset: Option<&[u8]>) -> usize {
    let events = &mut server.latency_tracking_events;
    let before = events.len();
    events.retain(|event, _| event_to_reset.is_some_and(|reset| !eq_ignore_case(event, reset)));
    before - events.len()
}

// ------------------------ Latency reporting (doctor) ----------------------

/// Computes average, deviation and so on of the samples of an event; all 0 if there are none.
pub fn analyzeLatencyForEvent(server: &Server, event: &[u8]) -> latencyStats {
    let mut ls = latencyStats::default();
    let Some(ts) = server.latency_tracking_events.get(event) else { return ls };
    ls.all_time_high = ts.max;

    // All but the deviation.
    let mut sum = 0;
    let mut oldest = 0;
    for sample in ts.iter() {
        ls.samples += 1;
        if ls.samples == 1 {
            ls.min = sample.latency;
            ls.max = sample.latency;
        } else {
            ls.min = ls.min.min(sample.latency);
            ls.max = ls.max.max(sample.latency);
        }
        sum += u64::from(sample.latency);
        if oldest == 0 || sample.time < oldest {
            oldest = sample.time;
        }
    }
    if ls.samples == 0 {
        return ls;
    }
    ls.avg = (sum / u64::from(ls.samples)) as u32;
    ls.period = unix_seconds() - i64::from(oldest);
    if ls.period == 0 {
        ls.period = 1;
    }

    // The deviation.
    let sum: u64 = ts.iter().map(|sample| u64::from(ls.avg.abs_diff(sample.latency))).sum();
    ls.mad = (sum / u64::from(ls.samples)) as u32;
    ls
}

/// Returns the report of LATENCY DOCTOR: the events in prose, and advice.
pub fn createLatencyReport(server: &Server) -> Vec<u8> {
    let mut report = Vec::new();
    let mut advise_better_vm = false; // A better virtual machine.
    let mut advise_slowlog_enabled = false; // Turn the slow log on.
    let mut advise_slowlog_tuning = false; // Let it log more.
    let mut advise_slowlog_inspect = false; // Read it.
    let mut advise_disk_contention = false; // Less other use of the disk.
    let mut advise_scheduler = false; // The machine does not let us run.
    let mut advise_data_writeback = false; // Mount with data=writeback.
    let mut advise_no_appendfsync = false; // No fsync during rewrites.
    let mut advise_local_disk = false; // No remote disks.
    let mut advise_ssd = false; // An SSD.
    let mut advise_write_load_info = false; // Fewer writes.
    let mut advise_hz = false; // A higher hz.
    let mut advise_relax_fsync_policy = false; // appendfsync everysec instead of always.
    let mut advise_large_objects = false; // Large objects are slow to delete.
    let mut advise_mass_eviction = false; // Too much was evicted at once.
    let mut advise_disable_thp = false; // Huge pages are in use.
    let mut advices = 0;

    // Nothing is measured, and nothing ever was.
    if server.latency_tracking_events.is_empty() && server.latency_monitor_threshold == 0 {
        return b"I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. You may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it. If we weren't in a deep space mission I'd suggest to take a look at https://redis.io/topics/latency-monitor.\n".to_vec();
    }

    // A line for each event, and what to think of it.
    let mut eventnum = 0;
    for (event, ts) in &server.latency_tracking_events {
        eventnum += 1;
        if eventnum == 1 {
            report.extend_from_slice(b"Dave, I have observed latency spikes in this Redis instance. You don't mind talking about it, do you Dave?\n\n");
        }
        let ls = analyzeLatencyForEvent(server, event);

        sdscatprintf!(
            report,
            "{}. {}: {} latency spikes (average {}ms, mean deviation {}ms, period {:.2} sec). Worst all time event {}ms.",
            eventnum,
            B(event),
            ls.samples,
            ls.avg,
            ls.mad,
            ls.period as f64 / f64::from(ls.samples),
            ts.max
        );

        let is = |name: &str| eq_ignore_case(event, name.as_bytes());

        // Fork
        if is("fork") {
            let fork_quality = if server.stat_fork_rate < 10.0 {
                advise_better_vm = true;
                advices += 1;
                "terrible"
            } else if server.stat_fork_rate < 25.0 {
                advise_better_vm = true;
                advices += 1;
                "poor"
            } else if server.stat_fork_rate < 100.0 {
                "good"
            } else {
                "excellent"
            };
            sdscatprintf!(
                report,
                " Fork rate is {:.2} GB/sec ({}).",
                server.stat_fork_rate,
                fork_quality
            );
        }

        // Commands that may be slow, and those that should not be.
        if is("command") {
            if server.slowlog_log_slower_than < 0 {
                advise_slowlog_enabled = true;
                advices += 1;
            } else if server.slowlog_log_slower_than / 1000 > server.latency_monitor_threshold {
                advise_slowlog_tuning = true;
                advices += 1;
            }
            advise_slowlog_inspect = true;
            advise_large_objects = true;
            advices += 2;
        }
        if is("fast-command") {
            advise_scheduler = true;
            advices += 1;
        }

        // The AOF, and files in general.
        if is("aof-write-pending-fsync") {
            advise_local_disk = true;
            advise_disk_contention = true;
            advise_ssd = true;
            advise_data_writeback = true;
            advices += 4;
        }
        if is("aof-write-active-child") {
            advise_no_appendfsync = true;
            advise_data_writeback = true;
            advise_ssd = true;
            advices += 3;
        }
        if is("aof-write-alone") {
            advise_local_disk = true;
            advise_data_writeback = true;
            advise_ssd = true;
            advices += 3;
        }
        if is("aof-fsync-always") {
            advise_relax_fsync_policy = true;
            advices += 1;
        }
        if is("aof-fstat") || is("rdb-unlink-temp-file") {
            advise_disk_contention = true;
            advise_local_disk = true;
            advices += 2;
        }
        if is("aof-rewrite-diff-write") || is("aof-rename") {
            advise_write_load_info = true;
            advise_data_writeback = true;
            advise_ssd = true;
            advise_local_disk = true;
            advices += 4;
        }

        // Expiry and eviction.
        if is("expire-cycle") {
            advise_hz = true;
            advise_large_objects = true;
            advices += 2;
        }
        if is("eviction-del") {
            advise_large_objects = true;
            advices += 1;
        }
        if is("eviction-cycle") {
            advise_mass_eviction = true;
            advices += 1;
        }

        report.push(b'\n');
    }

    // What no event tells.
    // C: has not asked for any huge page, so each one is worth the advice.
    if huge_pages_are_unasked() && THPGetAnonHugePagesSize() > 0 {
        advise_disable_thp = true;
        advices += 1;
    }

    if eventnum == 0 && advices == 0 {
        report.extend_from_slice(b"Dave, no latency spike was observed during the lifetime of this Redis instance, not in the slightest bit. I honestly think you ought to sit down calmly, take a stress pill, and think things over.\n");
        return report;
    }
    if advices == 0 {
        report.extend_from_slice(b"\nWhile there are latency events logged, I'm not able to suggest any easy fix. Please use the Redis community to get some help, providing this report in your help request.\n");
        return report;
    }

    report.extend_from_slice(b"\nI have a few advices for you:\n\n");

    if advise_better_vm {
        report.extend_from_slice(b"- If you are using a virtual machine, consider upgrading it with a faster one using a hypervisior that provides less latency during fork() calls. Xen is known to have poor fork() performance. Even in the context of the same VM provider, certain kinds of instances can execute fork faster than others.\n");
    }

    // The slow log.
    let slower_than = server.latency_monitor_threshold.wrapping_mul(1000) as u64;
    if advise_slowlog_enabled {
        sdscatprintf!(
            report,
            "- There are latency issues with potentially slow commands you are using. Try to enable the Slow Log Redis feature using the command 'CONFIG SET slowlog-log-slower-than {}'. If the Slow log is disabled Redis is not able to log slow commands execution for you.\n",
            slower_than
        );
    }
    if advise_slowlog_tuning {
        sdscatprintf!(
            report,
            "- Your current Slow Log configuration only logs events that are slower than your configured latency monitor threshold. Please use 'CONFIG SET slowlog-log-slower-than {}'.\n",
            slower_than
        );
    }
    if advise_slowlog_inspect {
        report.extend_from_slice(b"- Check your Slow Log to understand what are the commands you are running which are too slow to execute. Please check https://redis.io/commands/slowlog for more information.\n");
    }

    // The machine.
    if advise_scheduler {
        report.extend_from_slice(b"- The system is slow to execute Redis code paths not containing system calls. This usually means the system does not provide Redis CPU time to run for long periods. You should try to:\n\
            \x20 1) Lower the system load.\n\
            \x20 2) Use a computer / VM just for Redis if you are running other software in the same system.\n\
            \x20 3) Check if you have a \"noisy neighbour\" problem.\n\
            \x20 4) Check with 'redis-cli --intrinsic-latency 100' what is the intrinsic latency in your system.\n\
            \x20 5) Check if the problem is allocator-related by recompiling Redis with MALLOC=libc, if you are using Jemalloc. However this may create fragmentation problems.\n");
    }

    // The disk.
    if advise_local_disk {
        report.extend_from_slice(b"- It is strongly advised to use local disks for persistence, especially if you are using AOF. Remote disks provided by platform-as-a-service providers are known to be slow.\n");
    }
    if advise_ssd {
        report.extend_from_slice(b"- SSD disks are able to reduce fsync latency, and total time needed for snapshotting and AOF log rewriting (resulting in smaller memory usage and smaller final AOF rewrite buffer flushes). With extremely high write load SSD disks can be a good option. However Redis should perform reasonably with high load using normal disks. Use this advice as a last resort.\n");
    }
    if advise_data_writeback {
        report.extend_from_slice(b"- Mounting ext3/4 filesystems with data=writeback can provide a performance boost compared to data=ordered, however this mode of operation provides less guarantees, and sometimes it can happen that after a hard crash the AOF file will have a half-written command at the end and will require to be repaired before Redis restarts.\n");
    }
    if advise_disk_contention {
        report.extend_from_slice(b"- Try to lower the disk contention. This is often caused by other disk intensive processes running in the same computer (including other Redis instances).\n");
    }
    if advise_no_appendfsync {
        report.extend_from_slice(b"- Assuming from the point of view of data safety this is viable in your environment, you could try to enable the 'no-appendfsync-on-rewrite' option, so that fsync will not be performed while there is a child rewriting the AOF file or producing an RDB file (the moment where there is high disk contention).\n");
    }
    if advise_relax_fsync_policy && server.aof_fsync == AOF_FSYNC_ALWAYS {
        report.extend_from_slice(b"- Your fsync policy is set to 'always'. It is very hard to get good performances with such a setup, if possible try to relax the fsync policy to 'onesec'.\n");
    }
    if advise_write_load_info {
        report.extend_from_slice(b"- Latency during the AOF atomic rename operation or when the final difference is flushed to the AOF file at the end of the rewrite, sometimes is caused by very high write load, causing the AOF buffer to get very large. If possible try to send less commands to accomplish the same work, or use Lua scripts to group multiple operations into a single EVALSHA call.\n");
    }

    // The keys.
    if advise_hz && server.hz < 100 {
        report.extend_from_slice(b"- In order to make the Redis keys expiring process more incremental, try to set the 'hz' configuration parameter to 100 using 'CONFIG SET hz 100'.\n");
    }
    if advise_large_objects {
        report.extend_from_slice(b"- Deleting, expiring or evicting (because of maxmemory policy) large objects is a blocking operation. If you have very large objects that are often deleted, expired, or evicted, try to fragment those objects into multiple smaller objects.\n");
    }
    if advise_mass_eviction {
        report.extend_from_slice(b"- Sudden changes to the 'maxmemory' setting via 'CONFIG SET', or allocation of large objects via sets or sorted sets intersections, STORE option of SORT, Redis Cluster large keys migrations (RESTORE command), may create sudden memory pressure forcing the server to block trying to evict keys. \n");
    }
    if advise_disable_thp {
        report.extend_from_slice(b"- I detected a non zero amount of anonymous huge pages used by your process. This creates very serious latency events in different conditions, especially when Redis is persisting on disk. To disable THP support use the command 'echo never > /sys/kernel/mm/transparent_hugepage/enabled', make sure to also add it into /etc/rc.local so that the command will be executed again after a reboot. Note that even if you have already disabled THP, you still need to restart the Redis process to get rid of the huge pages already created.\n");
    }
    report
}

// ---------------------- Latency command implementation --------------------

/// Replies to LATENCY HISTORY: with the samples, oldest first, each with its time.
fn latencyCommandReplyWithSamples(clients: &mut Clients, c: ClientId, ts: &latencyTimeSeries) {
    addReplyArrayLen(clients, c, ts.iter().count());
    for sample in ts.iter() {
        addReplyArrayLen(clients, c, 2);
        addReplyLongLong(clients, c, i64::from(sample.time));
        addReplyLongLong(clients, c, i64::from(sample.latency));
    }
}

/// Replies to LATENCY LATEST: with the last sample of each event, and the longest.
fn latencyCommandReplyWithLatestEvents(server: &mut Server, c: ClientId) {
    let clients = &mut server.clients;
    addReplyArrayLen(clients, c, server.latency_tracking_events.len());
    for (event, ts) in &server.latency_tracking_events {
        let last = ts.samples[(ts.idx + LATENCY_TS_LEN - 1) % LATENCY_TS_LEN];
        addReplyArrayLen(clients, c, 4);
        addReplyBulkCString(clients, c, event);
        addReplyLongLong(clients, c, i64::from(last.time));
        addReplyLongLong(clients, c, i64::from(last.latency));
        addReplyLongLong(clients, c, i64::from(ts.max));
    }
}

const LATENCY_GRAPH_COLS: usize = 80;

/// Draws the picture of LATENCY GRAPH: the samples, and under each how long ago it was.
fn latencyCommandGenSparkeline(event: &[u8], ts: &latencyTimeSeries, now: i64) -> Vec<u8> {
    let mut seq = sequence::default();
    let (mut min, mut max) = (0, 0);
    for sample in ts.iter() {
        if seq.samples.is_empty() {
            min = sample.latency;
            max = sample.latency;
        } else {
            min = min.min(sample.latency);
            max = max.max(sample.latency);
        }
        let elapsed = now - i64::from(sample.time);
        let label = match elapsed {
            ..60 => format!("{elapsed}s"),
            60..3600 => format!("{}m", elapsed / 60),
            3600..86400 => format!("{}h", elapsed / 3600),
            _ => format!("{}d", elapsed / 86400),
        };
        sparklineSequenceAddSample(&mut seq, f64::from(sample.latency), label.as_bytes());
    }

    let mut graph = Vec::new();
    sdscatprintf!(
        graph,
        "{} - high {} ms, low {} ms (all time high {} ms)\n",
        B(event),
        max,
        min,
        ts.max
    );
    graph.extend_from_slice(&[b'-'; LATENCY_GRAPH_COLS]);
    graph.push(b'\n');
    sparklineRender(&mut graph, &seq, LATENCY_GRAPH_COLS, 4, SPARKLINE_FILL);
    graph
}

/// LATENCY HISTORY event, GRAPH event, LATEST, DOCTOR, RESET [event ..], HELP
pub fn latencyCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let is = |name: &str| eq_ignore_case(&argv[1], name.as_bytes());
    if is("history") && argv.len() == 3 {
        match server.latency_tracking_events.get(c_str(&argv[2])) {
            Some(ts) => latencyCommandReplyWithSamples(&mut server.clients, c, ts),
            None => addReplyArrayLen(server, c, 0),
        }
    } else if is("graph") && argv.len() == 3 {
        let event = c_str(&argv[2]);
        let Some(ts) = server.latency_tracking_events.get(event) else {
            addReplyErrorFormat!(server, c, "No samples available for event '{}'", B(event));
            return;
        };
        let graph = latencyCommandGenSparkeline(event, ts, unix_seconds());
        addReplyVerbatim(server, c, &graph, "txt");
    } else if is("latest") && argv.len() == 2 {
        latencyCommandReplyWithLatestEvents(server, c);
    } else if is("doctor") && argv.len() == 2 {
        let report = createLatencyReport(server);
        addReplyVerbatim(server, c, &report, "txt");
    } else if is("reset") {
        let resets: usize = if argv.len() == 2 {
            latencyResetEvent(server, None)
        } else {
            (2..argv.len()).map(|j| latencyResetEvent(server, Some(&argv[j]))).sum()
        };
        addReplyLongLong(server, c, resets as i64);
    } else if is("help") && argv.len() == 2 {
        let help = [
            "DOCTOR",
            "    Return a human readable latency analysis report.",
            "GRAPH <event>",
            "    Return an ASCII latency graph for the <event> class.",
            "HISTORY <event>",
            "    Return time-latency samples for the <event> class.",
            "LATEST",
            "    Return the latest latency samples for all events.",
            "RESET [<event> ...]",
            "    Reset latency data of one or more <event> classes.",
            "    (default: reset all data for all event classes)",
        ];
        addReplyHelp(server, c, argv, &help);
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

// ----------------------------- sparkline.c --------------------------------

/// Three heights within a row of text, as lines and as areas.
const charset: &[u8; 3] = b"_-`";
const charset_fill: &[u8; 3] = b"_o#";
const charset_len: i32 = 3;
/// Empty rows above the labels.
const label_margin_top: i32 = 1;

/// Draw a sequence as lines.
pub const SPARKLINE_NO_FLAGS: i32 = 0;
/// Draw a sequence as areas.
pub const SPARKLINE_FILL: i32 = 1 << 0;
/// Draw heights that grow with the logarithm of the values.
pub const SPARKLINE_LOG_SCALE: i32 = 1 << 1;

/// A value to draw, and what is written below it, downwards; empty for nothing.
pub struct sample {
    pub value: f64,
    pub label: Vec<u8>,
}

/// Values to draw, from left to right.
#[derive(Default)]
pub struct sequence {
    pub samples: Vec<sample>,
    pub min: f64,
    pub max: f64,
}

/// Adds a value on the right.
pub fn sparklineSequenceAddSample(seq: &mut sequence, value: f64, label: &[u8]) {
    if seq.samples.is_empty() {
        seq.min = value;
        seq.max = value;
    } else {
        seq.min = seq.min.min(value);
        seq.max = seq.max.max(value);
    }
    seq.samples.push(sample { value, label: label.to_vec() });
}

/// Draws some of the values of a sequence, on the scale of all, in `rows` rows of text and as many
/// as the labels need.
fn sparklineRenderRange(
    output: &mut Vec<u8>,
    seq: &sequence,
    samples: &[sample],
    rows: i32,
    flags: i32,
) {
    let steps = charset_len * rows;
    let opt_fill = flags & SPARKLINE_FILL != 0;
    let opt_log = flags & SPARKLINE_LOG_SCALE != 0;
    let labels = seq.samples.iter().any(|s| !s.label.is_empty());
    let set = if opt_fill { charset_fill } else { charset };

    let mut relmax = seq.max - seq.min;
    if opt_log {
        relmax = (relmax + 1.0).ln();
    } else if relmax == 0.0 {
        relmax = 1.0;
    }

    let mut chars = vec![b' '; samples.len()];
    for row in 0.. {
        chars.fill(b' ');
        // Whether this row, or one after it, has something to show.
        let mut more = false;
        for (char, s) in chars.iter_mut().zip(samples) {
            let mut relval = s.value - seq.min;
            if opt_log {
                relval = (relval + 1.0).ln();
            }
            let step = (f64::from((relval * f64::from(steps)) as i32) / relmax) as i32;
            let step = step.clamp(0, steps - 1);

            if row < rows {
                let charidx = step - (rows - row - 1) * charset_len;
                more = true;
                if (0..charset_len).contains(&charidx) {
                    *char = set[charidx as usize];
                } else if opt_fill && charidx >= charset_len {
                    *char = b'|';
                }
            } else if labels && row - rows < label_margin_top {
                more = true;
                break;
            } else if let Some(&letter) = s.label.get((row - rows - label_margin_top) as usize) {
                more = true;
                *char = letter;
            }
        }
        if !more {
            break;
        }
        output.extend_from_slice(&chars);
        output.push(b'\n');
    }
}

/// Draws a sequence, in pictures of at most `columns` values one under the other.
pub fn sparklineRender(
    output: &mut Vec<u8>,
    seq: &sequence,
    columns: usize,
    rows: i32,
    flags: i32,
) {
    for (j, samples) in seq.samples.chunks(columns).enumerate() {
        if j != 0 {
            output.push(b'\n');
        }
        sparklineRenderRange(output, seq, samples, rows, flags);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a server that measures, with samples of an event at some times.
    fn server(samples: &[(i64, i64)]) -> Server {
        let mut server = Server { latency_monitor_threshold: 1, ..Server::default() };
        for &(time, latency) in samples {
            latency_add_sample_at(&mut server, "command", latency, time);
        }
        server
    }

    /// The samples of which a C server drew the graph below.
    const SAMPLES: [(i64, i64); 5] =
        [(1795258762, 11), (1795258763, 70), (1795258764, 33), (1795258765, 100), (1795258766, 22)];

    #[test]
    fn a_second_has_one_sample_the_longest() {
        let server = server(&[(7, 20), (7, 30), (7, 10), (8, 5)]);
        let ts = &server.latency_tracking_events[&b"command"[..]];
        let samples: Vec<_> = ts.iter().map(|s| (s.time, s.latency)).collect();
        assert_eq!((samples, ts.max), (vec![(7, 30), (8, 5)], 30));
    }

    #[test]
    fn the_oldest_samples_are_forgotten_but_not_the_longest_time() {
        let samples: Vec<_> = (1..=200).map(|time| (time, 1000 - time)).collect();
        let server = server(&samples);
        let ts = &server.latency_tracking_events[&b"command"[..]];
        let times: Vec<_> = ts.iter().map(|s| i64::from(s.time)).collect();
        assert_eq!(times, (41..=200).collect::<Vec<_>>());
        assert_eq!((ts.max, analyzeLatencyForEvent(&server, b"command").max), (999, 959));
    }

    #[test]
    fn only_what_is_long_enough_is_remembered() {
        let mut server = Server { latency_monitor_threshold: 100, ..Server::default() };
        latencyAddSampleIfNeeded(&mut server, "fork", 99);
        assert!(server.latency_tracking_events.is_empty());
        latencyAddSampleIfNeeded(&mut server, "fork", 100);
        assert_eq!(server.latency_tracking_events[&b"fork"[..]].max, 100);
        server.latency_monitor_threshold = 0;
        latencyAddSampleIfNeeded(&mut server, "command", 100);
        assert_eq!((server.latency_tracking_events.len(), latencyStartMonitor(&server)), (1, 0));
    }

    #[test]
    fn an_event_is_analyzed_as_in_the_c() {
        let server = server(&SAMPLES);
        let ls = analyzeLatencyForEvent(&server, b"command");
        assert!(ls.period != 0);
        let expected = latencyStats {
            all_time_high: 100,
            avg: 47,
            min: 11,
            max: 100,
            mad: 30,
            samples: 5,
            period: ls.period,
        };
        assert_eq!(ls, expected);
        assert_eq!(analyzeLatencyForEvent(&server, b"fork"), latencyStats::default());
    }

    #[test]
    fn the_doctor_says_what_it_sees() {
        let report = createLatencyReport(&Server::default());
        assert!(
            report.starts_with(b"I'm sorry, Dave, I can't do that. Latency monitoring is disabled")
        );
        let mut server = server(&SAMPLES);
        server.slowlog_log_slower_than = 10_000;
        let report = String::from_utf8(createLatencyReport(&server)).unwrap();
        assert!(report.starts_with("Dave, I have observed latency spikes"), "{report}");
        assert!(
            report.contains(
                "\n1. command: 5 latency spikes (average 47ms, mean deviation 30ms, period "
            ),
            "{report}"
        );
        assert!(
            report.contains(
                " sec). Worst all time event 100ms.\n\nI have a few advices for you:\n\n"
            ),
            "{report}"
        );
        assert!(
            report.contains("Please use 'CONFIG SET slowlog-log-slower-than 1000'.\n"),
            "{report}"
        );
    }

    #[test]
    fn resetting_forgets_one_event_or_all() {
        let mut server = server(&SAMPLES);
        latency_add_sample_at(&mut server, "fork", 5, 9);
        assert_eq!(latencyResetEvent(&mut server, Some(b"FORK")), 1);
        assert_eq!(latencyResetEvent(&mut server, Some(b"fork")), 0);
        latency_add_sample_at(&mut server, "fork", 5, 9);
        assert_eq!(latencyResetEvent(&mut server, None), 2);
        assert!(server.latency_tracking_events.is_empty());
    }

    #[test]
    fn a_graph_is_that_of_the_c() {
        let server = server(&SAMPLES);
        let ts = &server.latency_tracking_events[&b"command"[..]];
        let graph = latencyCommandGenSparkeline(b"command", ts, 1795258773);
        let expected = format!(
            "command - high 100 ms, low 11 ms (all time high 100 ms)\n{}\n{}",
            "-".repeat(80),
            "   # \n o | \n | | \n_|#|o\n     \n11987\n10sss\nss   \n"
        );
        assert_eq!(String::from_utf8(graph).unwrap(), expected);
    }

    #[test]
    fn a_long_sequence_is_drawn_in_several_pictures() {
        let mut seq = sequence::default();
        for value in [0.0, 1.0, 2.0] {
            sparklineSequenceAddSample(&mut seq, value, b"");
        }
        let mut lines = Vec::new();
        sparklineRender(&mut lines, &seq, 2, 1, SPARKLINE_NO_FLAGS);
        assert_eq!(lines, b"_-\n\n`\n");
        let mut logarithmic = Vec::new();
        sparklineRender(&mut logarithmic, &seq, 3, 1, SPARKLINE_FILL | SPARKLINE_LOG_SCALE);
        assert_eq!(logarithmic, b"_o#\n");
    }
}
