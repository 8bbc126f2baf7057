//! `config.c`: the config file, the CONFIG command, and the table of directives that both use.
//!
//! Read first: `configs`, the table at the end; then `loadServerConfigFromString` and
//! `rewriteConfig`.
//!
//! Differs: where the C keeps a pointer to a field of the server, an entry has two functions that
//! read and write it. Directives whose feature is absent (cluster, TLS, ...) have no fields:
//! their values are kept by name (`absent_number`, `absent_text`), within the C's bounds, for
//! CONFIG GET and CONFIG REWRITE. A value that asks for an absent feature is refused
//! (`not_supported_but`); one that would only make the server faster is accepted with a warning
//! (`warn_absent_configs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::acl::{ACLAppendUserForLoading, ACLDescribeUser, ACLUpdateDefaultUserPassword};
use crate::ae::{aeGetSetSize, aeResizeSetSize};
use crate::aof::{startAppendOnly, stopAppendOnly};
use crate::args::Args;
use crate::debug::{disableWatchdog, enableWatchdog, prepare_crash_report};
use crate::ds::glob::stringmatchlen;
use crate::evict::{freeMemoryGetNotCountedMemory, performEvictions};
use crate::log::*;
use crate::networking::*;
use crate::notify::{keyspaceEventsFlagsToString, keyspaceEventsStringToFlags};
use crate::replication::backoff::backoff_reset;
use crate::replication::doctor::warn_replica_limits;
use crate::replication::guard::set_lost_writes_dir;
use crate::replication::{refreshGoodSlavesCount, resizeReplicationBacklog};
use crate::scripting::apply_memory_limit;
use crate::sds::{sdscatrepr, sdssplitargs, sdssplitlen, sdstrim};
use crate::server::*;
use crate::server_h::*;
use crate::sys::alloc::{set_jemalloc_bg_thread, zmalloc_used_memory};
use crate::sys::defrag::have_defrag;
use crate::sys::errno::error_text;
use crate::trace::set_trace_file;
use crate::util::{B, atoi, c_str, ll2string, memtoll, pathIsBaseName, string2ll, yesnotoi};
use crate::{addReplyErrorFormat, bformat, serverLog};

/// The names of the values of an enum directive. The first name of a value is the one that is
/// shown.
pub type configEnum = &'static [(&'static str, i32)];

pub const maxmemory_policy_enum: configEnum = &[
    ("volatile-lru", MAXMEMORY_VOLATILE_LRU),
    ("volatile-lfu", MAXMEMORY_VOLATILE_LFU),
    ("volatile-random", MAXMEMORY_VOLATILE_RANDOM),
    ("volatile-ttl", MAXMEMORY_VOLATILE_TTL),
    ("allkeys-lru", MAXMEMORY_ALLKEYS_LRU),
    ("allkeys-lfu", MAXMEMORY_ALLKEYS_LFU),
    ("allkeys-random", MAXMEMORY_ALLKEYS_RANDOM),
    ("noeviction", MAXMEMORY_NO_EVICTION),
];

pub const syslog_facility_enum: configEnum = &[
    ("user", libc::LOG_USER),
    ("local0", libc::LOG_LOCAL0),
    ("local1", libc::LOG_LOCAL1),
    ("local2", libc::LOG_LOCAL2),
    ("local3", libc::LOG_LOCAL3),
    ("local4", libc::LOG_LOCAL4),
    ("local5", libc::LOG_LOCAL5),
    ("local6", libc::LOG_LOCAL6),
    ("local7", libc::LOG_LOCAL7),
];

pub const loglevel_enum: configEnum =
    &[("debug", LL_DEBUG), ("verbose", LL_VERBOSE), ("notice", LL_NOTICE), ("warning", LL_WARNING)];

pub const supervised_mode_enum: configEnum = &[
    ("upstart", SUPERVISED_UPSTART),
    ("systemd", SUPERVISED_SYSTEMD),
    ("auto", SUPERVISED_AUTODETECT),
    ("no", SUPERVISED_NONE),
];

pub const aof_fsync_enum: configEnum =
    &[("everysec", AOF_FSYNC_EVERYSEC), ("always", AOF_FSYNC_ALWAYS), ("no", AOF_FSYNC_NO)];

pub const oom_score_adj_enum: configEnum = &[
    ("no", OOM_SCORE_ADJ_NO),
    ("yes", OOM_SCORE_RELATIVE),
    ("relative", OOM_SCORE_RELATIVE),
    ("absolute", OOM_SCORE_ADJ_ABSOLUTE),
];

pub const acl_pubsub_default_enum: configEnum =
    &[("allchannels", USER_FLAG_ALLCHANNELS as i32), ("resetchannels", 0)];

pub const repl_diskless_load_enum: configEnum = &[
    ("disabled", REPL_DISKLESS_LOAD_DISABLED),
    ("on-empty-db", REPL_DISKLESS_LOAD_WHEN_DB_EMPTY),
    ("swapdb", REPL_DISKLESS_LOAD_SWAPDB),
];

// C: it has no such directive; 7.0 has it, without `disconnect`.
pub const propagation_error_behavior_enum: configEnum = &[
    ("ignore", PROPAGATION_ERR_BEHAVIOR_IGNORE),
    ("disconnect", PROPAGATION_ERR_BEHAVIOR_DISCONNECT),
    ("panic", PROPAGATION_ERR_BEHAVIOR_PANIC),
];

pub const sanitize_dump_payload_enum: configEnum =
    &[("no", SANITIZE_DUMP_NO), ("yes", SANITIZE_DUMP_YES), ("clients", SANITIZE_DUMP_CLIENTS)];

/// The default output buffer limits of the client classes: normal, replica, pubsub.
pub const clientBufferLimitsDefaults: [clientBufferLimitsConfig; CLIENT_TYPE_OBUF_COUNT] = [
    clientBufferLimitsConfig { hard_limit_bytes: 0, soft_limit_bytes: 0, soft_limit_seconds: 0 },
    clientBufferLimitsConfig {
        hard_limit_bytes: 256 << 20,
        soft_limit_bytes: 64 << 20,
        soft_limit_seconds: 60,
    },
    clientBufferLimitsConfig {
        hard_limit_bytes: 32 << 20,
        soft_limit_bytes: 8 << 20,
        soft_limit_seconds: 60,
    },
];

/// The default values of oom_score_adj for a master, a replica and a child process.
pub const configOOMScoreAdjValuesDefaults: [i32; CONFIG_OOM_COUNT] = [0, 200, 800];

/// The reason for which a value was refused: the text of the error reply.
type ConfigError = Vec<u8>;
/// Validates a new value of type `T`. The flag tells whether it comes from CONFIG SET.
type IsValid<T> = Option<fn(T, bool) -> Result<(), ConfigError>>;
/// Applies a change, given the new value and the old one.
type Update<T> = Option<fn(&mut Server, T, T) -> Result<(), ConfigError>>;
/// Validates a new value of a text directive.
type CheckText = fn(&[u8]) -> Result<(), ConfigError>;
/// Applies a change of a text directive, given the new value and the old one.
type UpdateText = fn(&mut Server, &[u8], &[u8]) -> Result<(), ConfigError>;
/// Applies a change of a text directive that may be absent; the value is read from the server.
type UpdateOptText = fn(&mut Server) -> Result<(), ConfigError>;

/// The type of a directive's value, and the functions that read and set it. `update` applies a
/// change by CONFIG SET; if it fails, the old value is restored.
pub enum typeData {
    YesNo {
        get: fn(&Server) -> bool,
        set: fn(&mut Server, bool),
        default: bool,
        is_valid: IsValid<bool>,
        update: Update<bool>,
    },
    /// A string that may be empty.
    Text {
        get: fn(&Server) -> &[u8],
        set: fn(&mut Server, Vec<u8>),
        default: &'static [u8],
        is_valid: Option<CheckText>,
        update: Option<UpdateText>,
    },
    /// A string that may be absent, which is its default and is written as "".
    OptText {
        get: fn(&Server) -> Option<&[u8]>,
        set: fn(&mut Server, Option<Vec<u8>>),
        update: Option<UpdateOptText>,
    },
    Enum {
        get: fn(&Server) -> i32,
        set: fn(&mut Server, i32),
        values: configEnum,
        default: i32,
        is_valid: IsValid<i32>,
        update: Update<i32>,
    },
    Numeric {
        get: fn(&Server) -> i64,
        set: fn(&mut Server, i64),
        lower_bound: i64,
        upper_bound: i64,
        default: i64,
        is_memory: bool,
        /// True if the value and the bounds are compared as unsigned numbers.
        is_unsigned: bool,
        update: Update<i64>,
    },
}

/// The directive can be changed by CONFIG SET.
const MODIFIABLE_CONFIG: i32 = 0;
/// The directive can only be set in the config file and on the command line.
const IMMUTABLE_CONFIG: i32 = 1 << 0;
/// The directive can be changed by CONFIG SET, and its value is not shown in MONITOR and the slow
/// log.
const SENSITIVE_CONFIG: i32 = 1 << 1;

/// An entry of the table of directives.
pub struct standardConfig {
    pub name: &'static str,
    pub alias: Option<&'static str>,
    flags: i32,
    data: typeData,
}

// -----------------------------------------------------------------------------
// Enum access functions
// -----------------------------------------------------------------------------

/// Returns the value with that name, which is case insensitive.
pub fn configEnumGetValue(ce: configEnum, name: &[u8]) -> Option<i32> {
    ce.iter().find(|(n, _)| n.as_bytes().eq_ignore_ascii_case(name)).map(|(_, val)| *val)
}

/// Returns the first name of a value.
pub fn configEnumGetName(ce: configEnum, val: i32) -> Option<&'static str> {
    ce.iter().find(|(_, v)| *v == val).map(|(name, _)| *name)
}

/// Returns the first name of a value, or "unknown" if it has none.
pub fn configEnumGetNameOrUnknown(ce: configEnum, val: i32) -> &'static str {
    configEnumGetName(ce, val).unwrap_or("unknown")
}

/// Returns the name of the maxmemory policy, for INFO.
pub fn evictPolicyToString(server: &Server) -> &'static str {
    configEnumGetNameOrUnknown(maxmemory_policy_enum, server.maxmemory_policy)
}

// -----------------------------------------------------------------------------
// Config file parsing
// -----------------------------------------------------------------------------

/// Adds a save point.
pub fn appendServerSaveParams(server: &mut Server, seconds: i64, changes: i32) {
    server.saveparams.push(saveparam { seconds, changes });
}

/// Removes all save points.
pub fn resetServerSaveParams(server: &mut Server) {
    server.saveparams.clear();
}

