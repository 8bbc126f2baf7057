//! `ae.c`, `ae_epoll.c`: the reactor. It knows nothing of the server.
//!
//! Read first: [`aeProcessEvents`], one turn of the loop; then [`EventLoop::drained`], the one duty
//! that the C's I/O code does not have.
//!
//! **Level-triggered on an edge-triggered poll.** The C asks epoll before every turn which
//! descriptors are ready *now*, and its handlers count on it: they read 16 KB, write 64 KB or
//! accept 1000, and return, sure to be called again if there is more. mio reports a descriptor only
//! when something changed. So the loop remembers: a report sets the descriptor's *ready* bits, and
//! they stay until the I/O code says that the kernel has no more (`drained`: a short read or write,
//! or EAGAIN). A descriptor that is ready for what its mask wants waits in a FIFO; while that holds
//! someone, the poll does not block. Nobody pays an `epoll_ctl` per event for this, and a write
//! handler that comes and goes costs one in all.
//!
//! What follows from it, for the code above:
//! - after I/O that came up short, call [`EventLoop::drained`]; after blocking I/O on a registered
//!   descriptor, [`EventLoop::recheck`];
//! - before `close(2)`, call [`EventLoop::aeClosing`]: [`aeDeleteFileEvent`] only clears the mask;
//! - in a forked child, call [`EventLoop::aeInChild`] first: the epoll set is shared with the
//!   parent.
//!
//! Differs: the loop is one value inside the state that the handlers get (`AeState`), so that a
//! handler reaches everything through one exclusive reference. Time events have no finalizer (the
//! C's server never gives one). A nested [`aeProcessEvents`] continues the list of the turn around
//! it, where the C overwrites it.

use crate::sys::clock::{getMonotonicUs, monotime};
use crate::sys::socket::pollFd;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::ptr::fn_addr_eq;
use std::time::Duration;

/// No event.
pub const AE_NONE: i32 = 0;
/// The descriptor can be read without waiting (data, end of file, an error, a connection to
/// accept).
pub const AE_READABLE: i32 = 1;
/// The descriptor can be written without waiting (room, or an error).
pub const AE_WRITABLE: i32 = 2;
/// With `AE_WRITABLE`: call the write handler before the read handler, so that replies to what is
/// read now leave only after the next `beforesleep` (which may have to fsync first).
pub const AE_BARRIER: i32 = 4;

/// Process file events.
pub const AE_FILE_EVENTS: i32 = 1 << 0;
/// Process time events.
pub const AE_TIME_EVENTS: i32 = 1 << 1;
/// Process both.
pub const AE_ALL_EVENTS: i32 = AE_FILE_EVENTS | AE_TIME_EVENTS;
/// Process what is ready, without waiting.
pub const AE_DONT_WAIT: i32 = 1 << 2;
/// Call the `beforesleep` handler.
pub const AE_CALL_BEFORE_SLEEP: i32 = 1 << 3;
/// Call the `aftersleep` handler.
pub const AE_CALL_AFTER_SLEEP: i32 = 1 << 4;

/// What a time handler returns to be removed.
pub const AE_NOMORE: i64 = -1;

/// A file handler. `mask` is all that the descriptor is ready for, wanted or not.
///
/// When read and write handler of a descriptor are the same function, it is called once for both.
/// Functions are compared by address, so a handler must not be `#[inline]`.
pub type aeFileProc<S> = fn(&mut S, fd: RawFd, clientData: u64, mask: i32);
/// A time handler: returns the milliseconds to its next call, or [`AE_NOMORE`].
pub type aeTimeProc<S> = fn(&mut S, id: i64, clientData: u64) -> i64;
/// A handler around the sleep.
pub type aeBeforeSleepProc<S> = fn(&mut S);

/// What runs in an event loop: a value that holds the loop.
pub trait AeState: Sized {
    /// The loop. Must always be the same one.
    fn el(&mut self) -> &mut EventLoop<Self>;
}

const RW: u8 = (AE_READABLE | AE_WRITABLE) as u8;
const READABLE: u8 = AE_READABLE as u8;
const WRITABLE: u8 = AE_WRITABLE as u8;
const BARRIER: u8 = AE_BARRIER as u8;
/// Readable for good: the peer has closed or the socket is broken. `drained` does not clear
/// READABLE then, or an end of file that came together with data would be forgotten.
const STICKY_READ: u8 = 8;
/// Writable for good: writing fails at once.
const STICKY_WRITE: u8 = 16;
/// Counts as readable until its turn has come, whatever `drained` says; see `aeHoldFired`.
const HELD: u8 = 32;

/// What the loop knows of one descriptor.
struct aeFileEvent<S> {
    /// What the handlers want: `AE_READABLE`, `AE_WRITABLE`, `AE_BARRIER`.
    mask: u8,
    /// What epoll watches for us: at least the mask, and what it once was.
    registered: u8,
    /// What the kernel last said, less what was drained since.
    ready: u8,
    /// Stands in the queue of ready descriptors. Survives `aeClosing`, since the queue is not
    /// searched.
    queued: bool,
    /// Counts closings, to tell a reused number from the descriptor that was reported.
    generation: u32,
    rfileProc: Option<aeFileProc<S>>,
    wfileProc: Option<aeFileProc<S>>,
    clientData: u64,
}

impl<S> aeFileEvent<S> {
    const EMPTY: Self = aeFileEvent {
        mask: 0,
        registered: 0,
        ready: 0,
        queued: false,
        generation: 0,
        rfileProc: None,
        wfileProc: None,
        clientData: 0,
    };

    /// Ready bits as a handler sees them.
    fn fired(&self) -> u8 {
        if self.ready & HELD != 0 { self.ready & RW | READABLE } else { self.ready & RW }
    }

    /// Ready for something that is wanted.
    fn isDue(&self) -> bool {
        self.fired() & self.mask != 0
    }
}

impl<S> Clone for aeFileEvent<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for aeFileEvent<S> {}

/// A time event.
struct aeTimeEvent<S> {
    id: i64,
    when: monotime,
    timeProc: aeTimeProc<S>,
    clientData: u64,
}

/// The loop.
pub struct EventLoop<S> {
    /// Highest descriptor with a handler, -1 if there is none.
    maxfd: RawFd,
    /// Descriptors must be lower than this.
    setsize: i32,
    timeEventNextId: i64,
    /// By descriptor; grows as they come, up to `setsize`.
    events: Vec<aeFileEvent<S>>,
    /// Ready descriptors, oldest first, each at most once.
    queue: VecDeque<RawFd>,
    /// How many descriptors ever left the queue: the position of its front. Turns know their end by
    /// position, which stays true when a nested turn takes some of their descriptors.
    head: u64,
    /// Position where the current turn ends. What is queued during a turn belongs to the next.
    turnEnd: u64,
    /// Descriptors whose handlers are on the stack, innermost last.
    dispatching: Vec<RawFd>,
    /// Oldest first, so by rising id.
    timeEvents: Vec<aeTimeEvent<S>>,
    stop: bool,
    poll: Poll,
    polled: Events,
    beforesleep: Option<aeBeforeSleepProc<S>>,
    aftersleep: Option<aeBeforeSleepProc<S>>,
    flags: i32,
    /// The longest that the coming sleep may take: see [`aeLimitSleep`].
    sleepLimit: Option<Duration>,
    /// In a forked child: the epoll set is the parent's.
    inChild: bool,
    /// How often the kernel was asked what is ready (`epoll_wait`).
    pub stat_polls: u64,
    /// How often the kernel was told what to watch (`epoll_ctl`).
    pub stat_ctls: u64,
}

fn interest(mask: u8) -> Interest {
    match mask & RW {
        READABLE => Interest::READABLE,
        WRITABLE => Interest::WRITABLE,
        _ => Interest::READABLE | Interest::WRITABLE,
    }
}

