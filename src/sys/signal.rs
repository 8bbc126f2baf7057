//! Signals: asking a server to stop, stopping a child, the crash report, the watchdog.
//!
//! A handler may interrupt anything, so it does next to nothing: the ones for shutdown leave a note
//! that the cron finds. What must happen inside a handler (a log line, the crash report) is done by
//! functions that the server registers; they write straight to the log's descriptor.
//!
//! Differs: the shutdown note and the loading flag are here and not in the server, because a
//! handler reaches no `&mut Server`. They are this module's only state.
#![allow(unsafe_code)] // sigaction, sigaltstack and setitimer; a handler gets raw pointers.

use crate::sys::errno::cvt;
use crate::sys::file::unlink;
use crate::sys::fork::{exitFromChild, getpid, kill};
use crate::sys::symbols::{self, write_function};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use std::io::{self, IoSliceMut};
use std::os::fd::RawFd;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

/// The exit code of a child that got SIGUSR1: its parent asked it to end, so it is no error.
pub const SERVER_CHILD_NOERROR_RETVAL: i32 = 255;

/// The functions of the server that run inside a handler. They must not allocate, lock or use std's
/// output.
#[derive(Clone, Copy)]
pub struct SignalHooks {
    /// Logs one line at the level of warnings (`serverLogFromHandler`).
    pub log: fn(&'static str),
    /// Removes the temporary RDB file of this process, before an exit that was insisted on.
    pub removeTempFile: fn(),
    /// Writes the crash report. Afterwards the signal takes its usual effect.
    pub crashReport: fn(&CrashInfo),
}

static HOOKS: OnceLock<SignalHooks> = OnceLock::new();
static SHUTDOWN_ASAP: AtomicBool = AtomicBool::new(false);
static LOADING: AtomicBool = AtomicBool::new(false);
/// The name of the file that is loaded if it is a temporary one, and zeros behind it. A process
/// that leaves while it loads has no other use for it.
static TEMP_FILE: [AtomicU8; 64] = [const { AtomicU8::new(0) }; 64];

fn log_in_handler(line: &'static str) {
    if let Some(hooks) = HOOKS.get() {
        (hooks.log)(line);
    }
}

/// Tells whether a signal has asked for a shutdown (`server.shutdown_asap`).
pub fn shutdown_requested() -> bool {
    SHUTDOWN_ASAP.load(Relaxed)
}

/// Sets or withdraws the wish for a shutdown.
pub fn set_shutdown_requested(asap: bool) {
    SHUTDOWN_ASAP.store(asap, Relaxed);
}

/// Tells the handlers that data is being loaded: there is nothing to save then, so a shutdown exits
/// at once. `temp_file`, the name of a file of at most 63 bytes, is removed before; there is none
/// if it is empty.
pub fn set_loading_flag(loading: bool, temp_file: &[u8]) {
    LOADING.store(false, SeqCst);
    let name = if temp_file.len() < TEMP_FILE.len() { temp_file } else { b"" };
    for (i, c) in TEMP_FILE.iter().enumerate() {
        c.store(name.get(i).copied().unwrap_or(0), SeqCst);
    }
    LOADING.store(loading, SeqCst);
}

/// Removes the temporary file that is being loaded, if it is one. Called by a handler: nothing is
/// allocated.
fn remove_temp_file_of_loading() {
    let mut name = [0; TEMP_FILE.len()];
    for (c, stored) in name.iter_mut().zip(&TEMP_FILE) {
        *c = stored.load(SeqCst);
    }
    let len = name.iter().position(|&c| c == 0).unwrap_or(0);
    if len != 0 {
        let _ = unlink(&name[..len]);
    }
}

/// Installs a plain handler.
fn install(signal: i32, handler: libc::sighandler_t, flags: i32) {
    // SAFETY: an all-zero `sigaction` is valid: no flags, an empty mask.
    let mut act: libc::sigaction = unsafe { std::mem::zeroed() };
    act.sa_sigaction = handler;
    act.sa_flags = flags;
    // SAFETY: `act` is complete, and `handler` is SIG_DFL, SIG_IGN or a function of this module
    // that has the form which `flags` promises, and that does only what is allowed while anything
    // may be interrupted.
    unsafe { libc::sigaction(signal, &act, ptr::null_mut()) };
}

extern "C" fn sigShutdownHandler(sig: libc::c_int) {
    let msg = match sig {
        libc::SIGINT => "Received SIGINT scheduling shutdown...",
        libc::SIGTERM => "Received SIGTERM scheduling shutdown...",
        _ => "Received shutdown signal, scheduling shutdown...",
    };
    // Ctrl+C for the second time: someone wants it to end now, saved or not.
    if shutdown_requested() && sig == libc::SIGINT {
        log_in_handler("You insist... exiting now.");
        if let Some(hooks) = HOOKS.get() {
            (hooks.removeTempFile)();
        }
        // C: exit(), which is not allowed in a handler.
        exitFromChild(1);
    } else if LOADING.load(SeqCst) {
        log_in_handler("Received shutdown signal during loading, exiting now.");
        remove_temp_file_of_loading();
        exitFromChild(0);
    }
    log_in_handler(msg);
    set_shutdown_requested(true);
}

const CRASH_SIGNALS: [i32; 5] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];