/// Sets oom-score-adj-values from its three arguments. With `apply` they take effect at once; if
/// that fails the old values are restored.
fn updateOOMScoreAdjValues<T: AsRef<[u8]>>(
    server: &mut Server,
    args: &[T],
    apply: bool,
) -> Result<(), ConfigError> {
    let mut values = [0; CONFIG_OOM_COUNT];
    for (value, arg) in values.iter_mut().zip(args) {
        match strtoll10(arg.as_ref()) {
            Some(n) if (-2000..=2000).contains(&n) => *value = n as i32,
            _ => {
                return Err(
                    b"Invalid oom-score-adj-values, elements must be between -2000 and 2000."
                        .to_vec(),
                );
            }
        }
    }

    // The values should not fall from master to child: an unprivileged process can't lower its own.
    if values[CONFIG_OOM_REPLICA] < values[CONFIG_OOM_MASTER]
        || values[CONFIG_OOM_BGCHILD] < values[CONFIG_OOM_REPLICA]
    {
        serverLog!(
            LL_WARNING,
            "The oom-score-adj-values configuration may not work for non-privileged processes! Please consult the documentation."
        );
    }

    let old_values = server.oom_score_adj_values;
    server.oom_score_adj_values = values;
    if apply && setOOMScoreAdj(server, -1).is_err() {
        server.oom_score_adj_values = old_values;
        return Err(
            b"Failed to apply oom-score-adj-values configuration, check server logs.".to_vec()
        );
    }
    Ok(())
}

/// Parses a decimal number as strtoll(3) does: white space and a sign may precede it, nothing may
/// follow it. The empty string is 0.
fn strtoll10(s: &[u8]) -> Option<i64> {
    let t = s.trim_ascii_start();
    let (negative, digits) = match t.first() {
        Some(b'-') => (true, &t[1..]),
        Some(b'+') => (false, &t[1..]),
        _ => (false, t),
    };
    if digits.is_empty() {
        return s.is_empty().then_some(0);
    }
    let mut n: i64 = 0;
    for d in digits {
        let d = i64::from(char::from(*d).to_digit(10)?);
        n = n.saturating_mul(10).saturating_add(d);
    }
    Some(if negative { -n } else { n })
}

/// Sets every directive to its default.
pub fn initConfigValues(server: &mut Server) {
    for config in configs {
        match &config.data {
            typeData::YesNo { set, default, .. } => set(server, *default),
            typeData::Text { set, default, .. } => set(server, default.to_vec()),
            typeData::OptText { set, .. } => set(server, None),
            typeData::Enum { set, default, .. } => set(server, *default),
            typeData::Numeric { set, default, .. } => set(server, *default),
        }
    }
    server.oom_score_adj_values = configOOMScoreAdjValuesDefaults;
    server.clients.client_obuf_limits = clientBufferLimitsDefaults;
}

/// The state of `loadServerConfigFromString` from one line to the next.
#[derive(Default)]
struct LoadState {
    /// True once a `save` line was read, which removes the default save points.
    save_loaded: bool,
}

/// Executes one line of a config file, which was split into arguments. The error is the last line
/// of the report.
fn apply_config_line(
    server: &mut Server,
    state: &mut LoadState,
    argv: &[Vec<u8>],
) -> Result<(), ConfigError> {
    let argc = argv.len();
    let name = argv[0].to_ascii_lowercase();

    // Look the directive up in the table.
    if let Some(config) = configs.iter().find(|config| config.is_named(&name)) {
        if argc != 2 {
            return Err(b"wrong number of arguments".to_vec());
        }
        return config.set(server, &argv[1], false);
    }
    // The directives that are not one name and one value.
    match (name.as_slice(), argc) {
        (b"bind", 2..) => {
            if argc - 1 > CONFIG_BINDADDR_MAX {
                return Err(b"Too many bind addresses specified".to_vec());
            }
            server.bindaddr = argv[1..].to_vec();
        }
        (b"unixsocketperm", 2) => {
            // As strtol(3) does, take the octal digits at the beginning.
            let digits = argv[1].iter().take_while(|d| (b'0'..=b'7').contains(d));
            let perm =
                digits.fold(0u32, |n, d| n.saturating_mul(8).saturating_add(u32::from(d - b'0')));
            if perm > 0o777 || argv[1].first() == Some(&b'-') {
                return Err(b"Invalid socket file permissions".to_vec());
            }
            server.unixsocketperm = perm;
        }
        (b"save", _) => {
            // The first `save` line removes the default save points. A file without one leaves
            // them.
            if !state.save_loaded {
                state.save_loaded = true;
                resetServerSaveParams(server);
            }
            if argc == 3 {
                let (seconds, changes) = (atoi(&argv[1]), atoi(&argv[2]));
                if seconds < 1 || changes < 0 {
                    return Err(b"Invalid save parameters".to_vec());
                }
                appendServerSaveParams(server, i64::from(seconds), changes);
            } else if argc == 2 && argv[1].is_empty() {
                resetServerSaveParams(server);
            }
        }
        (b"dir", 2) => {
            if let Err(e) = change_dir(&argv[1]) {
                serverLog!(LL_WARNING, "Can't chdir to '{}': {}", B(&argv[1]), error_text(&e));
                std::process::exit(1);
            }
        }
        (b"logfile", 2) => {
            server.logfile = argv[1].clone();
            if !server.logfile.is_empty() {
                // An error is reported now, rather than when the first line is logged.
                let path = std::ffi::OsStr::from_bytes(&server.logfile);
                if let Err(e) = std::fs::OpenOptions::new().append(true).create(true).open(path) {
                    return Err(bformat!("Can't open the log file: {}", error_text(&e)));
                }
            }
            set_log_file(&server.logfile);
        }
        (b"include", 2) => loadServerConfig(server, Some(&argv[1]), false, b""),
        (b"slaveof" | b"replicaof", 3) => {
            server.masterhost = None;
            if argv[1].eq_ignore_ascii_case(b"no") && argv[2].eq_ignore_ascii_case(b"one") {
                return Ok(());
            }
            server.masterhost = Some(argv[1].clone());
            match strtoll10(&argv[2]) {
                Some(port @ 0..=65535) => server.masterport = port as i32,
                _ => return Err(b"Invalid master port".to_vec()),
            }
            server.repl_state = REPL_STATE_CONNECT;
        }
        // These two options are obsolete, and ignored.
        (b"list-max-ziplist-entries" | b"list-max-ziplist-value", 2) => {}
        (b"rename-command", 3) => server.commands.rename(&argv[1], &argv[2])?,
        (b"client-output-buffer-limit", 5) => {
            let class = match getClientTypeByName(&argv[1]) {
                Some(class) if class < CLIENT_TYPE_OBUF_COUNT => class,
                _ => {
                    return Err(b"Unrecognized client limit class: the user specified an invalid one, or 'master' which has no buffer limits.".to_vec());
                }
            };
            // C: a limit that is no memory value counts as 0 here, and is refused by CONFIG SET.
            let bytes = |arg: &[u8]| memtoll(arg).unwrap_or(0) as u64;
            let seconds = atoi(&argv[4]);
            if seconds < 0 {
                return Err(b"Negative number of seconds in soft limit is invalid".to_vec());
            }
            server.clients.client_obuf_limits[class] = clientBufferLimitsConfig {
                hard_limit_bytes: bytes(&argv[2]),
                soft_limit_bytes: bytes(&argv[3]),
                soft_limit_seconds: i64::from(seconds),
            };
        }
        (b"oom-score-adj-values", 4) => updateOOMScoreAdjValues(server, &argv[1..], false)?,
        (b"notify-keyspace-events", 2) => match keyspaceEventsStringToFlags(&argv[1]) {
            Some(flags) => server.notify_keyspace_events = flags,
            None => return Err(b"Invalid event class character. Use 'g$lshzxeA'.".to_vec()),
        },
        (b"user", 2..) => ACLAppendUserForLoading(server, argv)?,
        (b"cluster-config-file", 2) => {
            server.absent_texts.insert("cluster-config-file", argv[1].clone());
        }
        // C: it is unknown. It is the only line that CONFIG REWRITE of every 7.x writes and that
        // has no meaning in 6.2; a file should not be refused because of it.
        (b"latency-tracking-info-percentiles", _) => {
            serverLog!(LL_WARNING, "WARNING: '{}' has no effect in this server", B(&name));
        }
        (b"loadmodule", 2..) => return Err(b"Modules are not supported by this server".to_vec()),
        // The option alone comes from the command line, where it has no effect either.
        (b"sentinel", 1) => {}
        (b"sentinel", _) => return Err(b"sentinel directive while not in sentinel mode".to_vec()),
        (_, 2) if let Some((_, off)) = tls_configs.iter().find(|(n, _)| n.as_bytes() == name) => {
            if let Some(off) = off.filter(|off| !argv[1].eq_ignore_ascii_case(off.as_bytes())) {
                return Err(not_supported_but(&name, off));
            }
        }
        _ => return Err(b"Bad directive or wrong number of arguments".to_vec()),
    }
    Ok(())
}

/// The directives of a server that is built with TLS, each with the value that leaves TLS off, if
/// it has one. The others only configure TLS. None of them is shown or rewritten, as in a server
/// that is built without it.
const tls_configs: &[(&str, Option<&str>)] = &[
    ("tls-port", Some("0")),
    ("tls-cluster", Some("no")),
    ("tls-replication", Some("no")),
    ("tls-session-cache-size", None),
    ("tls-session-cache-timeout", None),
    ("tls-auth-clients", None),
    ("tls-prefer-server-ciphers", None),
    ("tls-session-caching", None),
    ("tls-cert-file", None),
    ("tls-key-file", None),
    ("tls-key-file-pass", None),
    ("tls-client-cert-file", None),
    ("tls-client-key-file", None),
    ("tls-client-key-file-pass", None),
    ("tls-dh-params-file", None),
    ("tls-ca-cert-file", None),
    ("tls-ca-cert-dir", None),
    ("tls-protocols", None),
    ("tls-ciphers", None),
    ("tls-ciphersuites", None),
];

/// Changes the working directory to `path`.
fn change_dir(path: &[u8]) -> std::io::Result<()> {
    std::env::set_current_dir(std::ffi::OsStr::from_bytes(path))
}

/// Executes the text of a config file. An invalid line is reported on standard error and ends the
/// process with exit code 1.
pub fn loadServerConfigFromString(server: &mut Server, config: &[u8]) {
    let mut state = LoadState::default();
    for (i, line) in config.split(|b| *b == b'\n').enumerate() {
        let line = sdstrim(line, b" \t\r\n");

        // Skip comments and blank lines
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        let result = match sdssplitargs(line) {
            None => Err(b"Unbalanced quotes in configuration line".to_vec()),
            Some(argv) if argv.is_empty() => Ok(()),
            Some(argv) => apply_config_line(server, &mut state, &argv),
        };
        if let Err(err) = result {
            let mut report = bformat!(
                "\n*** FATAL CONFIG FILE ERROR (Redis {}) ***\nReading the configuration file, at line {}\n>>> '{}'\n",
                REDIS_VERSION,
                i + 1,
                B(line)
            );
            report.extend_from_slice(&err);
            report.push(b'\n');
            let _ = std::io::stderr().write_all(&report);
            std::process::exit(1);
        }
    }

    // A frequency out of range is set to the nearest one in range, as it always was.
    server.config_hz = server.config_hz.clamp(CONFIG_MIN_HZ, CONFIG_MAX_HZ);
}