/// Makes a loop for descriptors below `setsize`. Fails when the kernel has no epoll set for us.
pub fn aeCreateEventLoop<S>(setsize: i32) -> io::Result<EventLoop<S>> {
    Ok(EventLoop {
        maxfd: -1,
        setsize,
        timeEventNextId: 0,
        events: Vec::new(),
        queue: VecDeque::new(),
        head: 0,
        turnEnd: 0,
        dispatching: Vec::new(),
        timeEvents: Vec::new(),
        stop: false,
        poll: Poll::new()?,
        polled: Events::with_capacity(setsize.max(1) as usize),
        beforesleep: None,
        aftersleep: None,
        flags: 0,
        sleepLimit: None,
        inChild: false,
        stat_polls: 0,
        stat_ctls: 0,
    })
}

/// The number that descriptors must be below.
pub fn aeGetSetSize<S>(el: &EventLoop<S>) -> i32 {
    el.setsize
}

/// With `noWait`, the coming turns do not wait for events.
pub fn aeSetDontWait<S>(el: &mut EventLoop<S>, noWait: bool) {
    if noWait {
        el.flags |= AE_DONT_WAIT;
    } else {
        el.flags &= !AE_DONT_WAIT;
    }
}

/// Lets the sleep that is about to begin take no longer than `limit`, whatever the time events say. For the function that
/// runs before the sleep, and for that one sleep.
///
/// C: has no such thing. A deadline that is no time event waits there for the next one, the cron, up to 1000/hz ms late.
pub fn aeLimitSleep<S>(el: &mut EventLoop<S>, limit: Duration) {
    el.sleepLimit = Some(limit);
}

/// Changes the number that descriptors must be below. `Err`, and nothing done, when a descriptor
/// with a handler is not.
pub fn aeResizeSetSize<S>(el: &mut EventLoop<S>, setsize: i32) -> Result<(), ()> {
    if setsize == el.setsize {
        return Ok(());
    }
    if el.maxfd >= setsize {
        return Err(());
    }
    el.polled = Events::with_capacity(setsize.max(1) as usize);
    el.setsize = setsize;
    Ok(())
}

/// Makes [`aeMain`] return after the current turn.
pub fn aeStop<S>(el: &mut EventLoop<S>) {
    el.stop = true;
}

/// Sets `proc` as the handler of `fd` for what `mask` names, beside handlers set before.
/// `clientData` is one per descriptor: the last given.
///
/// # Errors
/// `ERANGE`: `fd` is not below the set size. Else what epoll says, like `EPERM` for a regular file;
/// then nothing has changed.
pub fn aeCreateFileEvent<S>(
    el: &mut EventLoop<S>,
    fd: RawFd,
    mask: i32,
    proc: aeFileProc<S>,
    clientData: u64,
) -> io::Result<()> {
    if fd >= el.setsize {
        return Err(io::Error::from_raw_os_error(libc::ERANGE));
    }
    let Ok(i) = usize::try_from(fd) else {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    };
    if i >= el.events.len() {
        el.events.resize((i + 1).next_power_of_two(), aeFileEvent::EMPTY);
    }

    let mask = mask as u8 & (RW | BARRIER);
    aeApiAddEvent(el, fd, mask)?;
    let fe = &mut el.events[i];
    fe.mask |= mask;
    if mask & READABLE != 0 {
        fe.rfileProc = Some(proc);
    }
    if mask & WRITABLE != 0 {
        fe.wfileProc = Some(proc);
    }
    fe.clientData = clientData;
    el.maxfd = el.maxfd.max(fd);
    // Known to be ready from before: no report will come, so it queues here.
    el.enqueueIfDue(fd);
    Ok(())
}

/// Makes sure that epoll watches `fd` for `mask`. Tells the kernel only what it doesn't know.
fn aeApiAddEvent<S>(el: &mut EventLoop<S>, fd: RawFd, mask: u8) -> io::Result<()> {
    let fe = &mut el.events[fd as usize];
    let wanted = mask & RW;
    // A descriptor that comes back from having no handler at all is told again even if it seems to
    // be known: should someone have closed it without `aeClosing`, the number now means another
    // file, which epoll doesn't watch.
    let again = fe.mask & RW == 0 && fe.registered != 0 && wanted != 0;
    if (wanted & !fe.registered == 0 && !again) || el.inChild {
        return Ok(());
    }

    let registered = fe.registered | wanted;
    let registry = el.poll.registry();
    let mut source = SourceFd(&fd);
    let token = Token(fd as usize);
    el.stat_ctls += 1;
    if fe.registered == 0 {
        registry.register(&mut source, token, interest(registered))?;
    } else if let Err(e) = registry.reregister(&mut source, token, interest(registered)) {
        if e.raw_os_error() != Some(libc::ENOENT) {
            return Err(e);
        }
        // The kernel has let go of the file that had this number, and what we knew of it is void.
        fe.ready = 0;
        fe.registered = 0;
        fe.generation = fe.generation.wrapping_add(1);
        el.stat_ctls += 1;
        registry.register(&mut source, token, interest(wanted))?;
        fe.registered = wanted;
        return Ok(());
    }
    fe.registered = registered;
    Ok(())
}

/// Takes away the handlers of `fd` that `mask` names; `AE_WRITABLE` takes `AE_BARRIER` along.
///
/// Costs no system call: epoll goes on watching, and what it reports is kept for the next handler.
/// C: the kernel is told at once, so a close may follow; here [`EventLoop::aeClosing`] comes before
/// it.
pub fn aeDeleteFileEvent<S>(el: &mut EventLoop<S>, fd: RawFd, mask: i32) {
    let Some(fe) = el.event(fd) else { return };
    let mut mask = mask as u8;
    if mask & WRITABLE != 0 {
        mask |= BARRIER;
    }
    fe.mask &= !mask;
    if fe.mask == 0 && fd == el.maxfd {
        el.lowerMaxfd();
    }
}

/// What `fd` has handlers for.
pub fn aeGetFileEvents<S>(el: &EventLoop<S>, fd: RawFd) -> i32 {
    usize::try_from(fd).ok().and_then(|i| el.events.get(i)).map_or(AE_NONE, |fe| fe.mask.into())
}

impl<S> EventLoop<S> {
    fn event(&mut self, fd: RawFd) -> Option<&mut aeFileEvent<S>> {
        self.events.get_mut(usize::try_from(fd).ok()?)
    }

    fn lowerMaxfd(&mut self) {
        let below = &self.events[..self.maxfd as usize];
        self.maxfd = below.iter().rposition(|fe| fe.mask != 0).map_or(-1, |i| i as RawFd);
    }

    /// The I/O code came up short on `fd`: there is nothing more to do for `mask` until the kernel
    /// reports again.
    ///
    /// Call it when a read gave less than the buffer holds, when a write took less than was
    /// offered, and when either (or `accept`) gave EAGAIN. Calling it too seldom costs one idle
    /// call of the handler; calling it without such a proof can lose an event. Of a descriptor that
    /// the loop does not watch, it says nothing.
    #[inline]
    pub fn drained(&mut self, fd: RawFd, mask: i32) {
        if let Some(fe) = self.event(fd) {
            let sticky = (fe.ready & (STICKY_READ | STICKY_WRITE)) >> 3;
            fe.ready &= !(mask as u8 & RW & !sticky);
        }
    }

    /// Asks the kernel whether `fd` is still ready for what it is thought to be ready for.
    ///
    /// For code that did blocking I/O on a watched descriptor, a line at a time, and so cannot tell
    /// whether it is drained: without this its handler would be called again, and would block.
    pub fn recheck(&mut self, fd: RawFd) {
        let Some(ready) = self.event(fd).map(|fe| fe.ready & RW) else { return };
        if ready != 0
            && let Ok(now) = aeWait(fd, ready.into(), 0)
        {
            self.drained(fd, i32::from(ready) & !now);
        }
    }