/// Installs the handlers of a server: SIGTERM and SIGINT schedule a shutdown (see
/// [`shutdown_requested`]), and with `crashlog`, a crash is reported before it happens. The hooks
/// of the first call stay.
pub fn setupSignalHandlers(hooks: SignalHooks, crashlog: bool) {
    HOOKS.get_or_init(|| hooks);
    install(libc::SIGTERM, sigShutdownHandler as *const () as usize, 0);
    install(libc::SIGINT, sigShutdownHandler as *const () as usize, 0);
    if crashlog {
        setup_alternate_stack();
        // C: with SA_RESETHAND, so that a crash within the report ends it.
        let flags = libc::SA_NODEFER | libc::SA_SIGINFO | libc::SA_ONSTACK;
        for signal in CRASH_SIGNALS {
            install(signal, sigsegvHandler as *const () as usize, flags);
        }
    }
}

/// Removes the handlers of crashes: they take their usual effect from here on, without a report.
pub fn removeSignalHandlers() {
    for signal in CRASH_SIGNALS {
        install(signal, libc::SIG_DFL, libc::SA_NODEFER | libc::SA_RESETHAND);
    }
}

/// Sets up a stack of its own for the crash report, since a crash may be an overflow of the usual
/// one.
fn setup_alternate_stack() {
    const SIZE: usize = 256 * 1024;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, anywhere.
    let sp = unsafe { libc::mmap(ptr::null_mut(), SIZE, access, flags, -1, 0) };
    if sp == libc::MAP_FAILED {
        return; // then the report uses the stack that there is
    }
    let stack = libc::stack_t { ss_sp: sp, ss_flags: 0, ss_size: SIZE };
    // SAFETY: the mapping is never undone.
    unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
}

extern "C" fn sigKillChildHandler(_sig: libc::c_int) {
    log_in_handler("Received SIGUSR1 in child, exiting now.");
    exitFromChild(SERVER_CHILD_NOERROR_RETVAL);
}

/// Installs the handler of a forked child: on SIGUSR1 it exits with
/// [`SERVER_CHILD_NOERROR_RETVAL`].
pub fn setupChildSignalHandlers() {
    install(libc::SIGUSR1, sigKillChildHandler as *const () as usize, 0);
}

/// Ignores SIGHUP and SIGPIPE: a terminal that hangs up and a peer that is gone do not end a
/// server.
pub fn ignore_hup_and_pipe() {
    install(libc::SIGHUP, libc::SIG_IGN, 0);
    install(libc::SIGPIPE, libc::SIG_IGN, 0);
}

/// Ignores SIGTERM and SIGINT: for a child to which they are not addressed.
pub fn ignore_term_and_int() {
    install(libc::SIGTERM, libc::SIG_IGN, 0);
    install(libc::SIGINT, libc::SIG_IGN, 0);
}

/// Keeps `signal` from being delivered to this thread, so that another one gets it.
pub fn block_signal_in_thread(signal: i32) {
    // SAFETY: an all-zero set is valid memory for `sigemptyset` to fill.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours; signal numbers out of range are refused.
    unsafe {
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
    }
}