/// Executes the config file `filename`, if it is given, then standard input, if asked for, then
/// `options`, which has the form of a config file, too. A file that can't be read ends the process
/// with exit code 1.
pub fn loadServerConfig(
    server: &mut Server,
    filename: Option<&[u8]>,
    config_from_stdin: bool,
    options: &[u8],
) {
    let mut config = Vec::new();
    if let Some(filename) = filename {
        match std::fs::read(std::ffi::OsStr::from_bytes(filename)) {
            Ok(content) => config = content,
            // As in the C, a folder is an empty file: `redis-server ""` starts in the folder where it
            // is, with the defaults.
            Err(e) if e.kind() == std::io::ErrorKind::IsADirectory => {}
            Err(e) => {
                serverLog!(
                    LL_WARNING,
                    "Fatal error, can't open config file '{}': {}",
                    B(filename),
                    error_text(&e)
                );
                std::process::exit(1);
            }
        }
    }
    if config_from_stdin {
        serverLog!(LL_WARNING, "Reading config from stdin");
        // A read error ends the input, as it does with fgets.
        let _ = std::io::stdin().lock().read_to_end(&mut config);
    }
    config.push(b'\n');
    config.extend_from_slice(options);
    loadServerConfigFromString(server, &config);
}

// -----------------------------------------------------------------------------
// CONFIG SET implementation
// -----------------------------------------------------------------------------

/// The error of CONFIG SET for a directive that is not in the table.
enum SetError {
    /// The value is invalid; the text, if any, says why.
    BadFormat(Option<ConfigError>),
    /// The error reply, instead of the usual one.
    Reply(Vec<u8>),
}

impl From<ConfigError> for SetError {
    fn from(err: ConfigError) -> SetError {
        SetError::BadFormat(Some(err))
    }
}

/// Executes CONFIG SET for the directives that are not in the table.
fn set_special_config(server: &mut Server, name: &[u8], value: &[u8]) -> Result<(), SetError> {
    const BADFMT: SetError = SetError::BadFormat(None);
    match name {
        b"bind" => {
            let v = sdssplitlen(value, b" ");
            if v.is_empty() || v.len() > CONFIG_BINDADDR_MAX {
                return Err(SetError::Reply(b"Too many bind addresses specified.".to_vec()));
            }
            if changeBindAddr(server, &v).is_err() {
                return Err(SetError::Reply(b"Failed to bind to specified addresses.".to_vec()));
            }
        }
        b"save" => {
            // Validate all the save points before any is set.
            let v = sdssplitlen(value, b" ");
            if !v.len().is_multiple_of(2) {
                return Err(BADFMT);
            }
            let mut params = Vec::with_capacity(v.len() / 2);
            for pair in v.as_chunks::<2>().0 {
                match (strtoll10(pair[0]), strtoll10(pair[1])) {
                    (Some(seconds @ 1..), Some(changes @ 0..)) => {
                        params.push((seconds, changes as i32))
                    }
                    _ => return Err(BADFMT),
                }
            }
            resetServerSaveParams(server);
            for (seconds, changes) in params {
                appendServerSaveParams(server, seconds, changes);
            }
        }
        b"dir" => {
            if let Err(e) = change_dir(value) {
                return Err(SetError::Reply(bformat!("Changing directory: {}", error_text(&e))));
            }
        }
        b"client-output-buffer-limit" => {
            // Groups of <class> <hard> <soft> <seconds>, of which either all are set or none.
            let v = sdssplitlen(value, b" ");
            if !v.len().is_multiple_of(4) {
                return Err(BADFMT);
            }
            let mut limits = server.clients.client_obuf_limits;
            for part in v.as_chunks::<4>().0 {
                let class = getClientTypeByName(part[0])
                    .filter(|class| *class < CLIENT_TYPE_OBUF_COUNT)
                    .ok_or(BADFMT)?;
                let number = |word: &[u8]| memtoll(word).filter(|n| *n >= 0).ok_or(BADFMT);
                number(part[3])?;
                limits[class] = clientBufferLimitsConfig {
                    hard_limit_bytes: number(part[1])? as u64,
                    soft_limit_bytes: number(part[2])? as u64,
                    soft_limit_seconds: i64::from(atoi(part[3])),
                };
            }
            server.clients.client_obuf_limits = limits;
            warn_replica_limits(server);
        }
        b"oom-score-adj-values" => {
            let v = sdssplitlen(value, b" ");
            if v.len() != CONFIG_OOM_COUNT {
                return Err(BADFMT);
            }
            updateOOMScoreAdjValues(server, &v, true)?;
        }
        b"notify-keyspace-events" => {
            server.notify_keyspace_events = keyspaceEventsStringToFlags(value).ok_or(BADFMT)?;
        }
        b"watchdog-period" => match string2ll(value) {
            Some(0) => disableWatchdog(server),
            Some(period @ 1..=0x7fff_ffff) => enableWatchdog(server, period as i32),
            _ => return Err(BADFMT),
        },
        _ => {
            return Err(SetError::Reply(bformat!("Unsupported CONFIG parameter: {}", B(name))));
        }
    }
    Ok(())
}

/// CONFIG SET directive value: validates the value and applies it at once.
fn configSetCommand(server: &mut Server, c: ClientId, argv: &Args) {
    // Names, and the values in error replies, end at a NUL.
    let (name, value) = (c_str(argv.get(2)), argv.get(3));
    let lower = name.to_ascii_lowercase();

    let standard = configs
        .iter()
        .find(|config| config.flags & IMMUTABLE_CONFIG == 0 && config.is_named(&lower));
    let result = if let Some(config) = standard {
        if config.flags & SENSITIVE_CONFIG != 0 {
            redactClientCommandArgument(server, c, argv, 3);
        }
        config.set(server, value, true).map_err(SetError::from)
    } else {
        // The error has the name as it was given.
        match set_special_config(server, &lower, value) {
            Err(SetError::Reply(text)) if text.starts_with(b"Unsupported") => {
                Err(SetError::Reply(bformat!("Unsupported CONFIG parameter: {}", B(name))))
            }
            result => result,
        }
    };
    match result {
        Ok(()) => {
            // It may be what a link that does not last was waiting for.
            backoff_reset(server);
            addReply(server, c, shared::ok);
        }
        Err(SetError::Reply(text)) => add_reply_error_text(server, c, &text),
        Err(SetError::BadFormat(Some(err))) => {
            addReplyErrorFormat!(
                server,
                c,
                "Invalid argument '{}' for CONFIG SET '{}' - {}",
                B(c_str(value)),
                B(name),
                B(&err)
            );
        }
        Err(SetError::BadFormat(None)) => {
            addReplyErrorFormat!(
                server,
                c,
                "Invalid argument '{}' for CONFIG SET '{}'",
                B(c_str(value)),
                B(name)
            );
        }
    }
}

// -----------------------------------------------------------------------------
// CONFIG GET implementation
// -----------------------------------------------------------------------------

/// Returns the save points as CONFIG GET shows them.
fn save_params_text(server: &Server) -> Vec<u8> {
    let points: Vec<Vec<u8>> =
        server.saveparams.iter().map(|p| bformat!("{} {}", p.seconds, p.changes)).collect();
    points.join(&b' ')
}

/// Returns the working directory; empty if it can't be determined.
fn working_directory() -> Vec<u8> {
    std::env::current_dir().map(|dir| dir.into_os_string().into_vec()).unwrap_or_default()
}

/// Returns the directives that are not in the table with their values, in the order of the C.
fn special_configs(server: &Server) -> Vec<(&'static str, Vec<u8>)> {
    let limits: Vec<Vec<u8>> = (0..CLIENT_TYPE_OBUF_COUNT)
        .map(|class| {
            let limit = &server.clients.client_obuf_limits[class];
            bformat!(
                "{} {} {} {}",
                getClientTypeName(class),
                limit.hard_limit_bytes,
                limit.soft_limit_bytes,
                limit.soft_limit_seconds
            )
        })
        .collect();
    let master = match &server.masterhost {
        Some(host) => bformat!("{} {}", B(host), server.masterport),
        None => Vec::new(),
    };
    let scores = server.oom_score_adj_values.map(|n| n.to_string()).join(" ");
    vec![
        ("logfile", server.logfile.clone()),
        ("watchdog-period", server.watchdog_period.to_string().into_bytes()),
        ("dir", working_directory()),
        ("save", save_params_text(server)),
        ("client-output-buffer-limit", limits.join(&b' ')),
        ("unixsocketperm", bformat!("{:o}", server.unixsocketperm)),
        ("replicaof", master),
        ("notify-keyspace-events", keyspaceEventsFlagsToString(server.notify_keyspace_events)),
        ("bind", server.bindaddr.join(&b' ')),
        ("oom-score-adj-values", scores.into_bytes()),
    ]
}

/// CONFIG GET pattern: replies with the names that match, each with its value.
fn configGetCommand(server: &mut Server, c: ClientId, argv: &Args) {
    // A NUL ends the pattern.
    let pattern = c_str(&argv[2]);
    let matches = |name: &str| stringmatchlen(pattern, name.as_bytes(), true);
    let mut found: Vec<(&str, Vec<u8>)> = Vec::new();
    for config in configs {
        for name in
            [Some(config.name), config.alias].into_iter().flatten().filter(|name| matches(name))
        {
            found.push((name, config.get(server)));
        }
    }
    for (name, value) in special_configs(server) {
        // This directive has two names and is shown once: by the old name if the pattern matches
        // it.
        let name = if name == "replicaof" && matches("slaveof") { "slaveof" } else { name };
        // As in the C, this one alone has to be asked for in lower case.
        let nocase = name != "oom-score-adj-values";
        if stringmatchlen(pattern, name.as_bytes(), nocase) {
            found.push((name, value));
        }
    }
    let replylen = addReplyDeferredLen(server, c);
    for (name, value) in &found {
        addReplyBulkCBuffer(server, c, name.as_bytes());
        addReplyBulkCBuffer(server, c, value);
    }
    setDeferredMapLen(server, c, replylen, found.len());
}

// -----------------------------------------------------------------------------
// CONFIG REWRITE implementation
// -----------------------------------------------------------------------------

/// The comment above what CONFIG REWRITE appends to a file.
const REDIS_CONFIG_REWRITE_SIGNATURE: &[u8] = b"# Generated by CONFIG REWRITE";

/// A config file while it is rewritten.
#[derive(Default)]
pub struct rewriteConfigState {
    /// The lines of the old file by option, as far as they were not used again yet.
    option_to_line: BTreeMap<Vec<u8>, VecDeque<usize>>,
    /// The options that were rewritten. Their lines that were not used again are blanked; those of
    /// other options stay.
    rewritten: BTreeSet<Vec<u8>>,
    lines: Vec<Vec<u8>>,
    /// True if the file has the signature already.
    has_tail: bool,
    /// True to write also the options that have their default (DEBUG CONFIG-REWRITE-FORCE-ALL).
    force_all: bool,
}

/// Notes that `option` was rewritten.
fn rewriteConfigMarkAsProcessed(state: &mut rewriteConfigState, option: &str) {
    state.rewritten.insert(option.as_bytes().to_vec());
}

