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
//! - before `close(2)`, call [`EventLoop::forget_fd`]: [`aeDeleteFileEvent`] only clears the mask;
//! - in a forked child, call [`EventLoop::leave_epoll_to_parent`] first: the epoll set is shared
//!   with the parent.
//!
//! Differs: the loop is one value inside the state that the handlers get (`AeState`), so that a
//! handler reaches everything through one exclusive reference. Time events have no finalizer (the
//! C's server never gives one). A nested [`aeProcessEvents`] continues the list of the turn around
//! it, where the C overwrites it.

use crate::sys::clock::{getMonotonicUs, monotime};
use crate::sys::socket::poll_one_fd;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::mem::take;
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

/// The value that a time handler returns to be removed.
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

/// The state that the handlers of an event loop get: a value that holds the loop.
pub trait AeState: Sized {
    /// Returns the loop, which must always be the same one.
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
/// Counts as readable until its turn has come, whatever `drained` says; see `mark_preread`.
const PREREAD: u8 = 32;

/// The state of one descriptor.
struct aeFileEvent<S> {
    /// The events that have handlers, and the barrier: `AE_READABLE`, `AE_WRITABLE`, `AE_BARRIER`.
    mask: u8,
    /// The events that epoll watches: at least those of the mask, and those of earlier masks.
    registered: u8,
    /// The events that the kernel has reported, less those that were drained since.
    ready: u8,
    /// True if the descriptor is in the queue of ready ones. Survives `forget_fd`, since the queue
    /// is not searched.
    queued: bool,
    /// The number of closings, by which a reused number is told from the descriptor that was
    /// reported.
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

    /// Returns the ready bits as a handler sees them.
    #[inline(always)]
    fn fired(&self) -> u8 {
        (self.ready | ((self.ready & PREREAD) / (PREREAD / READABLE))) & RW
    }

    /// Tells whether the descriptor is ready for something that its mask wants.
    #[inline(always)]
    fn wants_turn(&self) -> bool {
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
    /// The state of each descriptor, by number; grows as they come, up to `setsize`.
    events: Vec<aeFileEvent<S>>,
    /// Ready descriptors, oldest first, each at most once. Those before `front` have left the queue;
    /// a poll makes room of them.
    queue: Vec<RawFd>,
    front: usize,
    /// How many descriptors ever left the queue: the position of its front. Turns know their end by
    /// position, which stays true when a nested turn takes some of their descriptors.
    head: u64,
    /// Position where the current turn ends. What is queued during a turn belongs to the next.
    turnEnd: u64,
    /// Descriptors whose handlers are on the stack, innermost last.
    dispatching: Vec<RawFd>,
    /// The time events, oldest first, so by rising id.
    timeEvents: Vec<aeTimeEvent<S>>,
    stop: bool,
    poll: Poll,
    polled: Events,
    beforesleep: Option<aeBeforeSleepProc<S>>,
    aftersleep: Option<aeBeforeSleepProc<S>>,
    flags: i32,
    /// The longest that the coming sleep may take: see [`limit_sleep`].
    sleepLimit: Option<Duration>,
    /// In a forked child: the epoll set is the parent's.
    in_forked_child: bool,
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
        queue: Vec::new(),
        front: 0,
        head: 0,
        turnEnd: 0,
        dispatching: Vec::new(),
        timeEvents: Vec::new(),
        stop: false,
        poll: Poll::new()?,
        polled: events_for(setsize),
        beforesleep: None,
        aftersleep: None,
        flags: 0,
        sleepLimit: None,
        in_forked_child: false,
        stat_polls: 0,
        stat_ctls: 0,
    })
}

/// Returns the number that descriptors must be below.
pub fn aeGetSetSize<S>(el: &EventLoop<S>) -> i32 {
    el.setsize
}

/// Sets whether the coming turns wait for events: not with `noWait`.
pub fn aeSetDontWait<S>(el: &mut EventLoop<S>, noWait: bool) {
    if noWait {
        el.flags |= AE_DONT_WAIT;
    } else {
        el.flags &= !AE_DONT_WAIT;
    }
}

/// Lets the sleep that is about to begin take no longer than `limit`, whatever the time events say.
/// For the function that runs before the sleep, and for that one sleep.
///
/// C: has no such thing. A deadline that is no time event waits there for the next one, the cron,
/// up to 1000/hz ms late.
pub fn limit_sleep<S>(el: &mut EventLoop<S>, limit: Duration) {
    el.sleepLimit = Some(limit);
}

/// Makes room for the events that one poll reports. Of more than this the rest is reported by the
/// next poll.
fn events_for(setsize: i32) -> Events {
    Events::with_capacity(setsize.clamp(1, 1 << 16) as usize)
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
    el.polled = events_for(setsize);
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
    el.enqueue_if_wanted(fd);
    Ok(())
}