/// Sends `signal` to this thread.
pub fn raise(signal: i32) {
    // SAFETY: no pointers.
    unsafe { libc::raise(signal) };
}

// --------------------------- The crash report ---------------------------

/// The facts about a crash that a handler gets.
pub struct CrashInfo {
    /// The signal.
    pub signal: i32,
    /// Why it was sent (`SEGV_MAPERR`, `SI_USER`, ...).
    pub si_code: i32,
    /// The address that was accessed, for SIGSEGV and SIGBUS.
    pub address: usize,
    /// The process that sent the signal, when `si_code` is `SI_USER`.
    pub pid: i32,
    /// The sender's user.
    pub uid: u32,
    /// The instruction that was running; 0 if unknown on this processor.
    pub eip: usize,
    /// The stack's top; 0 if unknown.
    pub sp: usize,
    /// Registers in the order in which the report shows them; empty if unknown.
    pub registers: &'static [(&'static str, usize)],
    values: [u64; 32],
    /// The report of this crash has crashed itself, most likely in its stack trace: what comes
    /// before that is written, and the trace is not to be tried again.
    pub resumed: bool,
}

/// The crash that is reported.
static CRASH: OnceLock<CrashInfo> = OnceLock::new();
/// The number of crashes so far, those within the report included.
static CRASHES: AtomicUsize = AtomicUsize::new(0);

impl CrashInfo {
    /// Returns the value of an entry of [`CrashInfo::registers`].
    pub fn register(&self, entry: &(&'static str, usize)) -> u64 {
        self.values.get(entry.1).copied().unwrap_or(0)
    }
}

/// Names as in the report, with the place of each in the kernel's array.
#[cfg(target_arch = "x86_64")]
const REGISTERS: &[(&str, usize)] = &[
    ("RAX", libc::REG_RAX as usize),
    ("RBX", libc::REG_RBX as usize),
    ("RCX", libc::REG_RCX as usize),
    ("RDX", libc::REG_RDX as usize),
    ("RDI", libc::REG_RDI as usize),
    ("RSI", libc::REG_RSI as usize),
    ("RBP", libc::REG_RBP as usize),
    ("RSP", libc::REG_RSP as usize),
    ("R8 ", libc::REG_R8 as usize),
    ("R9 ", libc::REG_R9 as usize),
    ("R10", libc::REG_R10 as usize),
    ("R11", libc::REG_R11 as usize),
    ("R12", libc::REG_R12 as usize),
    ("R13", libc::REG_R13 as usize),
    ("R14", libc::REG_R14 as usize),
    ("R15", libc::REG_R15 as usize),
    ("RIP", libc::REG_RIP as usize),
    ("EFL", libc::REG_EFL as usize),
    ("CSGSFS", libc::REG_CSGSFS as usize),
];

/// The registers of the interrupted code.
struct Context<'a> {
    /// The instruction pointer, which may be changed; `None` if unknown on this processor.
    eip: Option<&'a mut usize>,
    sp: usize,
    registers: &'static [(&'static str, usize)],
    values: [u64; 32],
}

#[cfg(target_arch = "x86_64")]
fn context(uc: &mut libc::ucontext_t) -> Context<'_> {
    let mut values = [0; 32];
    for (to, from) in values.iter_mut().zip(&uc.uc_mcontext.gregs) {
        *to = *from as u64;
    }
    let sp = uc.uc_mcontext.gregs[libc::REG_RSP as usize] as usize;
    let eip = ptr::from_mut(&mut uc.uc_mcontext.gregs[libc::REG_RIP as usize]).cast::<usize>();
    // SAFETY: a register is as wide as a usize here, and the context is borrowed exclusively.
    let eip = Some(unsafe { &mut *eip });
    Context { eip, sp, registers: REGISTERS, values }
}