/// Reads the old file. A file that does not exist is an empty one.
fn rewriteConfigReadOldFile(path: &[u8]) -> std::io::Result<rewriteConfigState> {
    let content = match std::fs::read(std::ffi::OsStr::from_bytes(path)) {
        Ok(content) => content,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e),
    };
    let mut state = rewriteConfigState::default();
    if content.is_empty() {
        return Ok(state);
    }
    let content = content.strip_suffix(b"\n").unwrap_or(&content);
    for (linenum, line) in content.split(|b| *b == b'\n').enumerate() {
        let line = sdstrim(line, b"\r\n\t ").to_vec();

        // Comments and empty lines stay where they are.
        if line.is_empty() || line[0] == b'#' {
            state.has_tail |= line == REDIS_CONFIG_REWRITE_SIGNATURE;
            state.lines.push(line);
            continue;
        }
        match sdssplitargs(&line) {
            // A line that can't be parsed becomes a comment.
            None => state.lines.push([b"# ??? ", line.as_slice()].concat()),
            Some(argv) => {
                if let Some(word) = argv.first() {
                    let option = replica_spelling(&word.to_ascii_lowercase());
                    state.option_to_line.entry(option).or_default().push_back(linenum);
                }
                state.lines.push(line);
            }
        }
    }
    Ok(state)
}

/// Returns the present name of an option: with "replica" instead of "slave".
fn replica_spelling(option: &[u8]) -> Vec<u8> {
    match option.windows(5).position(|w| w == b"slave") {
        Some(i) => [&option[..i], b"replica", &option[i + 5..]].concat(),
        None => option.to_vec(),
    }
}

/// Writes `line` in place of a line for `option` in the old file. If there is none, it is appended
/// to the file if `force` is set, and otherwise not written, since the option has its default.
fn rewriteConfigRewriteLine(
    state: &mut rewriteConfigState,
    option: &str,
    line: Vec<u8>,
    force: bool,
) {
    rewriteConfigMarkAsProcessed(state, option);
    if let Some(places) = state.option_to_line.get_mut(option.as_bytes()) {
        let linenum = places.pop_front().expect("an option without lines is not in the map");
        if places.is_empty() {
            state.option_to_line.remove(option.as_bytes());
        }
        state.lines[linenum] = line;
    } else if force || state.force_all {
        if !state.has_tail {
            state.lines.push(REDIS_CONFIG_REWRITE_SIGNATURE.to_vec());
            state.has_tail = true;
        }
        state.lines.push(line);
    }
}

/// Returns the text of a number of bytes, with a unit where that is exact.
fn rewriteConfigFormatMemory(bytes: i64) -> String {
    const UNITS: [(i64, &str); 3] = [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")];
    match UNITS.iter().find(|(size, _)| bytes != 0 && bytes % size == 0) {
        Some((size, unit)) => format!("{}{unit}", bytes / size),
        None => bytes.to_string(),
    }
}

/// Rewrites a string option. Without a value its lines are removed.
fn rewriteConfigStringOption(
    state: &mut rewriteConfigState,
    option: &str,
    value: Option<&[u8]>,
    default: Option<&[u8]>,
) {
    let Some(value) = value else { return rewriteConfigMarkAsProcessed(state, option) };
    let mut line = bformat!("{} ", option);
    sdscatrepr(&mut line, value);
    rewriteConfigRewriteLine(state, option, line, default != Some(value));
}

/// Rewrites the save points, or `save ""` where there are none, which is not the default.
fn rewriteConfigSaveOption(server: &Server, state: &mut rewriteConfigState) {
    if server.saveparams.is_empty() {
        rewriteConfigRewriteLine(state, "save", b"save \"\"".to_vec(), true);
    }
    for p in &server.saveparams {
        rewriteConfigRewriteLine(state, "save", bformat!("save {} {}", p.seconds, p.changes), true);
    }
}

/// Rewrites the users, a line each.
fn rewriteConfigUserOption(server: &Server, state: &mut rewriteConfigState) {
    // With a file of users, lines about them have no place here.
    if server.acl_filename.is_empty() {
        for u in server.users.iter() {
            let descr = ACLDescribeUser(u, &server.commands);
            let mut line = b"user".to_vec();
            for word in [&u.name[..]].into_iter().chain(descr.split(|&b| b == b' ')) {
                line.push(b' ');
                // C: writes quotes as they are, and does not start with such a file.
                if word.is_empty() || word.iter().any(|b| matches!(b, b'"' | b'\'')) {
                    sdscatrepr(&mut line, word);
                } else {
                    line.extend_from_slice(word);
                }
            }
            rewriteConfigRewriteLine(state, "user", line, true);
        }
    }
    rewriteConfigMarkAsProcessed(state, "user");
}

/// Rewrites `replicaof`; a master has none in its file.
fn rewriteConfigSlaveofOption(server: &Server, state: &mut rewriteConfigState, option: &str) {
    match &server.masterhost {
        None => rewriteConfigMarkAsProcessed(state, option),
        Some(host) => {
            let line = bformat!("{} {} {}", option, B(host), server.masterport);
            rewriteConfigRewriteLine(state, option, line, true);
        }
    }
}

/// Rewrites the classes of keyspace events.
fn rewriteConfigNotifykeyspaceeventsOption(server: &Server, state: &mut rewriteConfigState) {
    let option = "notify-keyspace-events";
    let mut line = bformat!("{} ", option);
    sdscatrepr(&mut line, &keyspaceEventsFlagsToString(server.notify_keyspace_events));
    rewriteConfigRewriteLine(state, option, line, server.notify_keyspace_events != 0);
}

/// Rewrites the output buffer limits, a line per class.
fn rewriteConfigClientoutputbufferlimitOption(server: &Server, state: &mut rewriteConfigState) {
    let option = "client-output-buffer-limit";
    for (class, default) in clientBufferLimitsDefaults.iter().enumerate() {
        let limit = &server.clients.client_obuf_limits[class];
        let typename = match getClientTypeName(class) {
            "slave" => "replica",
            name => name,
        };
        let line = bformat!(
            "{} {} {} {} {}",
            option,
            typename,
            rewriteConfigFormatMemory(limit.hard_limit_bytes as i64),
            rewriteConfigFormatMemory(limit.soft_limit_bytes as i64),
            limit.soft_limit_seconds
        );
        rewriteConfigRewriteLine(state, option, line, limit != default);
    }
}

/// Rewrites oom-score-adj-values.
fn rewriteConfigOOMScoreAdjValuesOption(server: &Server, state: &mut rewriteConfigState) {
    let option = "oom-score-adj-values";
    let values = server.oom_score_adj_values;
    let line = bformat!("{} {}", option, values.map(|n| n.to_string()).join(" "));
    rewriteConfigRewriteLine(state, option, line, values != configOOMScoreAdjValuesDefaults);
}

/// Rewrites the addresses to bind to.
fn rewriteConfigBindOption(server: &Server, state: &mut rewriteConfigState) {
    if server.bindaddr.is_empty() {
        return rewriteConfigMarkAsProcessed(state, "bind");
    }
    let line = bformat!("bind {}", B(&server.bindaddr.join(&b' ')));
    rewriteConfigRewriteLine(state, "bind", line, true);
}

/// Returns the text of the new file, in which a run of empty lines becomes one.
fn rewriteConfigGetContentFromState(state: &rewriteConfigState) -> Vec<u8> {
    let mut content = Vec::new();
    let mut was_empty = false;
    for line in &state.lines {
        if line.is_empty() && was_empty {
            continue;
        }
        was_empty = line.is_empty();
        content.extend_from_slice(line);
        content.push(b'\n');
    }
    content
}

/// Blanks the lines that were not used again, of options that were rewritten. Options that are
/// unknown keep their lines.
fn rewriteConfigRemoveOrphaned(state: &mut rewriteConfigState) {
    for (option, places) in &state.option_to_line {
        if !state.rewritten.contains(option) {
            serverLog!(LL_DEBUG, "Not rewritten option: {}", B(option));
            continue;
        }
        for linenum in places {
            state.lines[*linenum].clear();
        }
    }
}

/// Replaces the config file atomically: writes a temporary file in the same directory, syncs it and
/// renames it.
fn rewriteConfigOverwriteFile(
    server: &Server,
    configfile: &[u8],
    content: &[u8],
) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut digits = [0; 6];
    crate::sys::random::getRandomHexChars(&mut digits);
    let tmp = [configfile, b".", &digits].concat();
    let (tmp, configfile_path) =
        (std::ffi::OsStr::from_bytes(&tmp), std::ffi::OsStr::from_bytes(configfile));

    let mut file = match std::fs::OpenOptions::new().write(true).create_new(true).open(tmp) {
        Ok(file) => file,
        Err(e) => {
            serverLog!(LL_WARNING, "Could not create tmp config file ({})", error_text(&e));
            return Err(e);
        }
    };
    let mut step = "";
    let result = (|| {
        file.write_all(content)?;
        step = "Could not sync tmp config file to disk";
        file.sync_all()?;
        step = "Could not chmod config file";
        file.set_permissions(PermissionsExt::from_mode(0o644 & !server.umask))?;
        step = "Could not rename tmp config file";
        std::fs::rename(tmp, configfile_path)
    })();
    match &result {
        Ok(()) => serverLog!(LL_DEBUG, "Rewritten config file ({}) successfully", B(configfile)),
        Err(e) if step.is_empty() => {
            serverLog!(
                LL_WARNING,
                "Failed after writing (0) bytes to tmp config file ({})",
                error_text(e)
            );
        }
        Err(e) => serverLog!(LL_WARNING, "{} ({})", step, error_text(e)),
    }
    if result.is_err() {
        let _ = std::fs::remove_file(tmp);
    }
    result
}

/// Rewrites the config file at `path`. Comments, the order of lines and unknown options are kept as
/// far as possible. An option that has its default and is not in the file is only written with
/// `force_all`.
pub fn rewriteConfig(server: &mut Server, path: &[u8], force_all: bool) -> std::io::Result<()> {
    // Step 1: read the old file.
    let mut state = rewriteConfigReadOldFile(path)?;
    state.force_all = force_all;

    // Step 2: rewrite every option, in its place or at the end.
    for config in configs {
        config.rewrite(server, &mut state);
    }
    let server = &*server;
    rewriteConfigBindOption(server, &mut state);
    let line = bformat!("unixsocketperm {:o}", server.unixsocketperm);
    rewriteConfigRewriteLine(&mut state, "unixsocketperm", line, server.unixsocketperm != 0);
    rewriteConfigStringOption(&mut state, "logfile", Some(&server.logfile), Some(b""));
    rewriteConfigSaveOption(server, &mut state);
    rewriteConfigUserOption(server, &mut state);
    let dir = working_directory();
    rewriteConfigStringOption(&mut state, "dir", (!dir.is_empty()).then_some(&dir), None);
    rewriteConfigSlaveofOption(server, &mut state, "replicaof");
    rewriteConfigStringOption(
        &mut state,
        "cluster-config-file",
        Some(absent_text(server, "cluster-config-file").unwrap_or(b"nodes.conf")),
        Some(b"nodes.conf"),
    );
    rewriteConfigNotifykeyspaceeventsOption(server, &mut state);
    rewriteConfigClientoutputbufferlimitOption(server, &mut state);
    rewriteConfigOOMScoreAdjValuesOption(server, &mut state);

    // Step 3: blank the lines that are left, such as the third `save` line if there are only two
    // save points now.
    rewriteConfigRemoveOrphaned(&mut state);

    // Step 4: replace the old file.
    rewriteConfigOverwriteFile(server, path, &rewriteConfigGetContentFromState(&state))
}

