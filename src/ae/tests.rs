use super::*;
use crate::anet::{FD_TO_SOCK_NAME, anetFdToString};
use crate::anet::{anetNonBlock, anetTcpAccept, anetTcpNonBlockConnect, anetTcpServer};
use crate::sys::clock::usleep;
use crate::sys::fork::{Fork, exitFromChild, fork, wait_for_child};
use crate::sys::socket::{
    close, read, set_linger_zero, set_send_buffer, shutdown_write, socketpair, write,
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
        self.el.forget_fd(fd);
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
        shutdown_write(b).unwrap();
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
    set_linger_zero(c).unwrap();
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
    assert!(crate::sys::socket::take_socket_error(c).is_err());
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
    assert_eq!(t.el.queue.len() - t.el.front, 2);
    t.el.forget_fd(victim);
    crate::sys::file::dup2(c, victim).unwrap();
    t.create(victim, AE_READABLE, noted);
    t.el.turnEnd = t.el.head + 2;
    while let Some(fd) = t.el.dequeue() {
        process_file_event(&mut t, fd);
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
    assert_eq!(wait_for_child(pid).unwrap().exitcode, 0);
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
    assert_eq!(wait_for_child(pid).unwrap().exitcode, 0);
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

fn deletes_others(t: &mut Test, fd: RawFd, _: u64, mask: i32) {
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
        t.create(a, AE_READABLE | AE_WRITABLE, deletes_others);
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
fn nests_and_shuts(t: &mut Test, fd: RawFd, _: u64, mask: i32) {
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
    t.create(pairs[0].0, AE_READABLE, nests_and_shuts);
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
    set_send_buffer(a, 4096).unwrap();
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
fn reads_ahead(t: &mut Test, fd: RawFd, _: u64, mask: i32) {
    t.log.push((fd, mask));
    if t.others.contains(&fd) {
        return; // was read ahead: only executes
    }
    let (mut at, mut batch) = (0, vec![fd]);
    while let Some((next, clientData)) = t.el.next_fired(&mut at, reads_ahead) {
        assert_eq!(clientData, next as u64 * 10);
        t.el.mark_preread(next);
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
        t.create(a, AE_READABLE, if i == 3 { noted } else { reads_ahead });
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
    t.el.turnEnd = t.el.head + (t.el.queue.len() - t.el.front) as u64;
    let first = t.el.dequeue().unwrap();
    let second = t.el.next_fired(&mut 0, reads_ahead).unwrap().0;
    process_file_event(&mut t, first);
    aeDeleteFileEvent(&mut t.el, second, AE_READABLE);
    assert_eq!(t.turn(), 0);
    t.create(second, AE_READABLE, reads_ahead);
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
    t.el.forget_fd(-1);
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
        t.el.leave_epoll_to_parent();
        let ctls = t.el.stat_ctls;
        t.shut(a);
        let _ = aeCreateFileEvent(&mut t.el, b, AE_READABLE, noted, 0);
        exitFromChild((t.el.stat_ctls - ctls) as i32);
    };
    assert_eq!(wait_for_child(pid).unwrap().exitcode, 0);
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
    wait_for_child(pid).unwrap();
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
    assert_eq!(wait_for_child(pid).unwrap().exitcode, 0);
}

// --------------------------- Time events ---------------------------

fn turn_of_time(t: &mut Test) -> i32 {
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
    assert_eq!(turn_of_time(&mut t), 2);
    assert_eq!(t.log, [(1, 0), (0, 1)], "the youngest first");
    assert_eq!(turn_of_time(&mut t), 1);
    assert_eq!(aeDeleteTimeEvent(&mut t.el, once), Err(()));
    assert_eq!(aeDeleteTimeEvent(&mut t.el, again), Ok(()));
    assert_eq!(turn_of_time(&mut t), 0);
    assert_eq!(usUntilEarliestTimer(&t.el, None), None);
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
    let next = usUntilEarliestTimer(&t.el, None).unwrap();
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

fn deletes_all(t: &mut Test, id: i64, _: u64) -> i64 {
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

fn nests_in_time(t: &mut Test, id: i64, _: u64) -> i64 {
    t.log.push((id as RawFd, 0));
    let _ = aeDeleteTimeEvent(&mut t.el, id);
    aeProcessEvents(t, AE_TIME_EVENTS | AE_DONT_WAIT);
    0
}

#[test]
fn time_events_may_be_removed_and_made_by_their_handlers() {
    let mut t = Test::new();
    for _ in 0..4 {
        aeCreateTimeEvent(&mut t.el, 0, deletes_all, 0);
    }
    assert_eq!(turn_of_time(&mut t), 1);
    assert_eq!((t.log.as_slice(), t.el.timeEvents.len()), (&[(3, 0)][..], 0));

    aeCreateTimeEvent(&mut t.el, 0, breeds, 0);
    for generation in 4..8 {
        assert_eq!(turn_of_time(&mut t), 1, "the child waits for the next turn");
        assert_eq!(t.log, [(generation, 0)]);
    }
    aeDeleteTimeEvent(&mut t.el, 8).unwrap();

    aeCreateTimeEvent(&mut t.el, 0, ticks, 0);
    aeCreateTimeEvent(&mut t.el, 0, nests_in_time, 0);
    assert_eq!(turn_of_time(&mut t), 1);
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
        Some(|t: &mut Test| limit_sleep(&mut t.el, Duration::from_millis(1))),
    );
    // Without a limit this would sleep for ever.
    assert_eq!(aeProcessEvents(&mut t, AE_FILE_EVENTS | AE_CALL_BEFORE_SLEEP), 0);
    assert_eq!(t.el.sleepLimit, None);
}

/// Many sockets, a random peer, and a naive count of the bytes that must arrive.
#[test]
fn random_traffic_arrives_complete() {
    let seed = crate::sys::random::random_u64() | 1;
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
                t.create(p.0, AE_READABLE, if step % 2 == 0 { reads::<3> } else { reads::<64> });
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
