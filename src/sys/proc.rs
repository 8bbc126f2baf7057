//! The process: its limits, figures and title, and its place in the system.
//!
//! From `server.c` (daemonize, limits, warnings about the kernel), `zmalloc.c` (what `/proc` says
//! of memory), `latency.c` (huge pages), `setproctitle.c` and `setcpuaffinity.c`.
#![allow(unsafe_code)] // The title is written over the arguments; prctl, sysconf, syslog.

use crate::sys::errno::cvt;
use crate::sys::file::{dup2, open};
use crate::sys::fork::{Fork, fork};
use crate::sys::socket::{close, write};
use nix::sys::resource::{Resource, UsageWho};
use std::ffi::{CStr, CString, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};

/// Returns the lenient number at the start of `text`, as `atoi` reads it.
fn atoi(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let digits = digits.iter().take_while(|b| b.is_ascii_digit());
    let n = digits.fold(0i64, |n, b| n.saturating_mul(10).saturating_add(i64::from(b - b'0')));
    if negative { -n } else { n }
}

/// Returns the number in a file of `/proc` or `/sys`; `None` if it can't be read.
fn read_proc_number(path: &str) -> Option<i64> {
    fs::read(path).ok().filter(|text| !text.is_empty()).map(|text| atoi(&text))
}

/// Returns how readily the kernel kills this process when memory is out, -1000 to 1000.
pub fn readOOMScoreAdj() -> io::Result<i32> {
    let text = fs::read("/proc/self/oom_score_adj")?;
    Ok(atoi(&text) as i32)
}

/// Sets oom_score_adj. A lower value than before needs a privilege.
pub fn write_oom_score_adj(val: i32) -> io::Result<()> {
    let fd = open(b"/proc/self/oom_score_adj", libc::O_WRONLY, 0)?;
    let result = write(fd, format!("{val}\n").as_bytes());
    close(fd);
    result.map(drop)
}

/// Returns the most open files: (limit now, limit to which it may be raised).
pub fn nofile_limits() -> io::Result<(u64, u64)> {
    Ok(nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE)?)
}

/// Sets both limits on open files to `n`.
pub fn set_nofile_limit(n: u64) -> io::Result<()> {
    Ok(nix::sys::resource::setrlimit(Resource::RLIMIT_NOFILE, n, n)?)
}

/// Returns the kernel's bound on the limit of open files of any process; `None` if unknown.
pub fn nr_open() -> Option<u64> {
    read_proc_number("/proc/sys/fs/nr_open").and_then(|n| u64::try_from(n).ok())
}

/// Returns the kernel's bound on the backlog of a listening socket; `None` if unknown.
pub fn somaxconn() -> Option<i64> {
    read_proc_number("/proc/sys/net/core/somaxconn")
}

/// Returns the kernel's `vm.overcommit_memory`; -1 if unknown. With 1, a fork that copies much
/// memory does not fail.
pub fn linuxOvercommitMemoryValue() -> i64 {
    read_proc_number("/proc/sys/vm/overcommit_memory").unwrap_or(-1)
}

/// Goes into the background: the parent exits with 0, the child goes on in a session of its own,
/// with nothing to read from and its output thrown away.
///
/// Call it before there are threads and an event loop.
pub fn daemonize() -> io::Result<()> {
    if let Fork::Parent(_) = fork()? {
        std::process::exit(0);
    }
    // A child just born leads no group, so this cannot fail.
    let _ = nix::unistd::setsid();
    if let Ok(fd) = open(b"/dev/null", libc::O_RDWR, 0) {
        for standard in 0..=2 {
            // Best effort, as in the C: the server runs with a terminal, too.
            let _ = dup2(fd, standard);
        }
        if fd > 2 {
            close(fd);
        }
    }
    Ok(())
}

/// Tells whether transparent huge pages are on for all. Before Linux 5.8 they made 2 MB be copied
/// where 4 KB changed beside a forked child.
pub fn THPIsEnabled() -> bool {
    fs::read("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|text| text.windows(8).any(|w| w == b"[always]"))
}

/// Turns transparent huge pages off for this process, but for those it asks for itself, where the
/// kernel makes a difference between the two (Linux 6.18).
// C: turns off all of them.
pub fn THPDisable() -> io::Result<()> {
    const PR_THP_DISABLE_EXCEPT_ADVISED: libc::c_ulong = 1 << 1;
    const NONE: libc::c_ulong = 0;
    let disable = |how: libc::c_ulong| {
        // SAFETY: no pointers.
        cvt(unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1 as libc::c_ulong, how, NONE, NONE) })
    };
    disable(PR_THP_DISABLE_EXCEPT_ADVISED).or_else(|_| disable(NONE)).map(drop)
}