// -----------------------------------------------------------------------------
// Configs that fit one of the major types and require no special handling
// -----------------------------------------------------------------------------

impl standardConfig {
    /// Tells whether `lower`, in lower case, is the name or the alias of the directive.
    fn is_named(&self, lower: &[u8]) -> bool {
        self.name.as_bytes() == lower || self.alias.is_some_and(|alias| alias.as_bytes() == lower)
    }

    /// Returns the value of the directive, as CONFIG GET shows it.
    pub fn get(&self, server: &Server) -> Vec<u8> {
        match &self.data {
            typeData::YesNo { get, .. } => yes_no(get(server)).as_bytes().to_vec(),
            typeData::Text { get, .. } => get(server).to_vec(),
            typeData::OptText { get, .. } => get(server).unwrap_or_default().to_vec(),
            typeData::Enum { get, values, .. } => {
                configEnumGetNameOrUnknown(values, get(server)).as_bytes().to_vec()
            }
            typeData::Numeric { get, .. } => ll2string(get(server)).to_vec(),
        }
    }

    /// Sets the directive to a value in text. With `update` (CONFIG SET) the change takes effect at
    /// once; if that fails the old value is restored.
    fn set(&self, server: &mut Server, value: &[u8], update: bool) -> Result<(), ConfigError> {
        match &self.data {
            typeData::YesNo { get, set, is_valid, update: act, .. } => {
                let yn = match yesnotoi(value) {
                    -1 => return Err(b"argument must be 'yes' or 'no'".to_vec()),
                    yn => yn == 1,
                };
                if let Some(is_valid) = is_valid {
                    is_valid(yn, update)?;
                }
                let prev = get(server);
                set(server, yn);
                if update && let Some(act) = act {
                    act(server, yn, prev).inspect_err(|_| set(server, prev))?;
                }
            }
            typeData::Text { get, set, is_valid, update: act, .. } => {
                if let Some(is_valid) = is_valid {
                    is_valid(value)?;
                }
                let prev = get(server).to_vec();
                set(server, value.to_vec());
                if update && let Some(act) = act {
                    act(server, value, &prev).inspect_err(|_| set(server, prev.clone()))?;
                }
            }
            typeData::OptText { get, set, update: act } => {
                let prev = get(server).map(<[u8]>::to_vec);
                set(server, (!value.is_empty()).then(|| value.to_vec()));
                if update && let Some(act) = act {
                    act(server).inspect_err(|_| set(server, prev.clone()))?;
                }
            }
            typeData::Enum { get, set, values, is_valid, update: act, .. } => {
                let Some(enumval) = configEnumGetValue(values, value) else {
                    let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
                    return Err(bformat!(
                        "argument must be one of the following: {}",
                        names.join(", ")
                    ));
                };
                if let Some(is_valid) = is_valid {
                    is_valid(enumval, update)?;
                }
                let prev = get(server);
                set(server, enumval);
                if update && let Some(act) = act {
                    act(server, enumval, prev).inspect_err(|_| set(server, prev))?;
                }
            }
            typeData::Numeric {
                get,
                set,
                lower_bound,
                upper_bound,
                is_memory,
                is_unsigned,
                update: act,
                ..
            } => {
                let ll = if *is_memory {
                    memtoll(value)
                        .filter(|n| *n >= 0)
                        .ok_or_else(|| b"argument must be a memory value".to_vec())?
                } else {
                    string2ll(value)
                        .ok_or_else(|| b"argument couldn't be parsed into an integer".to_vec())?
                };
                numericBoundaryCheck(ll, *lower_bound, *upper_bound, *is_unsigned)?;
                let prev = get(server);
                set(server, ll);
                if update && let Some(act) = act {
                    act(server, ll, prev).inspect_err(|_| set(server, prev))?;
                }
            }
        }
        Ok(())
    }

    /// Writes the directive to a config file that is being rewritten.
    fn rewrite(&self, server: &Server, state: &mut rewriteConfigState) {
        let option = self.name;
        match &self.data {
            typeData::YesNo { get, default, .. } => {
                let value = get(server);
                rewriteConfigRewriteLine(
                    state,
                    option,
                    bformat!("{} {}", option, yes_no(value)),
                    value != *default,
                );
            }
            typeData::Text { get, default, .. } => {
                rewriteConfigStringOption(state, option, Some(get(server)), Some(default));
            }
            typeData::OptText { get, .. } => {
                rewriteConfigStringOption(state, option, get(server), None)
            }
            typeData::Enum { get, values, default, .. } => {
                let value = get(server);
                let line = bformat!("{} {}", option, configEnumGetNameOrUnknown(values, value));
                rewriteConfigRewriteLine(state, option, line, value != *default);
            }
            typeData::Numeric { get, default, is_memory, .. } => {
                let value = get(server);
                let text =
                    if *is_memory { rewriteConfigFormatMemory(value) } else { value.to_string() };
                rewriteConfigRewriteLine(
                    state,
                    option,
                    bformat!("{} {}", option, text),
                    value != *default,
                );
            }
        }
    }
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// Tells whether a number is within its bounds, both included.
fn numericBoundaryCheck(
    ll: i64,
    lower: i64,
    upper: i64,
    is_unsigned: bool,
) -> Result<(), ConfigError> {
    let (inside, text) = if is_unsigned {
        let (n, lower, upper) = (ll as u64, lower as u64, upper as u64);
        (
            (lower..=upper).contains(&n),
            bformat!("argument must be between {} and {} inclusive", lower, upper),
        )
    } else {
        (
            (lower..=upper).contains(&ll),
            bformat!("argument must be between {} and {} inclusive", lower, upper),
        )
    };
    if inside { Ok(()) } else { Err(text) }
}

/// Refuses active defragmentation in CONFIG SET where the allocator cannot tell what is worth
/// moving, which is so under AddressSanitizer. In a config file it is accepted then and has no
/// effect, because it would only save memory.
// C: a server without it does not start with this directive.
fn isValidActiveDefrag(val: bool, update: bool) -> Result<(), ConfigError> {
    if val && update && !have_defrag() {
        return Err(b"Active defragmentation cannot be enabled: it requires a Redis server compiled with a modified Jemalloc like the one shipped by default with the Redis source distribution".to_vec());
    }
    Ok(())
}

fn isValidDBfilename(val: &[u8]) -> Result<(), ConfigError> {
    if pathIsBaseName(val) {
        Ok(())
    } else {
        Err(b"dbfilename can't be a path, just a filename".to_vec())
    }
}

fn isValidAOFfilename(val: &[u8]) -> Result<(), ConfigError> {
    if pathIsBaseName(val) {
        Ok(())
    } else {
        Err(b"appendfilename can't be a path, just a filename".to_vec())
    }
}

fn isValidProcTitleTemplate(val: &[u8]) -> Result<(), ConfigError> {
    if validateProcTitleTemplate(val) {
        Ok(())
    } else {
        Err(b"template format is invalid or contains unknown variables".to_vec())
    }
}

fn updateProcTitleTemplate(
    server: &mut Server,
    _val: &[u8],
    _prev: &[u8],
) -> Result<(), ConfigError> {
    redisSetProcTitle(server, None).map_err(|()| b"failed to set process title".to_vec())
}

/// Applies a change of `hz`: a value out of range is set to the nearest one in range.
fn updateHZ(server: &mut Server, val: i64, _prev: i64) -> Result<(), ConfigError> {
    server.config_hz = val.clamp(i64::from(CONFIG_MIN_HZ), i64::from(CONFIG_MAX_HZ)) as i32;
    server.hz = server.config_hz;
    Ok(())
}

fn updatePort(server: &mut Server, val: i64, prev: i64) -> Result<(), ConfigError> {
    if val == prev {
        return Ok(());
    }
    changeListenPort(server, val as i32)
        .map_err(|()| b"Unable to listen on this port. Check server logs.".to_vec())
}

fn updateJemallocBgThread(_server: &mut Server, val: bool, _prev: bool) -> Result<(), ConfigError> {
    set_jemalloc_bg_thread(val);
    Ok(())
}

/// Applies a change of `lua-memory-limit` to the interpreter.
fn update_lua_memory_limit(server: &mut Server, _val: i64, _prev: i64) -> Result<(), ConfigError> {
    apply_memory_limit(server);
    Ok(())
}

/// Applies a change of `repl-backlog-size`. `resizeReplicationBacklog` compares with the old size,
/// so that is restored for the call.
fn updateReplBacklogSize(server: &mut Server, val: i64, prev: i64) -> Result<(), ConfigError> {
    server.repl_backlog_size = prev;
    resizeReplicationBacklog(server, val);
    warn_replica_limits(server);
    Ok(())
}

fn updateMaxmemory(server: &mut Server, val: i64, _prev: i64) -> Result<(), ConfigError> {
    if val != 0 {
        let used = zmalloc_used_memory().saturating_sub(freeMemoryGetNotCountedMemory(server));
        if (val as u64) < used as u64 {
            serverLog!(
                LL_WARNING,
                "WARNING: the new maxmemory value set via CONFIG SET ({}) is smaller than the current memory usage ({}). This will result in key eviction and/or the inability to accept new write commands depending on the maxmemory-policy.",
                val,
                used
            );
        }
        performEvictions(server);
    }
    Ok(())
}

fn updateGoodSlaves(server: &mut Server, _val: i64, _prev: i64) -> Result<(), ConfigError> {
    refreshGoodSlavesCount(server);
    Ok(())
}

fn updateAppendonly(server: &mut Server, val: bool, _prev: bool) -> Result<(), ConfigError> {
    if !val && server.aof_state != AOF_OFF {
        stopAppendOnly(server);
    } else if val && server.aof_state == AOF_OFF && startAppendOnly(server).is_err() {
        return Err(b"Unable to turn on AOF. Check server logs.".to_vec());
    }
    Ok(())
}

fn updateSighandlerEnabled(server: &mut Server, val: bool, _prev: bool) -> Result<(), ConfigError> {
    prepare_crash_report(server);
    if val {
        setupSignalHandlers(server)
    } else {
        removeSignalHandlers()
    }
    Ok(())
}

/// Applies a change of `use-exit-on-panic`, of which the panic hook has its own copy.
fn update_use_exit_on_panic(
    server: &mut Server,
    _val: bool,
    _prev: bool,
) -> Result<(), ConfigError> {
    prepare_crash_report(server);
    Ok(())
}

/// Applies a change of `maxclients`: more clients need more file descriptors and a larger event
/// loop.
fn updateMaxclients(server: &mut Server, val: i64, prev: i64) -> Result<(), ConfigError> {
    if val <= prev {
        return Ok(());
    }
    adjustOpenFilesLimit(server);
    if i64::from(server.maxclients) != val {
        let text = bformat!(
            "The operating system is not able to handle the specified number of clients, try with {}",
            server.maxclients as i32
        );
        if i64::from(server.maxclients) > prev {
            server.maxclients = prev as u32;
            adjustOpenFilesLimit(server);
        }
        return Err(text);
    }
    let setsize = server.maxclients as usize + CONFIG_FDSET_INCR;
    if aeGetSetSize(&server.net.el) < setsize as i32
        && aeResizeSetSize(&mut server.net.el, setsize as i32).is_err()
    {
        return Err(
            b"The event loop API used by Redis is not able to handle the specified number of clients".to_vec()
        );
    }
    Ok(())
}

fn updateOOMScoreAdj(server: &mut Server, val: i32, _prev: i32) -> Result<(), ConfigError> {
    if val != OOM_SCORE_ADJ_NO && setOOMScoreAdj(server, -1).is_err() {
        return Err(b"Failed to set current oom_score_adj. Check server logs.".to_vec());
    }
    Ok(())
}

/// Applies a change of `requirepass`, the password of the default user. The clear text is kept for
/// CONFIG GET.
fn updateRequirePass(server: &mut Server) -> Result<(), ConfigError> {
    let pass = server.requirepass.clone();
    ACLUpdateDefaultUserPassword(server, pass.as_deref());
    Ok(())
}

/// Returns the configured number of a directive whose feature is absent, or its default.
fn absent_number(server: &Server, name: &str, default: i64) -> i64 {
    server.absent_numbers.get(name).copied().unwrap_or(default)
}

/// Returns the configured text of a directive whose feature is absent.
fn absent_text<'a>(server: &'a Server, name: &str) -> Option<&'a [u8]> {
    server.absent_texts.get(name).map(Vec::as_slice)
}