    /// Forgets `fd`. To be called before `close(2)`, always: a forked child may keep the file open,
    /// and epoll would then go on reporting it under a number that has become another file's.
    ///
    /// What was reported of `fd` is void from here on, also in the turn that is being dispatched.
    pub fn aeClosing(&mut self, fd: RawFd) {
        let Some(fe) = self.event(fd) else { return };
        let registered = fe.registered != 0;
        *fe = aeFileEvent {
            queued: fe.queued,
            generation: fe.generation.wrapping_add(1),
            ..aeFileEvent::EMPTY
        };
        if fd == self.maxfd {
            self.lowerMaxfd();
        }
        if registered && !self.inChild {
            self.stat_ctls += 1;
            // Fails when `fd` is closed already; then the kernel has forgotten it by itself.
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
    }

    /// To be called first in a forked child. From here on the loop leaves the epoll set alone,
    /// which is the parent's: a child that took a descriptor out would take it out for the parent.
    pub fn aeInChild(&mut self) {
        self.inChild = true;
    }

    /// Looks ahead in the current turn: the next descriptor after position `*at` whose read handler
    /// is `proc` and will be called in this turn, with its `clientData`; those held already are
    /// passed over. Start with `*at` 0; `None` ends it.
    ///
    /// Made for a read handler that wants to read several clients, prefetch what their commands
    /// touch, and only then execute. It looks ahead, reads each descriptor that it wants to, tells
    /// the loop so by [`EventLoop::aeHoldFired`], and executes its *own* client. The others have
    /// their turn as usual, and find that their bytes are read already. So killing a client, a
    /// nested turn or a new handler in between need no care.
    pub fn aeNextFired(&self, at: &mut usize, proc: aeFileProc<S>) -> Option<(RawFd, u64)> {
        let end = usize::try_from(self.turnEnd.saturating_sub(self.head)).unwrap_or(usize::MAX);
        while *at < end {
            let fd = *self.queue.get(*at)?;
            *at += 1;
            let fe = &self.events[fd as usize];
            if fe.ready & HELD == 0
                && fe.fired() & fe.mask & READABLE != 0
                && fe.rfileProc.is_some_and(|rfileProc| fn_addr_eq(rfileProc, proc))
            {
                return Some((fd, fe.clientData));
            }
        }
        None
    }

    /// `fd`, got from [`EventLoop::aeNextFired`], was read ahead of its turn: it counts as readable
    /// until that turn has come, even when drained. If its handler is taken away before, then until
    /// it has one again.
    pub fn aeHoldFired(&mut self, fd: RawFd) {
        if let Some(fe) = self.event(fd) {
            fe.ready |= HELD;
        }
    }

    /// Puts `fd` at the end of the queue when it is ready for something wanted and not queued yet.
    #[inline]
    fn enqueueIfDue(&mut self, fd: RawFd) {
        let fe = &mut self.events[fd as usize];
        if !fe.queued && fe.isDue() {
            fe.queued = true;
            self.queue.push_back(fd);
        }
    }

    /// Takes the oldest descriptor from the queue.
    fn dequeue(&mut self) -> Option<RawFd> {
        let fd = self.queue.pop_front()?;
        self.head += 1;
        self.events[fd as usize].queued = false;
        Some(fd)
    }

    /// Whether someone in the queue is still due. Drops those at its front that are not: a needless
    /// entry would cost the next turn its sleep.
    fn someoneIsDue(&mut self) -> bool {
        while let Some(&fd) = self.queue.front() {
            if self.events[fd as usize].isDue() {
                return true;
            }
            self.dequeue();
        }
        false
    }
}

/// Calls `proc` in `milliseconds`, and then as often as it says. Returns the event's id.
///
/// C: a finalizer can be given; the server never does.
pub fn aeCreateTimeEvent<S>(
    el: &mut EventLoop<S>,
    milliseconds: i64,
    proc: aeTimeProc<S>,
    clientData: u64,
) -> i64 {
    let id = el.timeEventNextId;
    el.timeEventNextId += 1;
    let when = after(getMonotonicUs(), milliseconds);
    el.timeEvents.push(aeTimeEvent { id, when, timeProc: proc, clientData });
    id
}

/// `milliseconds` after `now`.
fn after(now: monotime, milliseconds: i64) -> monotime {
    now.saturating_add_signed(milliseconds.saturating_mul(1000))
}

/// Removes the time event `id`, also from within its own handler. `Err`: there is none.
pub fn aeDeleteTimeEvent<S>(el: &mut EventLoop<S>, id: i64) -> Result<(), ()> {
    let i = el.timeEvents.binary_search_by_key(&id, |te| te.id).map_err(|_| ())?;
    el.timeEvents.remove(i);
    Ok(())
}

/// Microseconds until the first time event is due, 0 if one is; `None` if there are none.
/// They are few, so they are not sorted.
fn usUntilEarliestTimer<S>(el: &EventLoop<S>) -> Option<u64> {
    let earliest = el.timeEvents.iter().map(|te| te.when).min()?;
    Some(earliest.saturating_sub(getMonotonicUs()))
}

/// Calls the time handlers that are due, the youngest event first as in the C. Returns how many.
fn processTimeEvents<S: AeState>(state: &mut S) -> i32 {
    let mut processed = 0;
    // A handler may add and remove events, and run nested turns. So each step looks for the next
    // lower id anew; events born meanwhile have higher ids, and wait for the next turn.
    let mut id = state.el().timeEventNextId;
    let mut now = getMonotonicUs();
    loop {
        let el = state.el();
        let below = el.timeEvents.partition_point(|te| te.id < id);
        let Some(te) = below.checked_sub(1).map(|i| &el.timeEvents[i]) else { break };
        id = te.id;
        if te.when > now {
            continue;
        }

        let (timeProc, clientData) = (te.timeProc, te.clientData);
        let retval = timeProc(state, id, clientData);
        processed += 1;
        now = getMonotonicUs();

        let el = state.el();
        if let Ok(i) = el.timeEvents.binary_search_by_key(&id, |te| te.id) {
            if retval != AE_NOMORE {
                el.timeEvents[i].when = after(now, retval);
            } else {
                el.timeEvents.remove(i);
            }
        }
    }
    processed
}

/// One turn: waits for an event, calls the handlers of all descriptors that are ready, and then the
/// time handlers that are due. Returns how many events were processed.
///
/// `flags` say what to process ([`AE_FILE_EVENTS`], [`AE_TIME_EVENTS`]), whether to wait
/// ([`AE_DONT_WAIT`]), and which handlers around the sleep to call. A handler may run a nested
/// turn: that takes over what is left of this one. In one turn no descriptor has two turns, and all
/// get one before any gets another.
pub fn aeProcessEvents<S: AeState>(state: &mut S, flags: i32) -> i32 {
    let mut processed = 0;
    if flags & AE_ALL_EVENTS == 0 {
        return 0;
    }

    // Even without descriptors: to sleep until a time event is due.
    let el = state.el();
    if el.maxfd != -1 || (flags & AE_TIME_EVENTS != 0 && flags & AE_DONT_WAIT == 0) {
        let mut timeout = if flags & AE_DONT_WAIT != 0 {
            Some(Duration::ZERO)
        } else if flags & AE_TIME_EVENTS != 0 {
            usUntilEarliestTimer(el).map(Duration::from_micros)
        } else {
            None
        };
        if el.flags & AE_DONT_WAIT != 0 {
            timeout = Some(Duration::ZERO);
        }

        if flags & AE_CALL_BEFORE_SLEEP != 0
            && let Some(beforesleep) = el.beforesleep
        {
            beforesleep(state);
        }

        let el = state.el();
        if let Some(limit) = el.sleepLimit.take() {
            timeout = Some(timeout.map_or(limit, |t| t.min(limit)));
        }
        aeApiPoll(el, timeout);

        let el = state.el();
        let outerEnd = std::mem::replace(&mut el.turnEnd, el.head + el.queue.len() as u64);
        let turnEnd = el.turnEnd;
        if flags & AE_CALL_AFTER_SLEEP != 0
            && let Some(aftersleep) = el.aftersleep
        {
            aftersleep(state);
        }

        while state.el().head < turnEnd {
            let Some(fd) = state.el().dequeue() else { break };
            processed += processFileEvent(state, fd);
        }
        state.el().turnEnd = outerEnd;
    }

    if flags & AE_TIME_EVENTS != 0 {
        processed += processTimeEvents(state);
    }
    processed
}

/// Asks the kernel, for at most `timeout` (`None`: as long as it takes), and queues what is due.
/// Does not wait while somebody is due already.
fn aeApiPoll<S>(el: &mut EventLoop<S>, timeout: Option<Duration>) {
    assert!(!el.inChild, "the event loop belongs to the parent");
    // A nested turn: who is being served further up the stack is ready as long as not drained.
    for i in 0..el.dispatching.len() {
        el.enqueueIfDue(el.dispatching[i]);
    }
    let timeout = if el.someoneIsDue() { Some(Duration::ZERO) } else { timeout };

    el.stat_polls += 1;
    if let Err(e) = el.poll.poll(&mut el.polled, timeout) {
        // A signal: its handler left a note for whoever runs next. C: other errors are ignored too,
        // and the server spins.
        assert!(e.kind() == io::ErrorKind::Interrupted, "aeApiPoll: epoll_wait, {e}");
        return;
    }
    for event in &el.polled {
        let fd = event.token().0;
        let fe = &mut el.events[fd];
        let mut ready = 0;
        if event.is_readable() {
            ready |= READABLE;
        }
        if event.is_writable() {
            ready |= WRITABLE;
        }
        if event.is_read_closed() {
            ready |= READABLE | STICKY_READ;
        }
        if event.is_error() || event.is_write_closed() {
            ready |= RW | STICKY_READ | STICKY_WRITE;
        }
        fe.ready |= ready;
        if !fe.queued && fe.isDue() {
            fe.queued = true;
            el.queue.push_back(fd as RawFd);
        }
    }
}

/// Calls the handlers of `fd` for what it is ready for. Returns 1, or 0 when nothing (any more) is
/// due.
fn processFileEvent<S: AeState>(state: &mut S, fd: RawFd) -> i32 {
    let el = state.el();
    let i = fd as usize;
    let fe = el.events[i];
    if !fe.isDue() {
        return 0;
    }
    // This is the turn it was held for.
    el.events[i].ready &= !HELD;
    let held = if fe.ready & HELD != 0 { READABLE } else { 0 };
    el.dispatching.push(fd);

    // Each handler may change, remove or close anything. So what the next one needs is read anew,
    // and is nothing if the number now means another file.
    let refresh = |state: &mut S| {
        let now = state.el().events[i];
        let mask = if now.generation == fe.generation { now.fired() | held } else { 0 };
        (now, mask)
    };

    // Reading comes first, so that the reply to what is read may leave at once; with AE_BARRIER it
    // comes last.
    let invert = fe.mask & BARRIER != 0;
    let mut fired = false;
    if !invert
        && fe.mask & fe.fired() & READABLE != 0
        && let Some(rfileProc) = fe.rfileProc
    {
        rfileProc(state, fd, fe.clientData, fe.fired().into());
        fired = true;
    }

    let same = |fe: &aeFileEvent<S>| match (fe.rfileProc, fe.wfileProc) {
        (Some(r), Some(w)) => fn_addr_eq(r, w),
        _ => false,
    };
    let (now, mask) = refresh(state);
    if now.mask & mask & WRITABLE != 0
        && (!fired || !same(&now))
        && let Some(wfileProc) = now.wfileProc
    {
        wfileProc(state, fd, now.clientData, mask.into());
        fired = true;
    }

    if invert {
        let (now, mask) = refresh(state);
        if now.mask & mask & READABLE != 0
            && (!fired || !same(&now))
            && let Some(rfileProc) = now.rfileProc
        {
            rfileProc(state, fd, now.clientData, mask.into());
        }
    }

    let el = state.el();
    el.dispatching.pop();
    el.enqueueIfDue(fd);
    1
}

/// Waits up to `milliseconds` (negative: as long as it takes) until `fd` is ready for `mask`,
/// outside of any loop. Returns what it is ready for, 0 if the time is over; an error or hangup
/// counts as writable.
pub fn aeWait(fd: RawFd, mask: i32, milliseconds: i64) -> io::Result<i32> {
    let mut events = 0;
    if mask & AE_READABLE != 0 {
        events |= libc::POLLIN;
    }
    if mask & AE_WRITABLE != 0 {
        events |= libc::POLLOUT;
    }
    let revents = pollFd(fd, events, milliseconds)?;
    let mut retmask = 0;
    if revents & libc::POLLIN != 0 {
        retmask |= AE_READABLE;
    }
    if revents & (libc::POLLOUT | libc::POLLERR | libc::POLLHUP) != 0 {
        retmask |= AE_WRITABLE;
    }
    Ok(retmask)
}

/// Runs the loop until a handler calls [`aeStop`].
pub fn aeMain<S: AeState>(state: &mut S) {
    state.el().stop = false;
    while !state.el().stop {
        aeProcessEvents(state, AE_ALL_EVENTS | AE_CALL_BEFORE_SLEEP | AE_CALL_AFTER_SLEEP);
    }
}

/// The name of the kernel's interface, for INFO (`multiplexing_api`).
pub fn aeGetApiName() -> &'static str {
    "epoll"
}