/// Tells whether the kernel uses huge pages for what did not ask for them: it does so for all, and
/// this process has not turned them off.
pub fn huge_pages_are_unasked() -> bool {
    const NONE: libc::c_ulong = 0;
    // SAFETY: no pointers.
    let off = unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, NONE, NONE, NONE, NONE) };
    off == 0 && THPIsEnabled()
}

/// Returns the bytes in huge pages; not 0 means that the kernel uses them for this process.
pub fn THPGetAnonHugePagesSize() -> usize {
    zmalloc_get_smap_bytes_by_field("AnonHugePages:", -1)
}

/// Returns the bytes of this process that are in memory; 0 if unknown.
pub fn zmalloc_get_rss() -> usize {
    // Field 24, in pages. The second one, the name, is in parentheses and may hold blanks itself.
    let field = proc_stat_fields().and_then(|fields| fields.get(24 - 3)?.parse::<usize>().ok());
    field.unwrap_or(0).saturating_mul(os_page_size())
}

/// Returns the fields of `/proc/self/stat` from the third on.
fn proc_stat_fields() -> Option<Vec<String>> {
    let text = fs::read("/proc/self/stat").ok()?;
    let after = text.iter().rposition(|&b| b == b')')? + 1;
    let text = String::from_utf8_lossy(&text[after..]);
    Some(text.split_ascii_whitespace().map(str::to_owned).collect())
}

fn sysconf(name: i32) -> usize {
    // SAFETY: no pointers.
    usize::try_from(unsafe { libc::sysconf(name) }).unwrap_or(0)
}

/// Returns the bytes in a page of memory.
pub fn os_page_size() -> usize {
    sysconf(libc::_SC_PAGESIZE)
}

/// Returns the sum, in bytes, of one field over all mappings of a process (`pid` -1: this one).
/// `field` ends with a colon, like `Rss:`. 0 if unknown.
///
/// The kernel walks the page tables for it: with much memory, this can take a second.
/// C: it adds up `smaps` itself; here the kernel does, where it can (`smaps_rollup`), and need not
/// print every mapping.
pub fn zmalloc_get_smap_bytes_by_field(field: &str, pid: i32) -> usize {
    let process = if pid == -1 { "self".to_owned() } else { pid.to_string() };
    let open = |name| File::open(format!("/proc/{process}/{name}"));
    let Ok(file) = open("smaps_rollup").or_else(|_| open("smaps")) else { return 0 };
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::with_capacity(256);
    let mut bytes = 0usize;
    loop {
        line.clear();
        match file.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return bytes,
            Ok(_) => {}
        }
        if let Some(kb) = line.strip_prefix(field.as_bytes()) {
            bytes = bytes.saturating_add(atoi(kb).max(0) as usize * 1024);
        }
    }
}

/// Returns the bytes in pages that this process (or `pid`) has written and shares with no other: in
/// a forked child, what copy-on-write has cost.
pub fn zmalloc_get_private_dirty(pid: i32) -> usize {
    zmalloc_get_smap_bytes_by_field("Private_Dirty:", pid)
}

/// Returns the bytes of memory the machine has.
pub fn zmalloc_get_memory_size() -> usize {
    sysconf(libc::_SC_PHYS_PAGES).saturating_mul(os_page_size())
}

/// Processor time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// Spent in the kernel.
    pub sys: i64,
    /// Spent in our own code.
    pub user: i64,
}

/// The subject of `getrusage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// The calling process, all threads.
    Process,
    /// The children of this process that have ended and were waited for.
    Children,
    /// The calling thread.
    Thread,
}

/// Returns the processor time spent so far.
pub fn getrusage(who: Usage) -> CpuTime {
    let who = match who {
        Usage::Process => UsageWho::RUSAGE_SELF,
        Usage::Children => UsageWho::RUSAGE_CHILDREN,
        Usage::Thread => UsageWho::RUSAGE_THREAD,
    };
    let us = |t: nix::sys::time::TimeVal| t.tv_sec() * 1_000_000 + t.tv_usec();
    nix::sys::resource::getrusage(who).map_or(CpuTime::default(), |usage| CpuTime {
        sys: us(usage.system_time()),
        user: us(usage.user_time()),
    })
}