/// Returns the error of a directive that asks for an absent feature.
fn not_supported_but(name: &[u8], only: &str) -> ConfigError {
    bformat!("this is not supported: the only value of '{}' is '{}'", B(name), only)
}

fn is_valid_cluster_enabled(val: bool, _update: bool) -> Result<(), ConfigError> {
    if val { Err(not_supported_but(b"cluster-enabled", "no")) } else { Ok(()) }
}

/// Logs a warning for each configured feature that is absent and would only save time or memory.
pub fn warn_absent_configs(server: &Server) {
    let threads = absent_number(server, "io-threads", 1) != 1;
    let defrag = server.active_defrag_enabled && !have_defrag();
    for (asked, name, why) in [
        (threads, "io-threads", "there are no I/O threads: one thread does it all"),
        (defrag, "activedefrag", "its allocator does not support active defragmentation"),
    ] {
        if asked {
            serverLog!(LL_WARNING, "WARNING: '{}' has no effect in this server: {}", name, why);
        }
    }
}

/// Makes the entry of a boolean directive whose feature is absent.
macro_rules! absent_bool {
    ($name:literal, $alias:expr, $flags:expr, $default:expr, $is_valid:expr) => {
        standardConfig {
            name: $name,
            alias: $alias,
            flags: $flags,
            data: typeData::YesNo {
                get: |s| absent_number(s, $name, $default as i64) != 0,
                set: |s, v| _ = s.absent_numbers.insert($name, i64::from(v)),
                default: $default,
                is_valid: $is_valid,
                update: None,
            },
        }
    };
}

/// Makes the entry of a numeric directive whose feature is absent.
macro_rules! absent_numeric {
    ($name:literal, $alias:expr, $flags:expr, $lower:expr, $upper:expr, $default:expr, $is_memory:expr, $is_unsigned:expr) => {
        standardConfig {
            name: $name,
            alias: $alias,
            flags: $flags,
            data: typeData::Numeric {
                get: |s| absent_number(s, $name, $default),
                set: |s, v| _ = s.absent_numbers.insert($name, v),
                lower_bound: $lower,
                upper_bound: $upper,
                default: $default,
                is_memory: $is_memory,
                is_unsigned: $is_unsigned,
                update: None,
            },
        }
    };
}

macro_rules! bool_config {
    ($name:literal, $alias:expr, $flags:expr, $field:ident, $default:expr, $is_valid:expr, $update:expr) => {
        standardConfig {
            name: $name,
            alias: $alias,
            flags: $flags,
            data: typeData::YesNo {
                get: |s| s.$field,
                set: |s, v| s.$field = v,
                default: $default,
                is_valid: $is_valid,
                update: $update,
            },
        }
    };
}

macro_rules! string_config {
    ($name:literal, $alias:expr, $flags:expr, $field:ident, $default:expr, $is_valid:expr, $update:expr) => {
        standardConfig {
            name: $name,
            alias: $alias,
            flags: $flags,
            data: typeData::Text {
                get: |s| &s.$field,
                set: |s, v| s.$field = v,
                default: $default,
                is_valid: $is_valid,
                update: $update,
            },
        }
    };
}

macro_rules! opt_string_config {
    ($name:literal, $alias:expr, $flags:expr, $field:ident, $update:expr) => {
        standardConfig {
            name: $name,
            alias: $alias,
            flags: $flags,
            data: typeData::OptText {
                get: |s| s.$field.as_deref(),
                set: |s, v| s.$field = v,
                update: $update,
            },
        }
    };
}

macro_rules! enum_config {
    ($name:literal, $alias:expr, $flags:expr, $values:expr, $field:ident, $default:expr, $is_valid:expr, $update:expr) => {
        standardConfig {
            name: $name,
            alias: $alias,
            flags: $flags,
            data: typeData::Enum {
                get: |s| s.$field,
                set: |s, v| s.$field = v,
                values: $values,
                default: $default,
                is_valid: $is_valid,
                update: $update,
            },
        }
    };
}

macro_rules! numeric_config {
    ($name:literal, $alias:expr, $flags:expr, $lower:expr, $upper:expr, $field:ident, $default:expr, $is_memory:expr, $is_unsigned:expr, $update:expr) => {
        standardConfig {
            name: $name,
            alias: $alias,
            flags: $flags,
            data: typeData::Numeric {
                get: |s| s.$field as i64,
                set: |s, v| s.$field = v as _,
                lower_bound: $lower,
                upper_bound: $upper,
                default: $default,
                is_memory: $is_memory,
                is_unsigned: $is_unsigned,
                update: $update,
            },
        }
    };
}

const INTEGER_CONFIG: bool = false;
const MEMORY_CONFIG: bool = true;

/// The maximum values of the C's `int`, `unsigned` and `long`.
const INT_MAX: i64 = i32::MAX as i64;
const INT_MIN: i64 = i32::MIN as i64;
const UINT_MAX: i64 = u32::MAX as i64;
const LONG_MAX: i64 = i64::MAX;
/// The maximum value of the C's `unsigned long long`, which is compared as an unsigned number.
const ULLONG_MAX: i64 = -1;