#[cfg(target_arch = "aarch64")]
fn context(uc: &mut libc::ucontext_t) -> Context<'_> {
    let mut values = [0; 32];
    values[..31].copy_from_slice(&uc.uc_mcontext.regs);
    let sp = uc.uc_mcontext.sp as usize;
    let eip = ptr::from_mut(&mut uc.uc_mcontext.pc).cast::<usize>();
    const REGISTERS: &[(&str, usize)] = &[
        ("X18", 18),
        ("X19", 19),
        ("X20", 20),
        ("X21", 21),
        ("X22", 22),
        ("X23", 23),
        ("X24", 24),
        ("X25", 25),
        ("X26", 26),
        ("X27", 27),
        ("X28", 28),
        ("X29", 29),
        ("X30", 30),
    ];
    // SAFETY: a register is as wide as a usize here, and the context is borrowed exclusively.
    let eip = Some(unsafe { &mut *eip });
    Context { eip, sp, registers: REGISTERS, values }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn context(_uc: &mut libc::ucontext_t) -> Context<'_> {
    Context { eip: None, sp: 0, registers: &[], values: [0; 32] }
}

/// Stands for the place of a crash by a call through a bad pointer; see `sigsegvHandler`.
extern "C" fn invalidFunctionWasCalled() {}

extern "C" fn sigsegvHandler(
    sig: libc::c_int,
    info: *mut libc::siginfo_t,
    secret: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the kernel passes a context that is ours until the handler returns.
    let uc = unsafe { &mut *secret.cast::<libc::ucontext_t>() };
    // SAFETY: likewise a complete siginfo; the fields that its signal doesn't fill are read as what
    // they hold.
    let (si_code, address, pid, uid) = unsafe {
        ((*info).si_code, (*info).si_addr() as usize, (*info).si_pid(), (*info).si_uid())
    };
    let Context { eip: eipPlace, sp, registers, values } = context(uc);
    let eip = eipPlace.as_ref().map_or(0, |eip| **eip);
    // The report may crash itself: a stack that was overwritten leads whoever follows it anywhere.
    // Then it goes on behind the stack trace, for the crash that it is about. If that crashes as
    // well, the process ends.
    let crashes = CRASHES.fetch_add(1, SeqCst);
    let resumed = crashes > 0;
    let report =
        CrashInfo { signal: sig, si_code, address, pid, uid, eip, sp, registers, values, resumed };
    if resumed {
        let first = CRASH.get().unwrap_or(&report);
        if crashes == 1
            && let Some(hooks) = HOOKS.get()
        {
            (hooks.crashReport)(&CrashInfo { resumed, ..*first });
        }
        die_by_signal(first.signal);
        return;
    }
    let report = CRASH.get_or_init(|| report);

    // A call to an address where there is no code: walking the stack would fault at that address
    // again, so for the time of the report the code was elsewhere.
    let mut eipPlace = eipPlace.filter(|eip| **eip == address);
    if let Some(place) = &mut eipPlace {
        **place = invalidFunctionWasCalled as *const () as usize;
    }
    if let Some(hooks) = HOOKS.get() {
        (hooks.crashReport)(report);
    }
    if let Some(place) = eipPlace {
        *place = eip;
    }
    die_by_signal(sig);
}

/// Lets `signal` take its usual effect on this process, so that whoever started it sees it, and a
/// core is written where that is on.
pub fn die_by_signal(signal: i32) {
    install(signal, libc::SIG_DFL, libc::SA_NODEFER | libc::SA_ONSTACK | libc::SA_RESETHAND);
    // It can't fail: the process may signal itself.
    let _ = kill(getpid(), signal);
}

/// Copies memory at any address, even a bad one: returns how many bytes could be read. For the
/// crash report, which must not crash while it looks around.
pub fn read_memory(address: usize, buf: &mut [u8]) -> usize {
    let from = [RemoteIoVec { base: address, len: buf.len() }];
    let pid = nix::unistd::Pid::from_raw(getpid());
    process_vm_readv(pid, &mut [IoSliceMut::new(buf)], &from).unwrap_or(0)
}

/// Writes the calls that led here to `fd`, one a line, the innermost `skip` left out.
#[inline(never)]
pub fn write_backtrace(fd: RawFd, skip: usize) {
    let mut trace = [ptr::null_mut(); 100];
    // SAFETY: the array's size is given.
    let n = unsafe { libc::backtrace(trace.as_mut_ptr(), trace.len() as i32) };
    for &call in trace.get(skip + 1..n.max(0) as usize).unwrap_or(&[]) {
        write_place(fd, call.addr(), true);
    }
}