/// Makes sure that epoll watches `fd` for `mask`. Tells the kernel only what it doesn't know.
fn aeApiAddEvent<S>(el: &mut EventLoop<S>, fd: RawFd, mask: u8) -> io::Result<()> {
    let fe = &mut el.events[fd as usize];
    let wanted = mask & RW;
    // A descriptor that comes back from having no handler at all is told again even if it seems to
    // be known: should someone have closed it without `forget_fd`, the number now means another
    // file, which epoll doesn't watch.
    let again = fe.mask & RW == 0 && fe.registered != 0 && wanted != 0;
    if (wanted & !fe.registered == 0 && !again) || el.in_forked_child {
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
/// C: the kernel is told at once, so a close may follow; here [`EventLoop::forget_fd`] comes before
/// it.
pub fn aeDeleteFileEvent<S>(el: &mut EventLoop<S>, fd: RawFd, mask: i32) {
    let Some(fe) = el.event(fd) else { return };
    let mut mask = mask as u8;
    if mask & WRITABLE != 0 {
        mask |= BARRIER;
    }
    fe.mask &= !mask;
    if fe.mask == 0 && fd == el.maxfd {
        el.lower_maxfd();
    }
}

/// Returns the events for which `fd` has handlers.
pub fn aeGetFileEvents<S>(el: &EventLoop<S>, fd: RawFd) -> i32 {
    usize::try_from(fd).ok().and_then(|i| el.events.get(i)).map_or(AE_NONE, |fe| fe.mask.into())
}

impl<S> EventLoop<S> {
    fn event(&mut self, fd: RawFd) -> Option<&mut aeFileEvent<S>> {
        self.events.get_mut(usize::try_from(fd).ok()?)
    }

    fn lower_maxfd(&mut self) {
        let below = &self.events[..self.maxfd as usize];
        self.maxfd = below.iter().rposition(|fe| fe.mask != 0).map_or(-1, |i| i as RawFd);
    }

    // ANCHOR: drained
    /// Notes that the I/O code came up short on `fd`: there is nothing more to do for `mask` until
    /// the kernel reports again.
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
    // ANCHOR_END: drained

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
    /// Events that were reported of `fd` are void from here on, also in the turn that is being
    /// dispatched.
    pub fn forget_fd(&mut self, fd: RawFd) {
        let Some(fe) = self.event(fd) else { return };
        let registered = fe.registered != 0;
        *fe = aeFileEvent {
            queued: fe.queued,
            generation: fe.generation.wrapping_add(1),
            ..aeFileEvent::EMPTY
        };
        if fd == self.maxfd {
            self.lower_maxfd();
        }
        if registered && !self.in_forked_child {
            self.stat_ctls += 1;
            // Fails when `fd` is closed already; then the kernel has forgotten it by itself.
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
    }

    /// Makes the loop leave the epoll set alone from here on; to be called first in a forked child.
    /// The set is the parent's: a child that took a descriptor out would take it out for the
    /// parent.
    pub fn leave_epoll_to_parent(&mut self) {
        self.in_forked_child = true;
    }

    /// Looks ahead in the current turn: the next descriptor after position `*at` whose read handler
    /// is `proc` and will be called in this turn, with its `clientData`; those marked already are
    /// passed over. Start with `*at` 0; `None` ends it.
    ///
    /// Made for a read handler that wants to read several clients, prefetch what their commands
    /// touch, and only then execute. It looks ahead, reads each descriptor that it wants to, tells
    /// the loop so by [`EventLoop::mark_preread`], and executes its *own* client. The others have
    /// their turn as usual, and find that their bytes are read already. So killing a client, a
    /// nested turn or a new handler in between need no care.
    pub fn next_fired(&self, at: &mut usize, proc: aeFileProc<S>) -> Option<(RawFd, u64)> {
        let end = usize::try_from(self.turnEnd.saturating_sub(self.head)).unwrap_or(usize::MAX);
        while *at < end {
            let fd = *self.queue.get(self.front + *at)?;
            *at += 1;
            let fe = &self.events[fd as usize];
            if fe.ready & PREREAD == 0
                && fe.fired() & fe.mask & READABLE != 0
                && fe.rfileProc.is_some_and(|rfileProc| fn_addr_eq(rfileProc, proc))
            {
                return Some((fd, fe.clientData));
            }
        }
        None
    }

    /// Returns the descriptors that have their turn now, with what they are ready for and want.
    pub fn due_in_turn(&self) -> Vec<(RawFd, i32)> {
        let count = usize::try_from(self.turnEnd.saturating_sub(self.head)).unwrap_or(usize::MAX);
        let due = self.queue[self.front..].iter().take(count).map(|&fd| {
            let fe = &self.events[fd as usize];
            (fd, i32::from(fe.fired() & fe.mask))
        });
        due.filter(|&(_, mask)| mask != 0).collect()
    }

    /// Returns the handlers of the time events that are due.
    pub fn due_timers(&self) -> Vec<aeTimeProc<S>> {
        let now = getMonotonicUs();
        self.timeEvents.iter().filter(|te| te.when <= now).map(|te| te.timeProc).collect()
    }

    /// Puts the time handler `to` in the place of `from`.
    pub fn swap_time_proc(&mut self, from: aeTimeProc<S>, to: aeTimeProc<S>) {
        for te in &mut self.timeEvents {
            if fn_addr_eq(te.timeProc, from) {
                te.timeProc = to;
            }
        }
    }

    /// Notes that `fd`, got from [`EventLoop::next_fired`], was read ahead of its turn: it counts
    /// as readable until that turn has come, even when drained. If its handler is taken away
    /// before, then until it has one again.
    pub fn mark_preread(&mut self, fd: RawFd) {
        if let Some(fe) = self.event(fd) {
            fe.ready |= PREREAD;
        }
    }

    /// Puts `fd` at the end of the queue when it is ready for something wanted and not queued yet.
    #[inline]
    fn enqueue_if_wanted(&mut self, fd: RawFd) {
        let fe = &mut self.events[fd as usize];
        if !fe.queued && fe.wants_turn() {
            fe.queued = true;
            self.queue.push(fd);
        }
    }

    /// Takes the oldest descriptor from the queue.
    #[inline]
    fn dequeue(&mut self) -> Option<RawFd> {
        let fd = *self.queue.get(self.front)?;
        self.front += 1;
        self.head += 1;
        self.events[fd as usize].queued = false;
        Some(fd)
    }

    /// Tells whether a descriptor in the queue is still due. Drops those at its front that are not:
    /// a needless entry would cost the next turn its sleep.
    fn any_wants_turn(&mut self) -> bool {
        while let Some(&fd) = self.queue.get(self.front) {
            if self.events[fd as usize].wants_turn() {
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

/// Returns the time `milliseconds` after `now`.
fn after(now: monotime, milliseconds: i64) -> monotime {
    now.saturating_add_signed(milliseconds.saturating_mul(1000))
}

/// Removes the time event `id`, also from within its own handler. `Err`: there is none.
pub fn aeDeleteTimeEvent<S>(el: &mut EventLoop<S>, id: i64) -> Result<(), ()> {
    let i = el.timeEvents.binary_search_by_key(&id, |te| te.id).map_err(|_| ())?;
    el.timeEvents.remove(i);
    Ok(())
}

/// Returns the microseconds until the first time event is due, 0 if one is; `None` if there are
/// none. They are few, so they are not sorted. `now` is the time, if it was read just now.
fn usUntilEarliestTimer<S>(el: &EventLoop<S>, now: Option<monotime>) -> Option<u64> {
    let earliest = el.timeEvents.iter().map(|te| te.when).min()?;
    Some(earliest.saturating_sub(now.unwrap_or_else(getMonotonicUs)))
}

/// Calls the time handlers that are due, the youngest event first as in the C. Returns how many, and
/// the time at the end.
fn processTimeEvents<S: AeState>(state: &mut S) -> (i32, monotime) {
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
    (processed, now)
}

/// Runs one turn of the loop: waits for an event, calls the handlers of all descriptors that are
/// ready, and then the time handlers that are due. Returns how many events were processed.
///
/// `flags` say what to process ([`AE_FILE_EVENTS`], [`AE_TIME_EVENTS`]), whether to wait
/// ([`AE_DONT_WAIT`]), and which handlers around the sleep to call. A handler may run a nested
/// turn: that takes over what is left of this one. In one turn no descriptor has two turns, and all
/// get one before any gets another.
pub fn aeProcessEvents<S: AeState>(state: &mut S, flags: i32) -> i32 {
    process_events(state, flags, None).0
}

/// Does what `aeProcessEvents` says. `now` is the time, if it was read just now; the time at the end
/// is returned too, if it was read there.
fn process_events<S: AeState>(
    state: &mut S,
    flags: i32,
    now: Option<monotime>,
) -> (i32, Option<monotime>) {
    let mut processed = 0;
    if flags & AE_ALL_EVENTS == 0 {
        return (0, None);
    }

    // Even without descriptors: to sleep until a time event is due.
    let el = state.el();
    if el.maxfd != -1 || (flags & AE_TIME_EVENTS != 0 && flags & AE_DONT_WAIT == 0) {
        let mut timeout = if flags & AE_DONT_WAIT != 0 {
            Some(Duration::ZERO)
        } else if flags & AE_TIME_EVENTS != 0 {
            usUntilEarliestTimer(el, now).map(Duration::from_micros)
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
        let queued = el.queue.len() - el.front;
        let outerEnd = std::mem::replace(&mut el.turnEnd, el.head + queued as u64);
        let turnEnd = el.turnEnd;
        if flags & AE_CALL_AFTER_SLEEP != 0
            && let Some(aftersleep) = el.aftersleep
        {
            aftersleep(state);
        }

        while state.el().head < turnEnd {
            let Some(fd) = state.el().dequeue() else { break };
            processed += process_file_event(state, fd);
        }
        state.el().turnEnd = outerEnd;
    }

    if flags & AE_TIME_EVENTS == 0 {
        return (processed, None);
    }
    let (timers, now) = processTimeEvents(state);
    (processed + timers, Some(now))
}

/// Asks the kernel for events, for at most `timeout` (`None`: as long as it takes), and queues the
/// descriptors that are due. It does not wait while one is due already.
fn aeApiPoll<S>(el: &mut EventLoop<S>, timeout: Option<Duration>) {
    assert!(!el.in_forked_child, "the event loop belongs to the parent");
    // A nested turn: who is being served further up the stack is ready as long as not drained.
    for i in 0..el.dispatching.len() {
        el.enqueue_if_wanted(el.dispatching[i]);
    }
    let timeout = if el.any_wants_turn() { Some(Duration::ZERO) } else { timeout };
    el.queue.drain(..take(&mut el.front));

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
        if !fe.queued && fe.wants_turn() {
            fe.queued = true;
            el.queue.push(fd as RawFd);
        }
    }
}

/// Calls the handlers of `fd` for what it is ready for. Returns 1, or 0 when nothing (any more) is
/// due.
fn process_file_event<S: AeState>(state: &mut S, fd: RawFd) -> i32 {
    let el = state.el();
    let i = fd as usize;
    let fe = el.events[i];
    let due = fe.fired();
    if due & fe.mask == 0 {
        return 0;
    }
    // This is the turn it was read ahead for.
    el.events[i].ready &= !PREREAD;
    el.dispatching.push(fd);

    // Reading comes first, so that the reply to what is read may leave at once; with AE_BARRIER it
    // comes last.
    let invert = fe.mask & BARRIER != 0;
    let mut fired = false;
    if !invert
        && fe.mask & due & READABLE != 0
        && let Some(rfileProc) = fe.rfileProc
    {
        rfileProc(state, fd, fe.clientData, due.into());
        fired = true;
    }

    // A handler may change, remove or close anything. So what the next one needs is read anew, and
    // is nothing if the number now means another file.
    if state.el().events[i].mask & WRITABLE != 0 || invert {
        call_write_handler(state, fd, &fe, fired);
    }

    let el = state.el();
    el.dispatching.pop();
    el.enqueue_if_wanted(fd);
    1
}

/// Calls the write handler of `fd`, and behind it, with AE_BARRIER, the read handler, as far as they
/// are due. `fe` is what the descriptor was when its turn began, and `fired` tells whether the read
/// handler was called.
fn call_write_handler<S: AeState>(state: &mut S, fd: RawFd, fe: &aeFileEvent<S>, mut fired: bool) {
    let i = fd as usize;
    let invert = fe.mask & BARRIER != 0;
    let preread = if fe.ready & PREREAD != 0 { READABLE } else { 0 };
    let refresh = |state: &mut S| {
        let now = state.el().events[i];
        let mask = if now.generation == fe.generation { now.fired() | preread } else { 0 };
        (now, mask)
    };

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
    let revents = poll_one_fd(fd, events, milliseconds)?;
    let mut retmask = 0;
    if revents & libc::POLLIN != 0 {
        retmask |= AE_READABLE;
    }
    if revents & (libc::POLLOUT | libc::POLLERR | libc::POLLHUP) != 0 {
        retmask |= AE_WRITABLE;
    }
    Ok(retmask)
}

// ANCHOR: aeMain
/// Runs the loop until a handler calls [`aeStop`].
pub fn aeMain<S: AeState>(state: &mut S) {
    state.el().stop = false;
    // The time at the end of one turn is that at the begin of the next.
    let mut now = None;
    while !state.el().stop {
        let flags = AE_ALL_EVENTS | AE_CALL_BEFORE_SLEEP | AE_CALL_AFTER_SLEEP;
        (_, now) = process_events(state, flags, now);
    }
}
// ANCHOR_END: aeMain

/// Returns the name of the kernel's interface, for INFO (`multiplexing_api`).
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
mod tests;