/// The table of the directives that have one value.
#[rustfmt::skip]
pub const configs: &[standardConfig] = &[
    bool_config!("rdbchecksum", None, IMMUTABLE_CONFIG, rdb_checksum, true, None, None),
    bool_config!("daemonize", None, IMMUTABLE_CONFIG, daemonize, false, None, None),
    absent_bool!("io-threads-do-reads", None, IMMUTABLE_CONFIG, false, None),
    bool_config!("lua-replicate-commands", None, MODIFIABLE_CONFIG, lua_always_replicate_commands, true, None, None),
    bool_config!("always-show-logo", None, IMMUTABLE_CONFIG, always_show_logo, false, None, None),
    bool_config!("protected-mode", None, MODIFIABLE_CONFIG, protected_mode, true, None, None),
    bool_config!("rdbcompression", None, MODIFIABLE_CONFIG, rdb_compression, true, None, None),
    bool_config!("rdb-del-sync-files", None, MODIFIABLE_CONFIG, rdb_del_sync_files, false, None, None),
    bool_config!("activerehashing", None, MODIFIABLE_CONFIG, activerehashing, true, None, None),
    bool_config!("stop-writes-on-bgsave-error", None, MODIFIABLE_CONFIG, stop_writes_on_bgsave_err, true, None, None),
    bool_config!("set-proc-title", None, IMMUTABLE_CONFIG, set_proc_title, true, None, None),
    bool_config!("dynamic-hz", None, MODIFIABLE_CONFIG, dynamic_hz, true, None, None),
    bool_config!("lazyfree-lazy-eviction", None, MODIFIABLE_CONFIG, lazyfree_lazy_eviction, false, None, None),
    bool_config!("lazyfree-lazy-expire", None, MODIFIABLE_CONFIG, lazyfree_lazy_expire, false, None, None),
    bool_config!("lazyfree-lazy-server-del", None, MODIFIABLE_CONFIG, lazyfree_lazy_server_del, false, None, None),
    bool_config!("lazyfree-lazy-user-del", None, MODIFIABLE_CONFIG, lazyfree_lazy_user_del, false, None, None),
    bool_config!("lazyfree-lazy-user-flush", None, MODIFIABLE_CONFIG, lazyfree_lazy_user_flush, false, None, None),
    bool_config!("repl-disable-tcp-nodelay", None, MODIFIABLE_CONFIG, repl_disable_tcp_nodelay, false, None, None),
    bool_config!("repl-diskless-sync", None, MODIFIABLE_CONFIG, repl_diskless_sync, false, None, None),
    bool_config!("gopher-enabled", None, MODIFIABLE_CONFIG, gopher_enabled, false, None, None),
    bool_config!("aof-rewrite-incremental-fsync", None, MODIFIABLE_CONFIG, aof_rewrite_incremental_fsync, true, None, None),
    bool_config!("no-appendfsync-on-rewrite", None, MODIFIABLE_CONFIG, aof_no_fsync_on_rewrite, false, None, None),
    absent_bool!("cluster-require-full-coverage", None, MODIFIABLE_CONFIG, true, None),
    bool_config!("rdb-save-incremental-fsync", None, MODIFIABLE_CONFIG, rdb_save_incremental_fsync, true, None, None),
    bool_config!("aof-load-truncated", None, MODIFIABLE_CONFIG, aof_load_truncated, true, None, None),
    bool_config!("aof-use-rdb-preamble", None, MODIFIABLE_CONFIG, aof_use_rdb_preamble, true, None, None),
    absent_bool!("cluster-replica-no-failover", Some("cluster-slave-no-failover"), MODIFIABLE_CONFIG, false, None),
    bool_config!("replica-lazy-flush", Some("slave-lazy-flush"), MODIFIABLE_CONFIG, repl_slave_lazy_flush, false, None, None),
    bool_config!("replica-serve-stale-data", Some("slave-serve-stale-data"), MODIFIABLE_CONFIG, repl_serve_stale_data, true, None, None),
    bool_config!("replica-read-only", Some("slave-read-only"), MODIFIABLE_CONFIG, repl_slave_ro, true, None, None),
    bool_config!("replica-ignore-maxmemory", Some("slave-ignore-maxmemory"), MODIFIABLE_CONFIG, repl_slave_ignore_maxmemory, true, None, None),
    bool_config!("jemalloc-bg-thread", None, MODIFIABLE_CONFIG, jemalloc_bg_thread, true, None, Some(updateJemallocBgThread)),
    bool_config!("activedefrag", None, MODIFIABLE_CONFIG, active_defrag_enabled, false, Some(isValidActiveDefrag), None),
    bool_config!("syslog-enabled", None, IMMUTABLE_CONFIG, syslog_enabled, false, None, None),
    absent_bool!("cluster-enabled", None, IMMUTABLE_CONFIG, false, Some(is_valid_cluster_enabled)),
    bool_config!("appendonly", None, MODIFIABLE_CONFIG, aof_enabled, false, None, Some(updateAppendonly)),
    absent_bool!("cluster-allow-reads-when-down", None, MODIFIABLE_CONFIG, false, None),
    bool_config!("crash-log-enabled", None, MODIFIABLE_CONFIG, crashlog_enabled, true, None, Some(updateSighandlerEnabled)),
    bool_config!("crash-memcheck-enabled", None, MODIFIABLE_CONFIG, memcheck_enabled, true, None, None),
    bool_config!("use-exit-on-panic", None, MODIFIABLE_CONFIG, use_exit_on_panic, false, None, Some(update_use_exit_on_panic)),
    bool_config!("disable-thp", None, MODIFIABLE_CONFIG, disable_thp, true, None, None),
    absent_bool!("cluster-allow-replica-migration", None, MODIFIABLE_CONFIG, true, None),
    bool_config!("replica-empty-master-guard", None, MODIFIABLE_CONFIG, repl_empty_master_guard, false, None, None),
    bool_config!("replica-announced", None, MODIFIABLE_CONFIG, replica_announced, true, None, None),
    string_config!("aclfile", None, IMMUTABLE_CONFIG, acl_filename, b"", None, None),
    opt_string_config!("unixsocket", None, IMMUTABLE_CONFIG, unixsocket, None),
    opt_string_config!("pidfile", None, IMMUTABLE_CONFIG, pidfile, None),
    opt_string_config!("replica-announce-ip", Some("slave-announce-ip"), MODIFIABLE_CONFIG, slave_announce_ip, None),
    opt_string_config!("trace-file", None, MODIFIABLE_CONFIG, trace_file, Some(set_trace_file)),
    opt_string_config!("repl-lost-writes-dir", None, MODIFIABLE_CONFIG, repl_lost_writes_dir, Some(set_lost_writes_dir)),
    opt_string_config!("masteruser", None, SENSITIVE_CONFIG, masteruser, None),
    standardConfig {
        name: "cluster-announce-ip", alias: None, flags: MODIFIABLE_CONFIG,
        data: typeData::OptText {
            get: |s| absent_text(s, "cluster-announce-ip"),
            set: |s, v| match v {
                Some(v) => _ = s.absent_texts.insert("cluster-announce-ip", v),
                None => _ = s.absent_texts.remove("cluster-announce-ip"),
            },
            update: None,
        },
    },
    string_config!("syslog-ident", None, IMMUTABLE_CONFIG, syslog_ident, b"redis", None, None),
    string_config!("dbfilename", None, MODIFIABLE_CONFIG, rdb_filename, b"dump.rdb", Some(isValidDBfilename), None),
    string_config!("appendfilename", None, IMMUTABLE_CONFIG, aof_filename, b"appendonly.aof", Some(isValidAOFfilename), None),
    opt_string_config!("server_cpulist", None, IMMUTABLE_CONFIG, server_cpulist, None),
    opt_string_config!("bio_cpulist", None, IMMUTABLE_CONFIG, bio_cpulist, None),
    opt_string_config!("aof_rewrite_cpulist", None, IMMUTABLE_CONFIG, aof_rewrite_cpulist, None),
    opt_string_config!("bgsave_cpulist", None, IMMUTABLE_CONFIG, bgsave_cpulist, None),
    string_config!("ignore-warnings", None, MODIFIABLE_CONFIG, ignore_warnings, b"", None, None),
    string_config!("proc-title-template", None, MODIFIABLE_CONFIG, proc_title_template, CONFIG_DEFAULT_PROC_TITLE_TEMPLATE, Some(isValidProcTitleTemplate), Some(updateProcTitleTemplate)),
    opt_string_config!("masterauth", None, SENSITIVE_CONFIG, masterauth, None),
    opt_string_config!("requirepass", None, SENSITIVE_CONFIG, requirepass, Some(updateRequirePass)),
    enum_config!("supervised", None, IMMUTABLE_CONFIG, supervised_mode_enum, supervised_mode, SUPERVISED_NONE, None, None),
    enum_config!("syslog-facility", None, IMMUTABLE_CONFIG, syslog_facility_enum, syslog_facility, libc::LOG_LOCAL0, None, None),
    enum_config!("repl-diskless-load", None, MODIFIABLE_CONFIG, repl_diskless_load_enum, repl_diskless_load, REPL_DISKLESS_LOAD_DISABLED, None, None),
    standardConfig {
        name: "loglevel", alias: None, flags: MODIFIABLE_CONFIG,
        // The logger belongs to the process, and has its own copy.
        data: typeData::Enum { get: |s| s.verbosity, set: |s, v| { s.verbosity = v; set_log_level(v) }, values: loglevel_enum, default: LL_NOTICE, is_valid: None, update: None },
    },
    enum_config!("maxmemory-policy", None, MODIFIABLE_CONFIG, maxmemory_policy_enum, maxmemory_policy, MAXMEMORY_NO_EVICTION, None, None),
    enum_config!("appendfsync", None, MODIFIABLE_CONFIG, aof_fsync_enum, aof_fsync, AOF_FSYNC_EVERYSEC, None, None),
    enum_config!("oom-score-adj", None, MODIFIABLE_CONFIG, oom_score_adj_enum, oom_score_adj, OOM_SCORE_ADJ_NO, None, Some(updateOOMScoreAdj)),
    enum_config!("acl-pubsub-default", None, MODIFIABLE_CONFIG, acl_pubsub_default_enum, acl_pubsub_default, USER_FLAG_ALLCHANNELS as i32, None, None),
    enum_config!("sanitize-dump-payload", None, MODIFIABLE_CONFIG, sanitize_dump_payload_enum, sanitize_dump_payload, SANITIZE_DUMP_YES, None, None),
    enum_config!("propagation-error-behavior", None, MODIFIABLE_CONFIG, propagation_error_behavior_enum, propagation_error_behavior, PROPAGATION_ERR_BEHAVIOR_DISCONNECT, None, None),
    numeric_config!("databases", None, IMMUTABLE_CONFIG, 1, INT_MAX, dbnum, 16, INTEGER_CONFIG, false, None),
    numeric_config!("port", None, MODIFIABLE_CONFIG, 0, 65535, port, 6379, INTEGER_CONFIG, false, Some(updatePort)),
    absent_numeric!("io-threads", None, IMMUTABLE_CONFIG, 1, 128, 1, INTEGER_CONFIG, false),
    numeric_config!("auto-aof-rewrite-percentage", None, MODIFIABLE_CONFIG, 0, INT_MAX, aof_rewrite_perc, 100, INTEGER_CONFIG, false, None),
    absent_numeric!("cluster-replica-validity-factor", Some("cluster-slave-validity-factor"), MODIFIABLE_CONFIG, 0, INT_MAX, 10, INTEGER_CONFIG, false),
    numeric_config!("list-max-ziplist-size", None, MODIFIABLE_CONFIG, INT_MIN, INT_MAX, list_max_ziplist_size, -2, INTEGER_CONFIG, false, None),
    numeric_config!("tcp-keepalive", None, MODIFIABLE_CONFIG, 0, INT_MAX, tcpkeepalive, 300, INTEGER_CONFIG, false, None),
    absent_numeric!("cluster-migration-barrier", None, MODIFIABLE_CONFIG, 0, INT_MAX, 1, INTEGER_CONFIG, false),
    numeric_config!("active-defrag-cycle-min", None, MODIFIABLE_CONFIG, 1, 99, active_defrag_cycle_min, 1, INTEGER_CONFIG, false, None),
    numeric_config!("active-defrag-cycle-max", None, MODIFIABLE_CONFIG, 1, 99, active_defrag_cycle_max, 25, INTEGER_CONFIG, false, None),
    numeric_config!("active-defrag-threshold-lower", None, MODIFIABLE_CONFIG, 0, 1000, active_defrag_threshold_lower, 10, INTEGER_CONFIG, false, None),
    numeric_config!("active-defrag-threshold-upper", None, MODIFIABLE_CONFIG, 0, 1000, active_defrag_threshold_upper, 100, INTEGER_CONFIG, false, None),
    numeric_config!("lfu-log-factor", None, MODIFIABLE_CONFIG, 0, INT_MAX, lfu_log_factor, 10, INTEGER_CONFIG, false, None),
    numeric_config!("lfu-decay-time", None, MODIFIABLE_CONFIG, 0, INT_MAX, lfu_decay_time, 1, INTEGER_CONFIG, false, None),
    numeric_config!("replica-priority", Some("slave-priority"), MODIFIABLE_CONFIG, 0, INT_MAX, slave_priority, 100, INTEGER_CONFIG, false, None),
    numeric_config!("repl-diskless-sync-delay", None, MODIFIABLE_CONFIG, 0, INT_MAX, repl_diskless_sync_delay, 5, INTEGER_CONFIG, false, None),
    numeric_config!("shutdown-timeout", None, MODIFIABLE_CONFIG, 0, INT_MAX, shutdown_timeout, 10, INTEGER_CONFIG, false, None),
    numeric_config!("maxmemory-samples", None, MODIFIABLE_CONFIG, 1, INT_MAX, maxmemory_samples, 5, INTEGER_CONFIG, false, None),
    numeric_config!("maxmemory-eviction-tenacity", None, MODIFIABLE_CONFIG, 0, 100, maxmemory_eviction_tenacity, 10, INTEGER_CONFIG, false, None),
    numeric_config!("timeout", None, MODIFIABLE_CONFIG, 0, INT_MAX, maxidletime, 0, INTEGER_CONFIG, false, None),
    numeric_config!("replica-announce-port", Some("slave-announce-port"), MODIFIABLE_CONFIG, 0, 65535, slave_announce_port, 0, INTEGER_CONFIG, false, None),
    numeric_config!("tcp-backlog", None, IMMUTABLE_CONFIG, 0, INT_MAX, tcp_backlog, 511, INTEGER_CONFIG, false, None),
    absent_numeric!("cluster-announce-bus-port", None, MODIFIABLE_CONFIG, 0, 65535, 0, INTEGER_CONFIG, false),
    absent_numeric!("cluster-announce-port", None, MODIFIABLE_CONFIG, 0, 65535, 0, INTEGER_CONFIG, false),
    absent_numeric!("cluster-announce-tls-port", None, MODIFIABLE_CONFIG, 0, 65535, 0, INTEGER_CONFIG, false),
    numeric_config!("repl-backoff-max", None, MODIFIABLE_CONFIG, 0, INT_MAX, repl_backoff_max, 30, INTEGER_CONFIG, false, None),
    numeric_config!("repl-timeout", None, MODIFIABLE_CONFIG, 1, INT_MAX, repl_timeout, 60, INTEGER_CONFIG, false, None),
    numeric_config!("repl-ping-replica-period", Some("repl-ping-slave-period"), MODIFIABLE_CONFIG, 1, INT_MAX, repl_ping_slave_period, 10, INTEGER_CONFIG, false, None),
    numeric_config!("list-compress-depth", None, MODIFIABLE_CONFIG, 0, INT_MAX, list_compress_depth, 0, INTEGER_CONFIG, false, None),
    numeric_config!("rdb-key-save-delay", None, MODIFIABLE_CONFIG, INT_MIN, INT_MAX, rdb_key_save_delay, 0, INTEGER_CONFIG, false, None),
    numeric_config!("key-load-delay", None, MODIFIABLE_CONFIG, INT_MIN, INT_MAX, key_load_delay, 0, INTEGER_CONFIG, false, None),
    numeric_config!("active-expire-effort", None, MODIFIABLE_CONFIG, 1, 10, active_expire_effort, 1, INTEGER_CONFIG, false, None),
    numeric_config!("hz", None, MODIFIABLE_CONFIG, 0, INT_MAX, config_hz, CONFIG_DEFAULT_HZ as i64, INTEGER_CONFIG, false, Some(updateHZ)),
    numeric_config!("min-replicas-to-write", Some("min-slaves-to-write"), MODIFIABLE_CONFIG, 0, INT_MAX, repl_min_slaves_to_write, 0, INTEGER_CONFIG, false, Some(updateGoodSlaves)),
    numeric_config!("min-replicas-max-lag", Some("min-slaves-max-lag"), MODIFIABLE_CONFIG, 0, INT_MAX, repl_min_slaves_max_lag, 10, INTEGER_CONFIG, false, Some(updateGoodSlaves)),
    numeric_config!("maxclients", None, MODIFIABLE_CONFIG, 1, UINT_MAX, maxclients, 10000, INTEGER_CONFIG, true, Some(updateMaxclients)),
    numeric_config!("active-defrag-max-scan-fields", None, MODIFIABLE_CONFIG, 1, LONG_MAX, active_defrag_max_scan_fields, 1000, INTEGER_CONFIG, false, None),
    numeric_config!("slowlog-max-len", None, MODIFIABLE_CONFIG, 0, LONG_MAX, slowlog_max_len, 128, INTEGER_CONFIG, false, None),
    numeric_config!("acllog-max-len", None, MODIFIABLE_CONFIG, 0, LONG_MAX, acllog_max_len, 128, INTEGER_CONFIG, false, None),
    numeric_config!("lua-time-limit", None, MODIFIABLE_CONFIG, 0, LONG_MAX, lua_time_limit, 5000, INTEGER_CONFIG, false, None),
    // Ours.
    numeric_config!("lua-memory-limit", None, MODIFIABLE_CONFIG, 0, LONG_MAX, lua_memory_limit, 0, MEMORY_CONFIG, false, Some(update_lua_memory_limit)),
    absent_numeric!("cluster-node-timeout", None, MODIFIABLE_CONFIG, 0, LONG_MAX, 15000, INTEGER_CONFIG, false),
    numeric_config!("slowlog-log-slower-than", None, MODIFIABLE_CONFIG, -1, LONG_MAX, slowlog_log_slower_than, 10000, INTEGER_CONFIG, false, None),
    numeric_config!("latency-monitor-threshold", None, MODIFIABLE_CONFIG, 0, LONG_MAX, latency_monitor_threshold, 0, INTEGER_CONFIG, false, None),
    numeric_config!("proto-max-bulk-len", None, MODIFIABLE_CONFIG, 1024*1024, LONG_MAX, proto_max_bulk_len, 512*1024*1024, MEMORY_CONFIG, false, None),
    numeric_config!("stream-node-max-entries", None, MODIFIABLE_CONFIG, 0, LONG_MAX, stream_node_max_entries, 100, INTEGER_CONFIG, false, None),
    numeric_config!("repl-backlog-size", None, MODIFIABLE_CONFIG, 1, LONG_MAX, repl_backlog_size, 1024*1024, MEMORY_CONFIG, false, Some(updateReplBacklogSize)),
    numeric_config!("maxmemory", None, MODIFIABLE_CONFIG, 0, ULLONG_MAX, maxmemory, 0, MEMORY_CONFIG, true, Some(updateMaxmemory)),
    numeric_config!("hash-max-ziplist-entries", None, MODIFIABLE_CONFIG, 0, LONG_MAX, hash_max_ziplist_entries, 512, INTEGER_CONFIG, true, None),
    numeric_config!("set-max-intset-entries", None, MODIFIABLE_CONFIG, 0, LONG_MAX, set_max_intset_entries, 512, INTEGER_CONFIG, true, None),
    numeric_config!("zset-max-ziplist-entries", None, MODIFIABLE_CONFIG, 0, LONG_MAX, zset_max_ziplist_entries, 128, INTEGER_CONFIG, true, None),
    numeric_config!("active-defrag-ignore-bytes", None, MODIFIABLE_CONFIG, 1, LONG_MAX, active_defrag_ignore_bytes, 100 << 20, MEMORY_CONFIG, true, None),
    numeric_config!("hash-max-ziplist-value", None, MODIFIABLE_CONFIG, 0, LONG_MAX, hash_max_ziplist_value, 64, MEMORY_CONFIG, true, None),
    numeric_config!("stream-node-max-bytes", None, MODIFIABLE_CONFIG, 0, LONG_MAX, stream_node_max_bytes, 4096, MEMORY_CONFIG, true, None),
    numeric_config!("zset-max-ziplist-value", None, MODIFIABLE_CONFIG, 0, LONG_MAX, zset_max_ziplist_value, 64, MEMORY_CONFIG, true, None),
    numeric_config!("hll-sparse-max-bytes", None, MODIFIABLE_CONFIG, 0, LONG_MAX, hll_sparse_max_bytes, 3000, MEMORY_CONFIG, true, None),
    numeric_config!("tracking-table-max-keys", None, MODIFIABLE_CONFIG, 0, LONG_MAX, tracking_table_max_keys, 1000000, INTEGER_CONFIG, true, None),
    numeric_config!("client-query-buffer-limit", None, MODIFIABLE_CONFIG, 1024*1024, LONG_MAX, client_max_querybuf_len, 1024*1024*1024, MEMORY_CONFIG, true, None),
    numeric_config!("repl-backlog-ttl", None, MODIFIABLE_CONFIG, 0, LONG_MAX, repl_backlog_time_limit, 60*60, INTEGER_CONFIG, false, None),
    numeric_config!("auto-aof-rewrite-min-size", None, MODIFIABLE_CONFIG, 0, LONG_MAX, aof_rewrite_min_size, 64*1024*1024, MEMORY_CONFIG, false, None),
];