/// Returns the system's name, release and machine, for INFO (`os`).
pub fn uname() -> (String, String, String) {
    // SAFETY: an all-zero `utsname` is a valid value of it.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `name` takes the answer.
    unsafe { libc::uname(&mut name) };
    let text = |field: &[libc::c_char]| {
        let bytes: Vec<u8> = field.iter().map(|&c| c as u8).take_while(|&b| b != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    (text(&name.sysname), text(&name.release), text(&name.machine))
}

/// Becomes another program, with this environment and these open files. Returns only if it can't.
pub fn execve(program: &[u8], argv: &[Vec<u8>]) -> io::Error {
    let cstring = |s: &[u8]| CString::new(s).map_err(|_| io::Error::from(nix::Error::EINVAL));
    let run = || {
        let program = cstring(program)?;
        let argv = argv.iter().map(|arg| cstring(arg)).collect::<io::Result<Vec<_>>>()?;
        Err::<(), _>(
            nix::unistd::execv(&program, &argv)
                .map_or_else(io::Error::from, |never| match never {}),
        )
    };
    run().err().unwrap_or_else(|| io::Error::from(nix::Error::EINVAL))
}

/// Begins to write to the system's log, under the name `ident`; `facility` is `LOG_LOCAL0`, ...
pub fn openlog(ident: &[u8], facility: i32) {
    let ident: Vec<u8> = ident.iter().copied().take_while(|&b| b != 0).collect();
    // libc keeps the pointer for as long as the log is open, which is for good.
    let ident: &'static CStr =
        Box::leak(CString::new(ident).unwrap_or_default().into_boxed_c_str());
    let options = libc::LOG_PID | libc::LOG_NDELAY | libc::LOG_NOWAIT;
    // SAFETY: the name is never freed.
    unsafe { libc::openlog(ident.as_ptr(), options, facility) };
}

/// Writes one line to the system's log; `priority` is `LOG_DEBUG`, ... A NUL ends the line early.
pub fn syslog(priority: i32, line: &[u8]) {
    let line: Vec<u8> = line.iter().copied().take_while(|&b| b != 0).collect();
    let line = CString::new(line).unwrap_or_default();
    // SAFETY: both texts end with NUL, and the format takes just the one.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), line.as_ptr()) };
}

/// Returns the processors that `list` names, below CPU_SETSIZE. `None`: it is malformed.
fn parse_cpu_list(list: &[u8]) -> Option<Vec<usize>> {
    /// Returns the number at the start, and what follows it.
    fn next_num(s: &[u8]) -> Option<(i64, &[u8])> {
        let digits = s.iter().take_while(|b| b.is_ascii_digit()).count();
        (digits > 0).then(|| (atoi(&s[..digits]).min(i32::MAX.into()), &s[digits..]))
    }

    let mut cpus = Vec::new();
    for part in list.split(|&b| b == b',') {
        let (first, mut rest) = next_num(part)?;
        let (mut last, mut step) = (first, 1);
        if let Some(range) = rest.strip_prefix(b"-") {
            (last, rest) = next_num(range)?;
            if let Some(stride) = rest.strip_prefix(b":") {
                (step, rest) = next_num(stride)?;
            }
        }
        if !rest.is_empty() || step == 0 || first > last {
            return None;
        }
        let top = last.min(libc::CPU_SETSIZE as i64 - 1);
        cpus.extend((first..=top).step_by(step as usize).map(|cpu| cpu as usize));
    }
    Some(cpus)
}

/// Lets this thread run only on the processors of `cpulist`, like `0,2,4-10:2` (every second from 4
/// to 10). A list that can't be read changes nothing, silently, as in the C.
pub fn setcpuaffinity(cpulist: &[u8]) {
    let Some(cpus) = parse_cpu_list(cpulist) else { return };
    // SAFETY: an all-zero set is the empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in cpus {
        // SAFETY: `parse_cpu_list` gives numbers below CPU_SETSIZE only.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // A processor that isn't there is no reason to stop.
    // SAFETY: the set is ours and its size is given.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
}

/// `setproctitle.c`: the title that `ps` shows, written over the memory in which the kernel
/// has put the arguments and, behind them, the environment.
pub struct ProcTitle {
    /// First byte of the arguments.
    base: *mut u8,
    /// The NUL that ended the first argument.
    nul: *mut u8,
    /// Bytes of room from `base`.
    len: usize,
    reset: bool,
}

/// Longest title, in bytes.
const SPT_MAXTITLE: usize = 255;

unsafe extern "C" {
    static mut program_invocation_name: *mut libc::c_char;
    static mut program_invocation_short_name: *mut libc::c_char;
}

/// Makes the room for a title: moves the environment elsewhere. `None`: the kernel does not say
/// where the arguments are, or they are not those of this program but of one that runs it
/// (valgrind), and the title stays as it is.
///
/// To be called in `main`, before there are threads, and after `std::env::args_os` was read for the
/// last time: from here on the arguments are overwritten.
pub fn spt_init() -> Option<ProcTitle> {
    // Where the kernel has put them: start and end of the arguments, start and end of the
    // environment. The arrays of pointers, from which the C infers it, are not at hand in Rust.
    let fields = proc_stat_fields()?;
    let at = |field: usize| fields.get(field - 3)?.parse::<usize>().ok().filter(|&at| at != 0);
    let (arg_start, arg_end) = (at(48)?, at(49)?);
    let (env_start, env_end) = (at(50)?, at(51)?);
    let end = if env_start == arg_end { env_end } else { arg_end };
    let len = end.checked_sub(arg_start).filter(|&len| len > 0)?;

    // libc's name of this program is the first of its arguments, where it lies. One that runs a
    // program on a stack of its making has put it there, and what the kernel speaks of is its own.
    // SAFETY: there is one thread, and libc has set it before `main`.
    let name = unsafe { program_invocation_name }.addr();
    if !(arg_start..arg_end).contains(&name) {
        return None;
    }

    // The first argument ends inside this room, or something is amiss.
    let base = std::ptr::with_exposed_provenance_mut::<u8>(arg_start);
    // SAFETY: the kernel has mapped these bytes, writable, at the top of the stack of this process,
    // for its whole life, and this program's own arguments are among them.
    let room = unsafe { std::slice::from_raw_parts(base, len) };
    let nul = room.iter().position(|&b| b == 0)?;

    // libc and std read the environment where it lies, so it gets copies of its own; as in the C,
    // what has no '=' gets lost. libc's own names for this program are copied, too.
    let env: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    // SAFETY: there is one thread, so nobody reads the environment meanwhile; the copies were made
    // before.
    unsafe {
        libc::clearenv();
        for (name, value) in env {
            std::env::set_var(name, value);
        }
        program_invocation_name = libc::strdup(program_invocation_name);
        program_invocation_short_name = libc::strdup(program_invocation_short_name);
    }
    Some(ProcTitle { base, nul: base.wrapping_add(nul), len, reset: false })
}

impl ProcTitle {
    /// Shows `title` from now on. As much as there is room for, at most 255 bytes.
    pub fn setproctitle(&mut self, title: &[u8]) {
        // SAFETY: the kernel's mapping, see `spt_init`. Nothing of ours refers to these bytes any
        // more: the environment has moved, and the arguments were copied.
        let room = unsafe { std::slice::from_raw_parts_mut(self.base, self.len) };
        let old = if self.reset { self.len.min(SPT_MAXTITLE + 1) } else { self.len };
        room[..old].fill(0);
        self.reset = true;

        let len = title.len().min(SPT_MAXTITLE).min(self.len - 1);
        room[..len].copy_from_slice(&title[..len]);

        // The kernel shows the whole room, and not just the arguments' share, once the NUL that
        // ended the arguments is no NUL any more.
        let nul = self.nul.addr() - self.base.addr();
        if len < nul {
            room[nul] = b'.';
        } else if len == nul && len + 1 < self.len {
            room[nul] = b' ';
            room[nul + 1] = 0;
        }
    }
}

/// Returns the columns and rows of the window that standard output is. `None`: it is none.
pub fn window_size() -> Option<(u16, u16)> {
    let mut ws = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: this request writes a `winsize` and nothing else, and `ws` is one that lives until
    // the call is over. A descriptor that is no terminal, or none at all, is an error.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut ws) };
    (result != -1).then_some((ws.ws_col, ws.ws_row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::{exitFromChild, wait_for_child};
    use crate::testing::forks;

    #[test]
    fn figures_of_this_process_make_sense() {
        let rss = zmalloc_get_rss();
        assert!(rss > 100_000 && rss < zmalloc_get_memory_size(), "{rss}");
        assert_eq!(os_page_size() % 4096, 0);
        assert!(zmalloc_get_private_dirty(-1) > 0);
        assert!(zmalloc_get_smap_bytes_by_field("Rss:", std::process::id() as i32) > 100_000);
        assert_eq!(zmalloc_get_smap_bytes_by_field("NoSuchField:", -1), 0);
        assert_eq!(zmalloc_get_smap_bytes_by_field("Rss:", i32::MAX), 0);
        let (now, most) = nofile_limits().unwrap();
        assert!(now > 2 && now <= most);
        assert!(somaxconn().unwrap() > 0);
        assert!((0..=2).contains(&linuxOvercommitMemoryValue()));
        assert!((-1000..=1000).contains(&readOOMScoreAdj().unwrap()));
        assert_eq!(uname().0, "Linux");
        let own = getrusage(Usage::Thread).user;
        assert!(getrusage(Usage::Process).user >= own);
        assert!(getrusage(Usage::Children).sys >= 0);
    }

    /// What a child writes after the fork is what its copy-on-write figure shows.
    #[test]
    fn private_dirty_counts_the_pages_a_child_wrote() {
        let mut block = vec![1u8; 32 << 20];
        let _forks = forks();
        let Fork::Parent(pid) = fork().unwrap() else {
            let before = zmalloc_get_private_dirty(-1);
            block[..16 << 20].fill(2);
            let wrote = zmalloc_get_private_dirty(-1).saturating_sub(before) >> 20;
            exitFromChild(wrote.min(200) as i32);
        };
        let wrote = wait_for_child(pid).unwrap().exitcode;
        // More, when other tests release what the child then has for itself.
        assert!(wrote >= 15, "{wrote} MB");
        drop(block);
    }

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list(b"0,2,3").unwrap(), [0, 2, 3]);
        assert_eq!(parse_cpu_list(b"0,2-3").unwrap(), [0, 2, 3]);
        assert_eq!(parse_cpu_list(b"0-20:7,1").unwrap(), [0, 7, 14, 1]);
        assert_eq!(parse_cpu_list(b"1020-99999999999999999999").unwrap(), [1020, 1021, 1022, 1023]);
        for bad in [&b""[..], b"a", b"1-", b"3-1", b"1-4:0", b"1,", b"1x", b"-1", b"1:2"] {
            assert!(parse_cpu_list(bad).is_none(), "{bad:?}");
        }
        let _forks = forks();
        let Fork::Parent(pid) = fork().unwrap() else {
            // The first that we may have; a container may be without 0.
            let allowed = || {
                let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
                let line = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:\t"));
                line.unwrap_or_default().to_string()
            };
            let before = allowed();
            let first = before.split(['-', ',']).next().unwrap_or_default();
            setcpuaffinity(first.as_bytes());
            exitFromChild(i32::from(first.is_empty() || allowed() != first));
        };
        assert_eq!(wait_for_child(pid).unwrap().exitcode, 0);
    }

    /// In a child, since it overwrites the arguments: the kernel shows the title, the environment
    /// lives on.
    #[test]
    fn the_title_is_shown_and_the_environment_survives() {
        let _forks = forks();
        let Fork::Parent(pid) = fork().unwrap() else {
            let path = std::env::var_os("PATH");
            let Some(mut spt) = spt_init() else { exitFromChild(1) };
            for title in [
                &b"redis-server 127.0.0.1:6379 a title that is much longer than the arguments were"
                    [..],
                b"short",
            ] {
                spt.setproctitle(title);
                let shown = fs::read("/proc/self/cmdline").unwrap_or_default();
                let text: Vec<u8> = shown.iter().copied().take_while(|&b| b != 0).collect();
                if !text.starts_with(title) {
                    exitFromChild(2);
                }
            }
            exitFromChild(if std::env::var_os("PATH") == path { 0 } else { 3 });
        };
        assert_eq!(wait_for_child(pid).unwrap().exitcode, 0);
    }

    #[test]
    fn numbers_are_read_as_by_atoi() {
        assert_eq!([&b" 12x"[..], b"-3", b"+4", b"x", b""].map(atoi), [12, -3, 4, 0, 0]);
        assert_eq!(atoi(b"99999999999999999999999"), i64::MAX);
    }
}