/// Sets what [`aeMain`] calls before it waits.
pub fn aeSetBeforeSleepProc<S>(el: &mut EventLoop<S>, beforesleep: Option<aeBeforeSleepProc<S>>) {
    el.beforesleep = beforesleep;
}

/// Sets what [`aeMain`] calls when it has waited, before any handler.
pub fn aeSetAfterSleepProc<S>(el: &mut EventLoop<S>, aftersleep: Option<aeBeforeSleepProc<S>>) {
    el.aftersleep = aftersleep;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anet::{FD_TO_SOCK_NAME, anetFdToString};
    use crate::anet::{anetNonBlock, anetTcpAccept, anetTcpNonBlockConnect, anetTcpServer};
    use crate::sys::clock::usleep;
    use crate::sys::fork::{Fork, exitFromChild, fork, waitFor};
    use crate::sys::socket::{
        close, read, setLingerZero, setSendBuffer, shutdownWrite, socketpair, write,
    };
    use crate::testing::{closes, forks};

    /// A state that writes down what happens to it.
    struct Test {
        el: EventLoop<Test>,
        log: Vec<(RawFd, i32)>,
        got: Vec<u8>,
        /// For handlers that do something to other descriptors.
        others: Vec<RawFd>,
        eof: bool,
    }

    impl AeState for Test {
        fn el(&mut self) -> &mut EventLoop<Test> {
            &mut self.el
        }
    }

    impl Test {
        fn new() -> Test {
            let el = aeCreateEventLoop(1024).unwrap();
            Test { el, log: vec![], got: vec![], others: vec![], eof: false }
        }

        fn create(&mut self, fd: RawFd, mask: i32, proc: aeFileProc<Test>) {
            aeCreateFileEvent(&mut self.el, fd, mask, proc, fd as u64 * 10).unwrap();
        }

        /// One turn without waiting; what was called is in the log.
        fn turn(&mut self) -> i32 {
            self.log.clear();
            aeProcessEvents(self, AE_FILE_EVENTS | AE_DONT_WAIT)
        }

        fn shut(&mut self, fd: RawFd) {
            self.el.aeClosing(fd);
            close(fd);
        }

        fn calls(&self, fd: RawFd) -> usize {
            self.log.iter().filter(|l| l.0 == fd).count()
        }
    }

    /// A pair of sockets that do not block.
    fn pair() -> (RawFd, RawFd) {
        let (a, b) = socketpair().unwrap();
        anetNonBlock(a).unwrap();
        anetNonBlock(b).unwrap();
        (a, b)
    }

    /// Reads up to `N` bytes, and says when it came up short, as the server's I/O does.
    fn reads<const N: usize>(t: &mut Test, fd: RawFd, clientData: u64, mask: i32) {
        assert_eq!(clientData, fd as u64 * 10);
        t.log.push((fd, mask));
        let mut buf = [0; N];
        match read(fd, &mut buf) {
            Ok(0) => t.eof = true,
            Ok(n) => {
                t.got.extend_from_slice(&buf[..n]);
                if n < N {
                    t.el.drained(fd, AE_READABLE);
                }
            }
            Err(_) => t.el.drained(fd, AE_READABLE),
        }
    }

    fn noted(t: &mut Test, fd: RawFd, _: u64, mask: i32) {
        t.log.push((fd, mask));
    }

    fn writable(t: &mut Test, fd: RawFd, _: u64, mask: i32) {
        t.log.push((fd, mask | 0x100));
    }

    #[test]
    fn a_handler_that_reads_one_byte_is_called_until_there_are_no_more() {
        let mut t = Test::new();
        let (a, b) = pair();
        t.create(a, AE_READABLE, reads::<1>);
        write(b, b"hello").unwrap();
        for n in 1..=5 {
            assert_eq!(t.turn(), 1);
            assert_eq!(t.got.len(), n, "one call a turn");
        }
        assert_eq!(t.got, b"hello");
        t.turn(); // finds EAGAIN
        assert_eq!(t.turn(), 0);
        assert_eq!(t.el.stat_ctls, 1, "told the kernel once, for all of that");

        // A short read is as good a proof, and saves the call that finds nothing.
        t.shut(a);
        let (c, d) = pair();
        t.create(c, AE_READABLE, reads::<100>);
        write(d, b"x").unwrap();
        assert_eq!((t.turn(), t.turn()), (1, 0));
        write(d, b"y").unwrap();
        assert_eq!((t.turn(), t.turn()), (1, 0), "what comes later is reported anew");
        t.shut(c);
        [b, d].into_iter().for_each(close);
    }

    #[test]
    fn a_fin_that_comes_with_data_is_seen_after_it() {
        for _ in 0..50 {
            let mut t = Test::new();
            let (a, b) = pair();
            t.create(a, AE_READABLE, reads::<100>);
            write(b, b"bye").unwrap();
            shutdownWrite(b).unwrap();
            t.turn();
            assert!(!t.eof && t.got == b"bye");
            t.turn();
            assert!(t.eof, "the short read did not hide the end");
            t.shut(a);
            close(b);
        }
    }

    /// Two ends of a TCP connection.
    fn tcp() -> (RawFd, RawFd) {
        let s = anetTcpServer(0, Some(b"127.0.0.1"), 4).unwrap();
        let c = anetTcpNonBlockConnect(b"127.0.0.1", anetFdToString(s, FD_TO_SOCK_NAME).unwrap().1);
        let (a, _, _) = anetTcpAccept(s).unwrap();
        close(s);
        (a, c.unwrap())
    }

    #[test]
    fn a_reset_is_readable_and_writable_for_good() {
        let _closes = closes();
        let mut t = Test::new();
        let (a, c) = tcp();
        t.create(a, AE_READABLE, noted);
        setLingerZero(c).unwrap();
        close(c);
        aeWait(a, AE_READABLE, 5000).unwrap();
        for _ in 0..3 {
            assert_eq!(t.turn(), 1);
            assert_eq!(t.log, [(a, AE_READABLE | AE_WRITABLE)]);
            t.el.drained(a, AE_READABLE | AE_WRITABLE);
        }
        t.shut(a);
    }

    #[test]
    fn a_refused_connection_calls_the_write_handler() {
        let _closes = closes();
        let s = anetTcpServer(0, Some(b"127.0.0.1"), 4).unwrap();
        let port = anetFdToString(s, FD_TO_SOCK_NAME).unwrap().1;
        close(s);
        let mut t = Test::new();
        let Ok(c) = anetTcpNonBlockConnect(b"127.0.0.1", port) else { return };
        t.create(c, AE_WRITABLE, writable);
        aeProcessEvents(&mut t, AE_FILE_EVENTS);
        assert_eq!(t.calls(c), 1);
        assert!(crate::sys::socket::socketError(c).is_err());
        t.shut(c);
    }

    /// Closes the first of `others` and opens a socket that gets its number.
    fn reopens(t: &mut Test, fd: RawFd, _: u64, mask: i32) {
        t.log.push((fd, mask));
        t.el.drained(fd, AE_READABLE);
        let victim = t.others[0];
        t.shut(victim);
        let (a, b) = pair();
        assert!(a == victim || b == victim, "the number is used again");
        t.create(victim, AE_READABLE | AE_WRITABLE, noted);
        t.others.push(if a == victim { b } else { a });
    }

    #[test]
    fn a_reused_number_is_not_served_with_old_readiness() {
        let mut t = Test::new();
        // A number that only this test uses, since other tests open descriptors meanwhile.
        let ((a, b), (c, d)) = (pair(), pair());
        let (victim, peer) = pair();
        t.create(a, AE_READABLE, noted);
        t.create(victim, AE_READABLE, noted);
        for fd in [b, peer] {
            write(fd, b"x").unwrap();
        }
        // Both are reported now; then the victim is closed by the other's handler, and made anew at
        // its old number.
        t.log.clear();
        aeApiPoll(&mut t.el, Some(Duration::ZERO));
        assert_eq!(t.el.queue.len(), 2);
        t.el.aeClosing(victim);
        crate::sys::file::dup2(c, victim).unwrap();
        t.create(victim, AE_READABLE, noted);
        t.el.turnEnd = t.el.head + 2;
        while let Some(fd) = t.el.dequeue() {
            processFileEvent(&mut t, fd);
            if t.el.head == t.el.turnEnd {
                break;
            }
        }
        assert_eq!((t.calls(a), t.calls(victim)), (1, 0));
        // It is served again as what it is now.
        write(d, b"y").unwrap();
        t.turn();
        assert_eq!(t.calls(victim), 1);
        [a, victim].into_iter().for_each(|fd| t.shut(fd));
        [b, c, d, peer].into_iter().for_each(close);
    }

    #[test]
    fn a_handler_may_close_and_reopen_another_descriptor_in_its_turn() {
        // In a child of its own, where no other thread takes the number.
        let _forks = forks();
        let Fork::Parent(pid) = fork().unwrap() else {
            let mut t = Test::new();
            let ((a, b), (victim, peer)) = (pair(), pair());
            t.create(a, AE_READABLE, reopens);
            t.create(victim, AE_READABLE, noted);
            t.others.push(victim);
            for fd in [b, peer] {
                write(fd, b"x").unwrap();
            }
            t.turn();
            let ok = t.calls(a) == 1 && t.calls(victim) == 0;
            t.turn();
            // The new socket can be written, which nobody had known before.
            exitFromChild(i32::from(!(ok && t.log == [(victim, AE_WRITABLE)])));
        };
        assert_eq!(waitFor(pid).unwrap().exitcode, 0);
    }

    #[test]
    fn a_close_that_the_loop_was_not_told_of_is_found_out() {
        let _forks = forks();
        let Fork::Parent(pid) = fork().unwrap() else {
            let mut t = Test::new();
            let (a, b) = pair();
            t.create(a, AE_READABLE, noted);
            aeDeleteFileEvent(&mut t.el, a, AE_READABLE);
            [a, b].into_iter().for_each(close);
            let (c, d) = pair();
            t.create(c, AE_READABLE, reads::<9>);
            write(d, b"x").unwrap();
            t.turn();
            exitFromChild(i32::from(!(c == a && t.got == b"x")));
        };
        assert_eq!(waitFor(pid).unwrap().exitcode, 0);
    }

    #[test]
    fn reading_comes_before_writing_and_after_it_with_a_barrier() {
        for (mask, order) in [(0, [0, 0x100]), (AE_BARRIER, [0x100, 0])] {
            let mut t = Test::new();
            let (a, b) = pair();
            t.create(a, AE_READABLE, noted);
            t.create(a, AE_WRITABLE | mask, writable);
            assert_eq!(aeGetFileEvents(&t.el, a), AE_READABLE | AE_WRITABLE | mask);
            write(b, b"x").unwrap();
            t.turn();
            assert_eq!(t.log.iter().map(|l| l.1 & 0x100).collect::<Vec<_>>(), order);
            aeDeleteFileEvent(&mut t.el, a, AE_WRITABLE);
            assert_eq!(aeGetFileEvents(&t.el, a), AE_READABLE, "the barrier goes with writing");
            t.shut(a);
            close(b);
        }
    }

    #[test]
    fn one_function_for_both_is_called_once() {
        for barrier in [0, AE_BARRIER] {
            let mut t = Test::new();
            let (a, b) = pair();
            t.create(a, AE_READABLE | AE_WRITABLE | barrier, noted);
            write(b, b"x").unwrap();
            t.turn();
            assert_eq!(t.log, [(a, AE_READABLE | AE_WRITABLE)]);
            t.shut(a);
            close(b);
        }
    }

    fn deletesOthers(t: &mut Test, fd: RawFd, _: u64, mask: i32) {
        t.log.push((fd, mask));
        for i in 0..t.others.len() {
            aeDeleteFileEvent(&mut t.el, t.others[i], AE_READABLE | AE_WRITABLE);
        }
    }

    #[test]
    fn a_handler_may_take_away_handlers_and_its_own() {
        let mut t = Test::new();
        let pairs: Vec<_> = (0..4).map(|_| pair()).collect();
        for &(a, b) in &pairs {
            t.create(a, AE_READABLE | AE_WRITABLE, deletesOthers);
            write(b, b"x").unwrap();
            t.others.push(a);
        }
        assert_eq!(t.turn(), 1, "whoever came first silenced all, itself too");
        assert_eq!(t.el.maxfd, -1);
        assert_eq!(t.turn(), 0);

        // What was reported while nobody listened is not lost.
        let (a, b) = pairs[2];
        t.create(a, AE_READABLE, reads::<10>);
        t.turn();
        assert_eq!(t.got, b"x");
        write(b, b"y").unwrap();
        t.create(pairs[1].0, AE_WRITABLE, writable);
        aeDeleteFileEvent(&mut t.el, a, AE_READABLE);
        t.turn();
        t.create(a, AE_READABLE, reads::<10>);
        t.turn();
        assert_eq!(t.got, b"xy");
        for (a, b) in pairs {
            t.shut(a);
            close(b);
        }
    }

    /// On its first call, runs two nested turns.
    fn nests(t: &mut Test, fd: RawFd, clientData: u64, mask: i32) {
        reads::<1>(t, fd, clientData, mask);
        if t.others.is_empty() {
            t.others.push(fd);
            aeProcessEvents(t, AE_FILE_EVENTS | AE_DONT_WAIT);
            aeProcessEvents(t, AE_FILE_EVENTS | AE_DONT_WAIT);
        }
    }

    #[test]
    fn nested_turns_lose_nothing_and_serve_nobody_twice() {
        let mut t = Test::new();
        let pairs: Vec<_> = (0..5).map(|_| pair()).collect();
        for &(a, b) in &pairs {
            t.create(a, AE_READABLE, nests);
            write(b, b"abc").unwrap();
        }
        t.turn();
        // The outer turn serves one, which nests; the two nested ones serve all, the one on the
        // stack too; and nobody is left for the outer one.
        for &(a, _) in &pairs {
            assert_eq!(t.calls(a), if a == t.others[0] { 3 } else { 2 });
        }
        t.turn();
        t.turn();
        assert_eq!(t.got.len(), 15);
        assert_eq!(t.turn(), 0);
        for (a, b) in pairs {
            t.shut(a);
            close(b);
        }
    }

    /// In a nested turn, closes `others` which the outer turn still has on its list.
    fn nestsAndShuts(t: &mut Test, fd: RawFd, _: u64, mask: i32) {
        t.log.push((fd, mask));
        t.el.drained(fd, AE_READABLE);
        for fd in std::mem::take(&mut t.others) {
            t.shut(fd);
        }
        aeProcessEvents(t, AE_FILE_EVENTS | AE_DONT_WAIT);
    }

    #[test]
    fn what_is_closed_in_a_nested_turn_is_gone_from_the_outer_one() {
        let mut t = Test::new();
        let pairs: Vec<_> = (0..4).map(|_| pair()).collect();
        for &(a, b) in &pairs {
            t.create(a, AE_READABLE, noted);
            write(b, b"x").unwrap();
        }
        t.create(pairs[0].0, AE_READABLE, nestsAndShuts);
        t.others = pairs[2..].iter().map(|p| p.0).collect();
        t.turn();
        assert_eq!(t.log.iter().map(|l| l.0).collect::<Vec<_>>(), [pairs[0].0, pairs[1].0]);
        [pairs[0].0, pairs[1].0].into_iter().for_each(|fd| t.shut(fd));
        pairs.iter().for_each(|p| close(p.1));
    }

    #[test]
    fn everyone_has_one_turn_before_anyone_has_another() {
        let mut t = Test::new();
        let pairs: Vec<_> = (0..20).map(|_| pair()).collect();
        for &(a, b) in &pairs {
            t.create(a, AE_READABLE, reads::<1>);
            write(b, b"0123456789").unwrap();
        }
        for round in 1..=10 {
            assert_eq!(t.turn(), 20, "round {round}");
            let mut fds: Vec<_> = t.log.iter().map(|l| l.0).collect();
            fds.sort_unstable();
            fds.dedup();
            assert_eq!(fds.len(), 20);
            // A newcomer is not kept waiting by those who always have more.
            if round == 5 {
                let (a, b) = pair();
                t.create(a, AE_READABLE, reads::<10>);
                write(b, b"x").unwrap();
                assert_eq!(t.turn(), 21);
                t.shut(a);
                close(b);
                break;
            }
        }
        for (a, b) in pairs {
            t.shut(a);
            close(b);
        }
    }

    #[test]
    fn one_wait_per_wake_up_and_nothing_told_to_the_kernel() {
        let mut t = Test::new();
        let pairs: Vec<_> = (0..10).map(|_| pair()).collect();
        for &(a, _) in &pairs {
            t.create(a, AE_READABLE, reads::<100>);
        }
        let (polls, ctls) = (t.el.stat_polls, t.el.stat_ctls);
        for _ in 0..100 {
            for &(_, b) in &pairs {
                write(b, b"PING").unwrap();
            }
            t.log.clear();
            assert_eq!(aeProcessEvents(&mut t, AE_ALL_EVENTS), 10);
        }
        assert_eq!((t.el.stat_polls - polls, t.el.stat_ctls - ctls), (100, 0));
        // A write handler that comes and goes costs one call the first time, and nothing later.
        for _ in 0..10 {
            t.create(pairs[0].0, AE_WRITABLE, writable);
            t.turn();
            assert_eq!(t.calls(pairs[0].0), 1);
            aeDeleteFileEvent(&mut t.el, pairs[0].0, AE_WRITABLE);
        }
        assert_eq!(t.el.stat_ctls - ctls, 1);
        for (a, b) in pairs {
            t.shut(a);
            close(b);
        }
    }

    /// Writes until it can't, as `sendReplyToClient`.
    fn fills(t: &mut Test, fd: RawFd, _: u64, mask: i32) {
        t.log.push((fd, mask));
        while write(fd, &[7; 4096]).is_ok_and(|n| n == 4096) {}
        t.el.drained(fd, AE_WRITABLE);
    }

    #[test]
    fn a_full_socket_is_writable_again_when_its_peer_has_read() {
        let mut t = Test::new();
        let (a, b) = pair();
        setSendBuffer(a, 4096).unwrap();
        t.create(a, AE_WRITABLE, fills);
        assert_eq!((t.turn(), t.turn()), (1, 0));
        let mut buf = vec![0; 1 << 20];
        while read(b, &mut buf).is_ok_and(|n| n > 0) {}
        assert_eq!((t.turn(), t.turn()), (1, 0));
        t.shut(a);
        close(b);
    }

    #[test]
    fn what_blocking_code_has_read_is_found_out_by_recheck() {
        let mut t = Test::new();
        let (a, b) = pair();
        t.create(a, AE_READABLE, noted);
        write(b, b"+PONG\r\n").unwrap();
        assert_eq!(t.turn(), 1);
        assert_eq!(read(a, &mut [0; 7]).unwrap(), 7);
        t.el.recheck(a);
        assert_eq!(t.turn(), 0);
        write(b, b"+OK\r\n").unwrap();
        t.turn();
        t.el.recheck(a);
        assert_eq!(t.turn(), 1, "still there");
        t.shut(a);
        close(b);
    }

    /// Reads ahead of the others of its turn, as a server does that prefetches for several clients.
    fn readsAhead(t: &mut Test, fd: RawFd, _: u64, mask: i32) {
        t.log.push((fd, mask));
        if t.others.contains(&fd) {
            return; // was read ahead: only executes
        }
        let (mut at, mut batch) = (0, vec![fd]);
        while let Some((next, clientData)) = t.el.aeNextFired(&mut at, readsAhead) {
            assert_eq!(clientData, next as u64 * 10);
            t.el.aeHoldFired(next);
            batch.push(next);
        }
        for &fd in &batch {
            read(fd, &mut [0; 100]).unwrap();
            t.el.drained(fd, AE_READABLE);
        }
        t.others.extend(batch);
    }

    #[test]
    fn a_turn_can_be_looked_ahead_and_everyone_still_has_his() {
        let mut t = Test::new();
        let pairs: Vec<_> = (0..6).map(|_| pair()).collect();
        let fds: Vec<RawFd> = pairs.iter().map(|p| p.0).collect();
        for (i, &(a, b)) in pairs.iter().enumerate() {
            t.create(a, AE_READABLE, if i == 3 { noted } else { readsAhead });
            write(b, b"x").unwrap();
        }
        t.turn();
        assert_eq!(t.log.iter().map(|l| l.0).collect::<Vec<_>>(), fds, "all, in order, once");
        assert_eq!(t.others, [fds[0], fds[1], fds[2], fds[4], fds[5]], "but for another handler");
        t.el.drained(fds[3], AE_READABLE);
        assert_eq!(t.turn(), 0, "a hold is for one turn");

        // Who is read ahead and then loses its handler has its turn when it gets one again.
        t.others.clear();
        for i in [1, 2] {
            write(pairs[i].1, b"x").unwrap();
        }
        aeApiPoll(&mut t.el, None);
        t.el.turnEnd = t.el.head + t.el.queue.len() as u64;
        let first = t.el.dequeue().unwrap();
        let second = t.el.aeNextFired(&mut 0, readsAhead).unwrap().0;
        processFileEvent(&mut t, first);
        aeDeleteFileEvent(&mut t.el, second, AE_READABLE);
        assert_eq!(t.turn(), 0);
        t.create(second, AE_READABLE, readsAhead);
        assert_eq!((t.turn(), t.turn()), (1, 0));
        for (a, b) in pairs {
            t.shut(a);
            close(b);
        }
    }

    #[test]
    fn errors_say_what_epoll_says() {
        let mut t = Test::new();
        let errno = |r: io::Result<()>| r.unwrap_err().raw_os_error();
        let far = aeCreateFileEvent(&mut t.el, 1024, AE_READABLE, noted, 0);
        assert_eq!(errno(far), Some(libc::ERANGE));
        let never = aeCreateFileEvent(&mut t.el, -1, AE_READABLE, noted, 0);
        assert_eq!(errno(never), Some(libc::EBADF));
        let file = crate::sys::file::open(b"/proc/self/exe", libc::O_RDONLY, 0).unwrap();
        let regular = aeCreateFileEvent(&mut t.el, file, AE_READABLE, noted, 0);
        assert_eq!(errno(regular), Some(libc::EPERM));
        assert_eq!(aeGetFileEvents(&t.el, file), AE_NONE);
        close(file);
        aeDeleteFileEvent(&mut t.el, 4000, AE_READABLE);
        t.el.aeClosing(-1);
        t.el.drained(5000, AE_READABLE);
        assert_eq!(aeGetFileEvents(&t.el, -5), AE_NONE);

        let (a, b) = pair();
        t.create(a, AE_READABLE, noted);
        assert_eq!(aeResizeSetSize(&mut t.el, a), Err(()));
        assert_eq!(aeResizeSetSize(&mut t.el, a + 1), Ok(()));
        assert_eq!(aeGetSetSize(&t.el), a + 1);
        let above = aeCreateFileEvent(&mut t.el, a + 1, AE_READABLE, noted, 0);
        assert_eq!(errno(above), Some(libc::ERANGE));
        t.shut(a);
        assert_eq!(aeResizeSetSize(&mut t.el, 1), Ok(()));
        close(b);
        assert_eq!(aeWait(-1, AE_READABLE, 0).unwrap(), 0);
        assert_eq!(aeGetApiName(), "epoll");
    }

    #[test]
    fn a_child_leaves_the_parents_descriptors_alone() {
        let mut t = Test::new();
        let (a, b) = pair();
        t.create(a, AE_READABLE, reads::<100>);
        let _forks = forks();
        let Fork::Parent(pid) = fork().unwrap() else {
            t.el.aeInChild();
            let ctls = t.el.stat_ctls;
            t.shut(a);
            let _ = aeCreateFileEvent(&mut t.el, b, AE_READABLE, noted, 0);
            exitFromChild((t.el.stat_ctls - ctls) as i32);
        };
        assert_eq!(waitFor(pid).unwrap().exitcode, 0);
        write(b, b"x").unwrap();
        assert_eq!(t.turn(), 1);
        t.shut(a);
        close(b);
    }

    /// A child that has the file open must not make epoll report what the parent has closed.
    #[test]
    fn what_was_closed_is_not_reported_though_a_child_has_it_open() {
        let mut t = Test::new();
        let ((a, b), (hold, release)) = (pair(), pair());
        t.create(a, AE_READABLE, noted);
        let _forks = forks();
        let Fork::Parent(pid) = fork().unwrap() else {
            aeWait(hold, AE_READABLE, 5000).unwrap_or(0);
            exitFromChild(0);
        };
        t.shut(a);
        t.create(hold, AE_READABLE, noted);
        let _ = write(b, b"x");
        assert_eq!(t.turn(), 0);
        write(release, b"x").unwrap();
        waitFor(pid).unwrap();
        t.shut(hold);
        [b, release].into_iter().for_each(close);
    }

    #[test]
    fn a_signal_is_not_an_error() {
        let _forks = forks();
        let Fork::Parent(pid) = fork().unwrap() else {
            let mut t = Test::new();
            let (a, _b) = pair();
            t.create(a, AE_READABLE, noted);
            // Again and again, until one comes while the loop sleeps.
            crate::sys::signal::enableWatchdog(20, |_| {
                crate::sys::signal::watchdogScheduleSignal(20);
            });
            let n = aeProcessEvents(&mut t, AE_FILE_EVENTS);
            exitFromChild(n);
        };
        assert_eq!(waitFor(pid).unwrap().exitcode, 0);
    }

    // --------------------------- Time events ---------------------------

    fn turnOfTime(t: &mut Test) -> i32 {
        t.log.clear();
        aeProcessEvents(t, AE_TIME_EVENTS | AE_DONT_WAIT)
    }

    fn ticks(t: &mut Test, id: i64, clientData: u64) -> i64 {
        t.log.push((id as RawFd, clientData as i32));
        clientData as i64 - 1
    }

    #[test]
    fn time_events_repeat_until_they_say_no_more() {
        let mut t = Test::new();
        let again = aeCreateTimeEvent(&mut t.el, 0, ticks, 1);
        let once = aeCreateTimeEvent(&mut t.el, 0, ticks, 0);
        assert_eq!((again, once), (0, 1));
        assert_eq!(turnOfTime(&mut t), 2);
        assert_eq!(t.log, [(1, 0), (0, 1)], "the youngest first");
        assert_eq!(turnOfTime(&mut t), 1);
        assert_eq!(aeDeleteTimeEvent(&mut t.el, once), Err(()));
        assert_eq!(aeDeleteTimeEvent(&mut t.el, again), Ok(()));
        assert_eq!(turnOfTime(&mut t), 0);
        assert_eq!(usUntilEarliestTimer(&t.el), None);
    }

    #[test]
    fn the_loop_sleeps_until_the_next_one_is_due_and_no_longer() {
        let mut t = Test::new();
        aeCreateTimeEvent(&mut t.el, 500_000, ticks, 0);
        aeCreateTimeEvent(&mut t.el, 30, ticks, 400_001);
        let start = getMonotonicUs();
        assert_eq!(aeProcessEvents(&mut t, AE_ALL_EVENTS), 1);
        let slept = getMonotonicUs() - start;
        assert!((29_000..300_000_000).contains(&slept), "{slept} us");
        assert_eq!(t.log, [(1, 400_001)]);
        let next = usUntilEarliestTimer(&t.el).unwrap();
        assert!(next > 300_000_000 && next <= 400_000_000, "{next} us");
        assert_eq!(aeProcessEvents(&mut t, AE_ALL_EVENTS | AE_DONT_WAIT), 0);
        assert_eq!(aeProcessEvents(&mut t, 0), 0);
        aeSetDontWait(&mut t.el, true);
        assert_eq!(aeProcessEvents(&mut t, AE_ALL_EVENTS), 0);
        aeSetDontWait(&mut t.el, false);
        aeCreateTimeEvent(&mut t.el, 5, ticks, 0);
        usleep(10_000);
        assert_eq!(aeProcessEvents(&mut t, AE_ALL_EVENTS), 1);
    }

    fn deletesAll(t: &mut Test, id: i64, _: u64) -> i64 {
        t.log.push((id as RawFd, 0));
        for other in 0..4 {
            let _ = aeDeleteTimeEvent(&mut t.el, other);
        }
        0
    }

    fn breeds(t: &mut Test, id: i64, _: u64) -> i64 {
        t.log.push((id as RawFd, 0));
        aeCreateTimeEvent(&mut t.el, 0, breeds, 0);
        AE_NOMORE
    }

    fn nestsInTime(t: &mut Test, id: i64, _: u64) -> i64 {
        t.log.push((id as RawFd, 0));
        let _ = aeDeleteTimeEvent(&mut t.el, id);
        aeProcessEvents(t, AE_TIME_EVENTS | AE_DONT_WAIT);
        0
    }

    #[test]
    fn time_events_may_be_removed_and_made_by_their_handlers() {
        let mut t = Test::new();
        for _ in 0..4 {
            aeCreateTimeEvent(&mut t.el, 0, deletesAll, 0);
        }
        assert_eq!(turnOfTime(&mut t), 1);
        assert_eq!((t.log.as_slice(), t.el.timeEvents.len()), (&[(3, 0)][..], 0));

        aeCreateTimeEvent(&mut t.el, 0, breeds, 0);
        for generation in 4..8 {
            assert_eq!(turnOfTime(&mut t), 1, "the child waits for the next turn");
            assert_eq!(t.log, [(generation, 0)]);
        }
        aeDeleteTimeEvent(&mut t.el, 8).unwrap();

        aeCreateTimeEvent(&mut t.el, 0, ticks, 0);
        aeCreateTimeEvent(&mut t.el, 0, nestsInTime, 0);
        assert_eq!(turnOfTime(&mut t), 1);
        assert_eq!(t.log, [(10, 0), (9, 0)], "the nested turn took the other one over");
        assert_eq!(t.el.timeEvents.len(), 0);
        assert_eq!(after(5, i64::MIN), 0);
        assert_eq!(after(u64::MAX, i64::MAX), u64::MAX);
    }

    fn stops(t: &mut Test, _: i64, _: u64) -> i64 {
        t.got.push(b'T');
        aeStop(&mut t.el);
        AE_NOMORE
    }

    #[test]
    fn aeMain_calls_around_the_sleep_and_stops() {
        let mut t = Test::new();
        aeSetBeforeSleepProc(&mut t.el, Some(|t: &mut Test| t.got.push(b'b')));
        aeSetAfterSleepProc(&mut t.el, Some(|t: &mut Test| t.got.push(b'a')));
        aeCreateTimeEvent(&mut t.el, 0, stops, 0);
        aeMain(&mut t);
        assert_eq!(t.got, b"baT");
        t.turn();
        assert_eq!(t.got, b"baT", "only when asked for");
    }

    #[test]
    fn the_sleep_can_be_limited_once() {
        let mut t = Test::new();
        aeSetBeforeSleepProc(
            &mut t.el,
            Some(|t: &mut Test| aeLimitSleep(&mut t.el, Duration::from_millis(1))),
        );
        // Without a limit this would sleep for ever.
        assert_eq!(aeProcessEvents(&mut t, AE_FILE_EVENTS | AE_CALL_BEFORE_SLEEP), 0);
        assert_eq!(t.el.sleepLimit, None);
    }

    /// Many sockets, a random peer, and a naive count of the bytes that must arrive.
    #[test]
    fn random_traffic_arrives_complete() {
        let seed = crate::sys::random::randomU64() | 1;
        let mut x = seed;
        let mut random = |n: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x % n
        };
        let mut t = Test::new();
        let mut pairs: Vec<(RawFd, RawFd)> = vec![];
        let mut sent = 0usize;
        for step in 0..20_000 {
            match random(20) {
                0 if pairs.len() < 30 => {
                    let p = pair();
                    t.create(
                        p.0,
                        AE_READABLE,
                        if step % 2 == 0 { reads::<3> } else { reads::<64> },
                    );
                    pairs.push(p);
                }
                1 if !pairs.is_empty() => {
                    // All that is under way must arrive before the close.
                    while t.turn() > 0 {}
                    let (a, b) = pairs.swap_remove(random(pairs.len() as u64) as usize);
                    t.shut(a);
                    close(b);
                }
                2 if !pairs.is_empty() => {
                    let fd = pairs[random(pairs.len() as u64) as usize].0;
                    aeDeleteFileEvent(&mut t.el, fd, AE_READABLE);
                    t.turn();
                    t.create(fd, AE_READABLE, reads::<5>);
                }
                3..10 if !pairs.is_empty() => {
                    let fd = pairs[random(pairs.len() as u64) as usize].1;
                    sent += write(fd, &[1; 200][..1 + random(199) as usize]).unwrap_or(0);
                }
                _ => {
                    t.turn();
                }
            }
        }
        while t.turn() > 0 {}
        assert_eq!(t.got.len(), sent, "seed {seed}");
        for (a, b) in pairs {
            t.shut(a);
            close(b);
        }
    }
}
