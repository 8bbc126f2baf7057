//! `bio.c`: the only other threads of the process. They close files, fsync, and free memory or move
//! it to huge pages, which all may take long, and never see the `Server`.
//!
//! Read first: `bioProcessBackgroundJobs`. One thread and one queue per type of job, jobs in order.
//! Differs: a job to free memory owns what it frees and frees it by being dropped, where the C
//! passes a function and its arguments. The threads live inside `Bio`, a field of the server, which
//! the forked child inherits without its threads: it does its jobs itself.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // the one file with threads

use std::any::Any;
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::log::LL_WARNING;
use crate::server_h::CStatus;
use crate::serverLog;
use crate::sys::errno::{errno_of, strerror};
use crate::sys::file;
use crate::sys::huge::Piece;
use crate::sys::proc::setcpuaffinity;
use crate::sys::socket;

/// The types of job.
pub const BIO_CLOSE_FILE: usize = 0;
pub const BIO_AOF_FSYNC: usize = 1;
pub const BIO_LAZY_FREE: usize = 2;
pub const BIO_NUM_OPS: usize = 3;

/// The stack of each thread, in bytes: it does what the main thread does, and needs as much.
const REDIS_THREAD_STACK_SIZE: usize = 4 * 1024 * 1024;

/// A job of a thread.
enum bio_job {
    Close(RawFd),
    Fsync(RawFd),
    /// Drop the value, then count `objects` as freed.
    Free {
        garbage: Box<dyn Any + Send>,
        objects: usize,
    },
    /// Move a piece of a large table to huge pages.
    // C: has no such job.
    Collapse(Piece),
}

impl bio_job {
    fn run(self, results: &Results) {
        match self {
            bio_job::Close(fd) => socket::close(fd),
            bio_job::Fsync(fd) => bio_fsync(fd, &results.fsync_errno),
            bio_job::Free { garbage, objects } => {
                drop(garbage);
                results.objects_left.fetch_sub(objects, Ordering::Relaxed);
                results.objects_freed.fetch_add(objects, Ordering::Relaxed);
            }
            bio_job::Collapse(piece) => piece.collapse(),
        }
    }
}

/// A queue of jobs and what its two sides wait for.
#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    newjob_cond: Condvar,
    step_cond: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<bio_job>,
    /// The number of jobs that are waiting or running.
    pending: usize,
}

impl Queue {
    /// Locks the queue. A thread that panicked aborts the process, so a poisoned lock is never
    /// seen.
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The background threads, seen from the main one.
#[derive(Default)]
pub struct Bio {
    /// Whether this process is a forked child, which has no threads. Their locks may be locked for
    /// ever.
    in_forked_child: bool,
    queues: [Arc<Queue>; BIO_NUM_OPS],
    /// Objects handed over to be freed, and freed so far (`lazyfree.rs`).
    lazyfree_objects: Arc<AtomicUsize>,
    lazyfreed_objects: Arc<AtomicUsize>,
    /// The `errno` of the last fsync, 0 if it went well (the C's `aof_bio_fsync_status` and
    /// `aof_bio_fsync_errno`).
    aof_bio_fsync_errno: Arc<AtomicI32>,
}

impl Bio {
    /// Starts the threads, on these processors if there is a list (`bio_cpulist`). Without them the
    /// server cannot run: ends the process if one cannot be started.
    pub fn bioInit(&mut self, cpulist: Option<&[u8]>) {
        let titles = ["bio_close_file", "bio_aof_fsync", "bio_lazy_free"];
        for (queue, title) in self.queues.iter().zip(titles) {
            let queue = queue.clone();
            let cpulist = cpulist.map(<[u8]>::to_vec);
            let results = self.results();
            let started = thread::Builder::new()
                .name(title.to_string())
                .stack_size(REDIS_THREAD_STACK_SIZE)
                .spawn(move || {
                    if let Some(cpulist) = cpulist {
                        setcpuaffinity(&cpulist);
                    }
                    bioProcessBackgroundJobs(&queue, &results);
                });
            if started.is_err() {
                serverLog!(LL_WARNING, "Fatal: Can't initialize Background Jobs.");
                std::process::exit(1);
            }
        }
    }

    /// Tells that this is a forked child: jobs are done at once from here on, by who submits them.
    pub fn leave_threads_to_parent(&mut self) {
        self.in_forked_child = true;
    }

    fn bioSubmitJob(&self, type_: usize, job: bio_job) {
        if self.in_forked_child {
            job.run(&self.results());
            return;
        }
        let queue = &self.queues[type_];
        let mut jobs = queue.lock();
        jobs.waiting.push_back(job);
        jobs.pending += 1;
        queue.newjob_cond.notify_one();
    }

    /// What the threads tell the main one.
    fn results(&self) -> Results {
        Results {
            objects_left: self.lazyfree_objects.clone(),
            objects_freed: self.lazyfreed_objects.clone(),
            fsync_errno: self.aof_bio_fsync_errno.clone(),
        }
    }

    /// Queues `garbage`, which counts as `objects`, to be dropped by a thread.
    pub fn bioCreateLazyFreeJob(&self, garbage: Box<dyn Any + Send>, objects: usize) {
        self.lazyfree_objects.fetch_add(objects, Ordering::Relaxed);
        self.bioSubmitJob(BIO_LAZY_FREE, bio_job::Free { garbage, objects });
    }

    /// Queues a piece of a large table to be moved to huge pages, by the thread that frees memory.
    pub fn create_collapse_job(&self, piece: Piece) {
        self.bioSubmitJob(BIO_LAZY_FREE, bio_job::Collapse(piece));
    }