/// Writes the place of one instruction to `fd`, like a line of [`write_backtrace`].
pub fn write_symbol(fd: RawFd, address: usize) {
    write_place(fd, address, false);
}

/// Writes the place of an instruction: functions of this program by name, others as libc knows
/// them.
fn write_place(fd: RawFd, address: usize, is_return: bool) {
    if write_function(fd, address, is_return) {
        return;
    }
    let address: *mut libc::c_void = ptr::without_provenance_mut(address);
    // SAFETY: one entry; any address may be asked for.
    unsafe { libc::backtrace_symbols_fd(&address, 1, fd) };
}

// ------------------------- The software watchdog -------------------------

static WATCHDOG: AtomicUsize = AtomicUsize::new(0);
static WATCHDOG_PERIOD: AtomicI32 = AtomicI32::new(0);

/// The function that the watchdog calls, with the instruction that was running: it logs where the
/// server hangs.
pub type WatchdogProc = fn(eip: usize);

extern "C" fn watchdogSignalHandler(
    _sig: libc::c_int,
    _info: *mut libc::siginfo_t,
    secret: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the kernel passes a context that is ours until the handler returns.
    let uc = unsafe { &mut *secret.cast::<libc::ucontext_t>() };
    let eip = context(uc).eip.map_or(0, |eip| *eip);
    let proc = WATCHDOG.load(Relaxed);
    if proc != 0 {
        // SAFETY: only `enableWatchdog` stores here, and what it stores is a function of this type.
        let proc = unsafe { std::mem::transmute::<usize, WatchdogProc>(proc) };
        proc(eip);
    }
}

/// Sends SIGALRM in `period` milliseconds, once; a timer that runs starts anew, and 0 stops it.
pub fn watchdogScheduleSignal(period: i32) {
    let it = libc::itimerval {
        it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
        it_value: libc::timeval {
            tv_sec: (period / 1000).into(),
            tv_usec: (period % 1000 * 1000).into(),
        },
    };
    // SAFETY: `it` is read during the call only.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &it, ptr::null_mut()) };
}

/// Calls `proc` whenever [`watchdogScheduleSignal`] was not called for `period` milliseconds.
/// The least sensible period is two rounds of the cron, `2 * 1000 / hz`: the caller sees to it.
pub fn enableWatchdog(period: i32, proc: WatchdogProc) {
    WATCHDOG.store(proc as *const () as usize, Relaxed);
    if WATCHDOG_PERIOD.swap(period, Relaxed) == 0 {
        let handler = watchdogSignalHandler as *const () as usize;
        install(libc::SIGALRM, handler, libc::SA_SIGINFO);
    }
    watchdogScheduleSignal(period);
}

/// Stops the watchdog.
pub fn disableWatchdog() {
    if WATCHDOG_PERIOD.swap(0, Relaxed) == 0 {
        return;
    }
    watchdogScheduleSignal(0);
    // Ignoring it also forgets one that is on its way.
    install(libc::SIGALRM, libc::SIG_IGN, 0);
}