// -----------------------------------------------------------------------------
// CONFIG command entry point
// -----------------------------------------------------------------------------

/// Implements CONFIG GET, SET, RESETSTAT, REWRITE and HELP.
pub fn configCommand(server: &mut Server, c: ClientId, argv: &Args) {
    let is = |name: &str| argv[1].eq_ignore_ascii_case(name.as_bytes());

    // Only CONFIG GET is allowed while loading.
    if server.loading && !is("get") {
        addReplyError(server, c, b"Only CONFIG GET is allowed during loading");
        return;
    }

    if argv.len() == 2 && is("help") {
        let help = [
            "GET <pattern>",
            "    Return parameters matching the glob-like <pattern> and their values.",
            "SET <directive> <value>",
            "    Set the configuration <directive> to <value>.",
            "RESETSTAT",
            "    Reset statistics reported by the INFO command.",
            "REWRITE",
            "    Rewrite the configuration file.",
        ];
        addReplyHelp(server, c, argv, &help);
    } else if is("set") && argv.len() == 4 {
        configSetCommand(server, c, argv);
    } else if is("get") && argv.len() == 3 {
        configGetCommand(server, c, argv);
    } else if is("resetstat") && argv.len() == 2 {
        resetServerStats(server);
        resetCommandTableStats(server);
        resetErrorTableStats(server);
        addReply(server, c, shared::ok);
    } else if is("rewrite") && argv.len() == 2 {
        let Some(configfile) = server.configfile.clone() else {
            addReplyError(server, c, b"The server is running without a config file");
            return;
        };
        match rewriteConfig(server, &configfile, false) {
            Err(e) => {
                serverLog!(LL_WARNING, "CONFIG REWRITE failed: {}", error_text(&e));
                addReplyErrorFormat!(server, c, "Rewriting config file: {}", error_text(&e));
            }
            Ok(()) => {
                serverLog!(LL_WARNING, "CONFIG REWRITE executed with success.");
                addReply(server, c, shared::ok);
            }
        }
    } else {
        addReplySubcommandSyntaxError(server, c, argv);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_within_its_bounds_and_reads_back() {
        let mut server = Server::default();
        initConfigValues(&mut server);
        for config in configs {
            let text = config.get(&server);
            config.set(&mut server, &text, false).unwrap_or_else(|e| {
                panic!("{}: {}", config.name, String::from_utf8_lossy(&e));
            });
            assert_eq!(config.get(&server), text, "{}", config.name);
        }
        assert_eq!((server.port, server.repl_timeout, server.hz), (6379, 60, 0));
    }

    #[test]
    fn a_bad_value_is_refused_with_the_reason() {
        let mut server = Server::default();
        let mut refuse = |line: &[&str]| {
            let argv: Vec<Vec<u8>> = line.iter().map(|w| w.as_bytes().to_vec()).collect();
            let err = apply_config_line(&mut server, &mut LoadState::default(), &argv).unwrap_err();
            String::from_utf8(err).unwrap()
        };
        assert_eq!(refuse(&["port", "65536"]), "argument must be between 0 and 65535 inclusive");
        assert_eq!(refuse(&["port", "x"]), "argument couldn't be parsed into an integer");
        assert_eq!(refuse(&["maxmemory", "1q"]), "argument must be a memory value");
        assert_eq!(refuse(&["dbfilename", "a/b"]), "dbfilename can't be a path, just a filename");
        assert_eq!(
            refuse(&["loglevel", "loud"]),
            "argument must be one of the following: debug, verbose, notice, warning"
        );
        assert_eq!(refuse(&["save", "0", "1"]), "Invalid save parameters");
        assert_eq!(refuse(&["replicaof", "h", "1x"]), "Invalid master port");
        assert_eq!(refuse(&["no-such"]), "Bad directive or wrong number of arguments");
        assert!(refuse(&["cluster-enabled", "yes"]).contains("not supported"));
        assert_eq!(
            refuse(&["appendfilename", "a/b"]),
            "appendfilename can't be a path, just a filename"
        );
    }

    #[test]
    fn a_rewritten_file_keeps_its_comments_and_order() {
        let dir = std::env::temp_dir().join(format!("fidelis-config-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("redis.conf");
        let old =
            "# mine\nport 7000\n\n\n\nsave 1 1\nsave 2 2\nslave-priority 7\nunknown-to-us 1\n";
        std::fs::write(&path, old).unwrap();

        let mut server = Server::default();
        initConfigValues(&mut server);
        server.port = 7001;
        server.saveparams = vec![saveparam { seconds: 9, changes: 9 }];
        server.slave_priority = 8;
        server.maxmemory = 3 << 20;
        let bytes = path.as_os_str().as_bytes().to_vec();
        rewriteConfig(&mut server, &bytes, false).unwrap();
        let new = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        let expected = "# mine\nport 7001\n\nsave 9 9\n\nreplica-priority 8\nunknown-to-us 1\n# Generated by CONFIG REWRITE\nmaxmemory 3mb\n";
        assert!(new.starts_with(expected), "{new}");
    }

    #[test]
    fn memory_units() {
        for (bytes, text) in
            [(0, "0"), (1 << 30, "1gb"), (3 << 20, "3mb"), (5 << 10, "5kb"), (1025, "1025")]
        {
            assert_eq!(rewriteConfigFormatMemory(bytes), text);
        }
    }
}