    /// Queues a file to be closed by a thread: the last close of an unlinked file frees its blocks,
    /// which takes long.
    pub fn bioCreateCloseJob(&self, fd: RawFd) {
        self.bioSubmitJob(BIO_CLOSE_FILE, bio_job::Close(fd));
    }

    /// Queues the append only file to be synced to the disk by a thread.
    pub fn bioCreateFsyncJob(&self, fd: RawFd) {
        self.bioSubmitJob(BIO_AOF_FSYNC, bio_job::Fsync(fd));
    }
}

/// Runs a thread: one job after the other, for ever.
fn bioProcessBackgroundJobs(queue: &Queue, results: &Results) {
    // The watchdog's signal is for the main thread alone.
    crate::sys::alloc::register_thread();
    crate::sys::signal::block_signal_in_thread(libc::SIGALRM);
    let mut jobs = queue.lock();
    loop {
        let Some(job) = jobs.waiting.pop_front() else {
            jobs = queue.newjob_cond.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        // The job is ours alone now: others may queue while we work.
        drop(jobs);
        job.run(results);
        jobs = queue.lock();
        jobs.pending -= 1;
        queue.step_cond.notify_all();
    }
}

impl Bio {
    /// Returns the number of jobs of a type that are waiting or running.
    pub fn bioPendingJobsOfType(&self, type_: usize) -> usize {
        if self.in_forked_child {
            return 0;
        }
        self.queues[type_].lock().pending
    }

    /// Waits until the next job of a type is done, if there is one. Returns how many are left.
    pub fn bioWaitStepOfType(&self, type_: usize) -> usize {
        if self.in_forked_child {
            return 0;
        }
        let queue = &self.queues[type_];
        let mut jobs = queue.lock();
        if jobs.pending != 0 {
            jobs = queue.step_cond.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
        jobs.pending
    }

    /// Tells whether the last fsync of the append only file went well.
    pub fn aof_bio_fsync_status(&self) -> CStatus {
        if self.aof_bio_fsync_errno() == 0 { CStatus::Ok } else { CStatus::Err }
    }

    /// Returns the `errno` of the last fsync, 0 if it went well.
    #[inline]
    pub fn aof_bio_fsync_errno(&self) -> i32 {
        self.aof_bio_fsync_errno.load(Ordering::Relaxed)
    }

    /// Forgets the error of the last fsync.
    pub fn reset_aof_bio_fsync_status(&self) {
        self.aof_bio_fsync_errno.store(0, Ordering::Relaxed);
    }

    /// Returns the number of objects handed over and not freed yet.
    pub fn lazyfree_objects(&self) -> usize {
        self.lazyfree_objects.load(Ordering::Relaxed)
    }

    /// Returns the number of objects freed by the thread so far.
    pub fn lazyfreed_objects(&self) -> usize {
        self.lazyfreed_objects.load(Ordering::Relaxed)
    }
}

/// The results of the threads for the main one.
struct Results {
    objects_left: Arc<AtomicUsize>,
    objects_freed: Arc<AtomicUsize>,
    fsync_errno: Arc<AtomicI32>,
}

/// Syncs a file. A failure is logged, but not again as long as it stays the same.
fn bio_fsync(fd: RawFd, fsync_errno: &AtomicI32) {
    let errno = file::redis_fsync(fd).map_or_else(|e| errno_of(&e), |()| 0);
    // A descriptor that was closed, and used again for a socket or a pipe, is no failed fsync.
    let errno = if errno == libc::EBADF || errno == libc::EINVAL { 0 } else { errno };
    let last = fsync_errno.swap(errno, Ordering::Relaxed);
    if errno != 0 && last == 0 {
        serverLog!(LL_WARNING, "Fail to fsync the AOF file: {}", strerror(errno));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_no_failed_fsync() {
        let errno = AtomicI32::new(0);
        // Closed, and used again for something else.
        for fd in [-1, crate::sys::pipe::pipe().unwrap().0] {
            bio_fsync(fd, &errno);
            assert_eq!(errno.load(Ordering::Relaxed), 0);
        }
        // A success ends a failure.
        errno.store(libc::EIO, Ordering::Relaxed);
        bio_fsync(-1, &errno);
        assert_eq!(errno.load(Ordering::Relaxed), 0);
    }

    /// Whoever holds the lock of a queue when the process forks holds it for ever in the child.
    #[test]
    fn a_forked_child_does_its_jobs_itself() {
        let mut bio = Bio::default();
        let locked = bio.queues[BIO_LAZY_FREE].clone();
        let _held = locked.lock();
        bio.leave_threads_to_parent();
        let witness = Arc::new(());
        bio.bioCreateLazyFreeJob(Box::new(witness.clone()), 7);
        assert_eq!(Arc::strong_count(&witness), 1);
        assert_eq!((bio.lazyfree_objects(), bio.lazyfreed_objects()), (0, 7));
        assert_eq!(bio.bioPendingJobsOfType(BIO_LAZY_FREE), 0);
        assert_eq!(bio.bioWaitStepOfType(BIO_LAZY_FREE), 0);
    }

    #[test]
    fn garbage_is_dropped_elsewhere_and_counted() {
        let mut bio = Bio::default();
        bio.bioInit(None);
        let witness = Arc::new(());
        bio.bioCreateLazyFreeJob(Box::new(witness.clone()), 7);
        while bio.bioWaitStepOfType(BIO_LAZY_FREE) != 0 {}
        assert_eq!(Arc::strong_count(&witness), 1);
        assert_eq!((bio.lazyfree_objects(), bio.lazyfreed_objects()), (0, 7));
        assert_eq!(bio.bioPendingJobsOfType(BIO_LAZY_FREE), 0);
    }
}