/// Makes sure that the functions of the crash report are loaded: libc loads its unwinder at the
/// first use, which allocates, and that must not happen in a handler. Nor can names be looked for
/// there.
pub fn prepare_backtrace() -> io::Result<()> {
    symbols::prepare();
    let mut trace = [ptr::null_mut(); 4];
    // SAFETY: the array's size is given.
    cvt(unsafe { libc::backtrace(trace.as_mut_ptr(), trace.len() as i32) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::usleep;
    use crate::sys::fork::{ChildExit, Fork, fork, wait_for_child};
    use crate::sys::pipe::pipe;
    use crate::sys::{file, socket};
    use crate::testing::forks;

    fn say(line: &[u8]) {
        let _ = socket::write(1, line);
    }

    const TEST_HOOKS: SignalHooks = SignalHooks {
        log: |line| say(line.as_bytes()),
        removeTempFile: || say(b"[removed]"),
        crashReport: |info| {
            say(format!("crash {} at {:x}", info.signal, info.address).as_bytes());
            let rip = info.registers.iter().find(|r| r.0 == "RIP");
            if info.eip == 0 || rip.is_some_and(|r| info.register(r) != info.eip as u64) {
                say(b" bad eip");
            }
            let mut top = [0; 16];
            if read_memory(info.sp, &mut top) != 16 || read_memory(8, &mut top) != 0 {
                say(b" bad memory");
            }
        },
    };

    /// Runs `body` in a child and returns how it ended and what it wrote to its standard output.
    fn in_forked_child(body: fn()) -> (ChildExit, String) {
        in_forked_child_with(TEST_HOOKS, body)
    }

    /// Runs `body` in a child whose handlers call these hooks.
    fn in_forked_child_with(hooks: SignalHooks, body: fn()) -> (ChildExit, String) {
        let _forks = forks();
        let (r, w) = pipe().unwrap();
        let Fork::Parent(pid) = fork().unwrap() else {
            let _ = file::dup2(w, 1);
            // Sockets of other tests would stay open as long as this child lives.
            (3..1024).for_each(socket::close);
            setupSignalHandlers(hooks, true);
            setupChildSignalHandlers();
            ignore_hup_and_pipe();
            // Another test may load something just now.
            set_loading_flag(false, b"");
            body();
            exitFromChild(42);
        };
        socket::close(w);
        let mut said = Vec::new();
        while socket::read_append(r, &mut said, 4096).unwrap() > 0 {}
        socket::close(r);
        (wait_for_child(pid).unwrap(), String::from_utf8(said).unwrap())
    }

    #[test]
    fn a_shutdown_signal_leaves_a_note_and_the_second_ctrl_c_insists() {
        let (exit, said) = in_forked_child(|| {
            raise(libc::SIGTERM);
            exitFromChild(if shutdown_requested() { 9 } else { 0 });
        });
        assert_eq!((exit.exitcode, exit.bysignal), (9, 0));
        assert_eq!(said, "Received SIGTERM scheduling shutdown...");

        let (exit, said) = in_forked_child(|| {
            raise(libc::SIGINT);
            raise(libc::SIGINT);
        });
        assert_eq!((exit.exitcode, exit.bysignal), (1, 0));
        assert_eq!(
            said,
            "Received SIGINT scheduling shutdown...You insist... exiting now.[removed]"
        );
    }

    #[test]
    fn a_shutdown_while_loading_exits_at_once() {
        let (exit, said) = in_forked_child(|| {
            set_loading_flag(true, b"");
            raise(libc::SIGTERM);
        });
        assert_eq!((exit.exitcode, exit.bysignal), (0, 0));
        assert_eq!(said, "Received shutdown signal during loading, exiting now.");
    }

    #[test]
    fn a_child_stops_without_an_error_when_asked() {
        let (exit, said) = in_forked_child(|| raise(libc::SIGUSR1));
        assert_eq!((exit.exitcode, exit.bysignal), (SERVER_CHILD_NOERROR_RETVAL, 0));
        assert_eq!(said, "Received SIGUSR1 in child, exiting now.");
        let (exit, _) = in_forked_child(|| {
            raise(libc::SIGHUP);
            raise(libc::SIGPIPE);
        });
        assert_eq!(exit.exitcode, 42, "both are ignored");
    }

    #[test]
    fn a_crash_is_reported_and_ends_by_its_signal() {
        let (exit, said) = in_forked_child(|| {
            // SAFETY: none: this is the crash.
            unsafe { ptr::without_provenance_mut::<u8>(0x10).write_volatile(1) };
        });
        assert_eq!(exit.bysignal, libc::SIGSEGV);
        assert_eq!(said, "crash 11 at 10");

        let (exit, said) = in_forked_child(|| {
            // SAFETY: none: this calls where no code is.
            let nowhere: extern "C" fn() = unsafe { std::mem::transmute(0x20usize) };
            nowhere();
        });
        assert_eq!(exit.bysignal, libc::SIGSEGV);
        assert_eq!(said, "crash 11 at 20");

        let (exit, said) = in_forked_child(|| std::process::abort());
        assert_eq!(exit.bysignal, libc::SIGABRT);
        assert!(said.starts_with("crash 6"), "{said}");
    }

    #[test]
    fn a_stack_that_ran_out_is_reported_too() {
        #[allow(unconditional_recursion)]
        fn deeper(x: &mut [u8; 4096]) -> u8 {
            let mut more = [x[0]; 4096];
            std::hint::black_box(&mut more);
            deeper(&mut more).wrapping_add(std::hint::black_box(more[1]))
        }
        let (exit, said) = in_forked_child(|| {
            // The alternate stack is the thread's that asked for it: this one's.
            deeper(&mut [1; 4096]);
        });
        assert_eq!(exit.bysignal, libc::SIGSEGV);
        assert!(said.starts_with("crash 11"), "{said}");
    }

    fn crash_at(address: usize) {
        // SAFETY: none: this is the crash.
        unsafe { ptr::without_provenance_mut::<u8>(address).write_volatile(1) };
    }

    #[test]
    fn a_report_that_crashes_goes_on_behind_its_trace() {
        let trace = |info: &CrashInfo| {
            if !info.resumed {
                say(b"trace,");
                crash_at(0x20);
            }
            say(format!("rest of {} at {:x}", info.signal, info.address).as_bytes());
        };
        let hooks = SignalHooks { crashReport: trace, ..TEST_HOOKS };
        let (exit, said) = in_forked_child_with(hooks, || crash_at(0x10));
        assert_eq!((exit.bysignal, said.as_str()), (libc::SIGSEGV, "trace,rest of 11 at 10"));

        let always = |info: &CrashInfo| {
            say(if info.resumed { b"again," } else { b"once," });
            crash_at(0x20);
        };
        let hooks = SignalHooks { crashReport: always, ..TEST_HOOKS };
        let (exit, said) = in_forked_child_with(hooks, || std::process::abort());
        assert_eq!((exit.bysignal, said.as_str()), (libc::SIGABRT, "once,again,"));
    }

    /// The stack pointer leads nowhere (CVE-2022-3647 and its kind).
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_crash_without_a_stack_is_reported() {
        let hooks = SignalHooks {
            crashReport: |info| {
                if !info.resumed {
                    write_backtrace(1, 0);
                }
                let mut top = [0; 16];
                let read = read_memory(info.sp, &mut top);
                say(format!("\n{read} bytes at {:x}", info.sp).as_bytes());
            },
            ..TEST_HOOKS
        };
        let (exit, said) = in_forked_child_with(hooks, || {
            // SAFETY: none: this is the crash.
            unsafe {
                std::arch::asm!("mov rsp, 0x1000", "mov byte ptr [0x10], 1", options(noreturn))
            };
        });
        assert_eq!(exit.bysignal, libc::SIGSEGV);
        assert!(said.ends_with("\n0 bytes at 1000"), "{said}");
    }

    #[test]
    fn the_watchdog_barks_when_not_fed() {
        let (exit, said) = in_forked_child(|| {
            static BARKED: AtomicBool = AtomicBool::new(false);
            // A minute: a busy machine may let the process stand still.
            enableWatchdog(60_000, |eip| {
                say(if eip != 0 { b"bark" } else { b"lost" });
                BARKED.store(true, Relaxed);
            });
            for _ in 0..5 {
                usleep(10_000);
                watchdogScheduleSignal(60_000);
            }
            say(b"fed,");
            watchdogScheduleSignal(50);
            while !BARKED.load(Relaxed) {
                usleep(10_000);
            }
            disableWatchdog();
            raise(libc::SIGALRM);
        });
        assert_eq!((exit.exitcode, said.as_str()), (42, "fed,bark"));
    }

    #[test]
    fn a_backtrace_names_this_program() {
        let (exit, said) = in_forked_child(|| {
            let _ = prepare_backtrace();
            write_backtrace(1, 0);
            write_symbol(1, invalidFunctionWasCalled as *const () as usize);
        });
        assert_eq!(exit.exitcode, 42);
        assert!(said.contains("tests::a_backtrace_names_this_program"), "{said}");
        assert!(said.lines().last().unwrap().contains("fidelis"), "{said}");
    }
}
