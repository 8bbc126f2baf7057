//! Clocks, and the local time of log lines (`monotonic.c`, `localtime.c`, `ustime`/`mstime` of
//! `server.c`).
//!
//! Differs: the monotonic clock is always `CLOCK_MONOTONIC`, never the processor's counter, which
//! the C uses only when built to.
#![allow(unsafe_code)] // clock_gettime, tzset and localtime_r fill structures of ours.

use std::sync::OnceLock;

/// Microseconds on a clock that no one can set.
pub type monotime = u64;

/// Reads `clock` as (seconds, nanoseconds).
fn now(clock: libc::clockid_t) -> (i64, i64) {
    #[cfg(test)]
    if clock == libc::CLOCK_REALTIME {
        let (sec, nsec) = read(clock);
        return (sec + WALL_CLOCK_OFFSET.get(), nsec);
    }
    #[cfg(test)]
    if clock == libc::CLOCK_MONOTONIC {
        let (sec, nsec) = read(clock);
        return (sec + TIME_PASSED.get(), nsec);
    }
    read(clock)
}

#[cfg(test)]
thread_local! {
    /// By how many seconds a test has set the wall clock of its thread.
    static WALL_CLOCK_OFFSET: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
    /// How many seconds a test has let its thread's monotonic clock jump ahead.
    static TIME_PASSED: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

/// Sets the wall clock, for this thread and its test: forward, or back.
#[cfg(test)]
pub fn set_wall_clock(seconds: i64) {
    WALL_CLOCK_OFFSET.set(WALL_CLOCK_OFFSET.get() + seconds);
}

/// Lets time pass on the clock that no one can set, for this thread and its test.
#[cfg(test)]
pub fn pass_time(seconds: i64) {
    TIME_PASSED.set(TIME_PASSED.get() + seconds);
}

fn read(clock: libc::clockid_t) -> (i64, i64) {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid place for the answer; the clocks asked for exist on every Linux, so
    // the call cannot fail, and if it did, zeros would be read.
    unsafe { libc::clock_gettime(clock, &mut ts) };
    (ts.tv_sec, ts.tv_nsec)
}

/// Returns the Unix time in microseconds.
#[inline]
pub fn ustime() -> i64 {
    let (sec, nsec) = now(libc::CLOCK_REALTIME);
    sec * 1_000_000 + nsec / 1000
}

/// Returns the Unix time in milliseconds.
#[inline]
pub fn mstime() -> i64 {
    ustime() / 1000
}

/// Returns the microseconds since some fixed moment (the boot). Only differences mean something.
#[inline]
pub fn getMonotonicUs() -> monotime {
    let (sec, nsec) = now(libc::CLOCK_MONOTONIC);
    sec as u64 * 1_000_000 + nsec as u64 / 1000
}

/// Returns the milliseconds on the clock that no one can set: what deadlines and periods are
/// measured in. A wall clock that is set back would leave everybody waiting, one that is set
/// forward would end their time.
///
/// It counts on from the Unix time at which the process first asked, so that 0 is long ago and can
/// mean "never".
#[inline]
pub fn steady_ms() -> i64 {
    static START: OnceLock<i64> = OnceLock::new();
    let us = getMonotonicUs() as i64;
    (START.get_or_init(|| ustime() - us) + us) / 1000
}

/// Unix time in microseconds for who asks every few hundred nanoseconds: counted on from the last
/// reading of the system's clock by the processor's counter, where that has one speed
/// (`constant_tsc`, as in `monotonic.c`). Elsewhere each reading is the system's.
///
/// The system's clock also waits for all instructions before it, so that the memory accesses of one
/// command could not overlap with those of the next.
#[derive(Default)]
pub struct TickClock {
    /// True if the processor has such a counter.
    usable: bool,
    /// The last reading, and the counter then.
    us: i64,
    ticks: u64,
    /// Microseconds per tick in units of 2^-32; 0 until it was measured.
    rate: u64,
    /// No counting on beyond so many ticks.
    max_ticks: u64,
    /// The moment from which on the rate is being measured, on the clock that no one can set.
    measured_us: monotime,
    measured_ticks: u64,
}

impl TickClock {
    /// Counts on for at most so many microseconds.
    const MAX_US: u64 = 10_000;
    /// Measures for at least so many microseconds.
    const MEASURE_US: u64 = 100_000;

    /// Returns a clock that has not been read yet.
    pub fn new() -> TickClock {
        let cpuinfo = std::fs::read("/proc/cpuinfo").unwrap_or_default();
        let has = |flag: &[u8]| cpuinfo.split(|c| c.is_ascii_whitespace()).any(|w| w == flag);
        let usable = ticks().is_some() && has(b"constant_tsc") && has(b"nonstop_tsc");
        TickClock { usable, ..TickClock::default() }
    }

    /// Reads the system's clock.
    pub fn sync(&mut self) -> i64 {
        self.us = ustime();
        if let Some(ticks) = ticks().filter(|_| self.usable) {
            self.ticks = ticks;
            // Measured lately?
            let soon = self.max_ticks * (TickClock::MEASURE_US / TickClock::MAX_US);
            if ticks.wrapping_sub(self.measured_ticks) < soon {
                return self.us;
            }
            let us = getMonotonicUs();
            let (us_gone, ticks_gone) =
                (us.saturating_sub(self.measured_us), ticks.wrapping_sub(self.measured_ticks));
            if us_gone >= TickClock::MEASURE_US {
                // The first time there is nothing to measure from. A counter below 1 MHz is none,
                // nor is one that was set.
                let known = self.measured_us != 0 && ticks_gone >= us_gone && ticks_gone < 1 << 60;
                self.rate = if known {
                    ((u128::from(us_gone) << 32) / u128::from(ticks_gone)) as u64
                } else {
                    0
                };
                self.max_ticks = (TickClock::MAX_US << 32).checked_div(self.rate).unwrap_or(0);
                (self.measured_us, self.measured_ticks) = (us, ticks);
            }
        }
        self.us
    }

    /// Returns the time now.
    #[inline]
    pub fn now(&mut self) -> i64 {
        if let Some(ticks) = ticks() {
            // A counter that went back has gone a very long way here.
            let gone = ticks.wrapping_sub(self.ticks);
            if gone < self.max_ticks {
                return self.us + ((gone * self.rate) >> 32) as i64;
            }
        }
        self.sync()
    }

    /// Returns what [`getMonotonicUs`] does, counted on from when the rate was measured, if that was
    /// lately.
    #[inline]
    pub fn monotonic_us(&self) -> monotime {
        if let Some(ticks) = ticks() {
            let gone = ticks.wrapping_sub(self.measured_ticks);
            if gone < self.max_ticks * (2 * TickClock::MEASURE_US / TickClock::MAX_US) {
                return self.measured_us + ((gone * self.rate) >> 32);
            }
        }
        getMonotonicUs()
    }
}

/// Returns the processor's counter, if there is one.
#[inline(always)]
fn ticks() -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 has this instruction, and it touches no memory.
        Some(unsafe { core::arch::x86_64::_rdtsc() })
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// Returns which clock [`getMonotonicUs`] reads, for INFO (`monotonic_clock`).
pub fn monotonicInfoString() -> &'static str {
    "POSIX clock_gettime"
}

/// Starts a stopwatch: the current monotonic time, to be given to [`elapsedUs`].
pub fn elapsedStart() -> monotime {
    getMonotonicUs()
}

/// Returns the microseconds since `start`.
pub fn elapsedUs(start: monotime) -> u64 {
    getMonotonicUs().saturating_sub(start)
}

/// Returns the milliseconds since `start`.
pub fn elapsedMs(start: monotime) -> u64 {
    elapsedUs(start) / 1000
}

/// Sleeps for `usec` microseconds; a signal ends the sleep early, as with `usleep`.
pub fn usleep(usec: u64) {
    let ts = libc::timespec {
        tv_sec: (usec / 1_000_000) as libc::time_t,
        tv_nsec: (usec % 1_000_000 * 1000) as libc::c_long,
    };
    // SAFETY: `ts` is read only during the call; a null remainder is allowed.
    unsafe { libc::nanosleep(&ts, std::ptr::null_mut()) };
}

unsafe extern "C" {
    /// Seconds west of UTC, without daylight saving; set by `tzset`.
    static timezone: libc::c_long;
    fn tzset();
}

/// Reads the time zone (`TZ`, `/etc/localtime`). Takes libc's lock: call it at start, before any
/// thread.
pub fn tz_init() {
    // SAFETY: no argument; called at start, when no other thread reads or writes the zone.
    unsafe { tzset() };
}

/// Returns the seconds west of UTC, without daylight saving, as [`tz_init`] found them.
pub fn getTimeZone() -> i64 {
    // SAFETY: a plain integer that only `tzset` writes, which runs at start and inside
    // `daylight_in_effect`, on this thread.
    unsafe { timezone }
}

/// Tells whether daylight saving is in force at the Unix time `t`, in seconds.
///
/// Takes libc's lock, so it must not run in a forked child: ask from the cron and keep the answer.
pub fn daylight_in_effect(t: i64) -> bool {
    // SAFETY: an all-zero `tm` is a valid value of it.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both places are ours and live through the call.
    unsafe { libc::localtime_r(&t, &mut tm) };
    tm.tm_isdst > 0
}

/// A broken-down local time; the fields count as in C's `struct tm`, but the year is the year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tm {
    /// The full year, like 2024.
    pub year: i64,
    /// Month, from 0 (January).
    pub mon: usize,
    /// Day of the month, from 1.
    pub mday: i64,
    /// Hour, from 0.
    pub hour: i64,
    /// Minute, from 0.
    pub min: i64,
    /// Second, from 0.
    pub sec: i64,
    /// Day of the week, from 0 (Sunday).
    pub wday: i64,
    /// Day of the year, from 0.
    pub yday: i64,
}

/// The month names of log lines.
pub const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn is_leap_year(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Computes local time without libc's lock, which another thread may have held at the moment of a
/// fork: a child that asked libc for the time of its log line could then wait forever.
///
/// `t` is Unix time in seconds (times before 1970 give 1970), `tz` what [`getTimeZone`] said, `dst`
/// what [`daylight_in_effect`] said.
pub fn nolocks_localtime(t: i64, tz: i64, dst: bool) -> Tm {
    let t = (t - tz + if dst { 3600 } else { 0 }).max(0);
    let mut days = t / 86400;
    let seconds = t % 86400;
    // 1970 began on a Thursday.
    let wday = (days + 4) % 7;

    let mut year = 1970;
    loop {
        let length = if is_leap_year(year) { 366 } else { 365 };
        if length > days {
            break;
        }
        days -= length;
        year += 1;
    }
    let yday = days;

    let february = if is_leap_year(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut mon = 0;
    while days >= lengths[mon] {
        days -= lengths[mon];
        mon += 1;
    }
    Tm {
        year,
        mon,
        mday: days + 1,
        hour: seconds / 3600,
        min: seconds % 3600 / 60,
        sec: seconds % 60,
        wday,
        yday,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_agree_and_advance() {
        let (a, m) = (ustime(), getMonotonicUs());
        usleep(2000);
        assert!(ustime() - a >= 2000 && elapsedUs(m) >= 2000 && elapsedMs(m) >= 2);
        let std = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as i64);
        assert!((std - mstime()).abs() < 5000);
    }

    /// How far the clock is from the system's. Between two readings the thread may have to wait, so
    /// the best of a few counts.
    fn microseconds_off(clock: &mut TickClock) -> i64 {
        (0..20).map(|_| (clock.now() - ustime()).abs()).min().unwrap()
    }

    #[test]
    fn the_tick_clock_counts_on_the_clock_that_no_one_can_set() {
        let mut clock = TickClock::new();
        let off = |clock: &TickClock| {
            (0..50).map(|_| getMonotonicUs().abs_diff(clock.monotonic_us())).min().unwrap()
        };
        // At first there is no rate, then it is measured, and after a while it is not relied upon.
        for pause in [0, 120, 120, 1, 50, 300, 0] {
            usleep(pause * 1000);
            assert!(off(&clock) < 1000, "after {pause} ms");
            clock.now();
            assert!(off(&clock) < 1000, "after {pause} ms, and a reading");
        }
    }

    #[test]
    fn the_tick_clock_keeps_up_with_the_systems() {
        let mut clock = TickClock::new();
        // So may it while the clock is read, and then it is off until the next time. Most rounds
        // are not like that.
        let close = |clock: &mut TickClock| {
            clock.sync();
            usleep(5000);
            microseconds_off(clock) < 50
        };
        let rounds = (0..2000).filter(|_| close(&mut clock)).take(40).count();
        assert_eq!(rounds, 40);
        assert!(!clock.usable || (clock.rate > 0 && clock.max_ticks > 0));
        // Beyond its reach it asks the system, and it doesn't trust a counter that went back.
        for ticks_back in [0, 1 << 50] {
            let keeps_up = (0..100).any(|_| {
                clock.ticks = clock.ticks.wrapping_add(ticks_back);
                usleep(20_000);
                microseconds_off(&mut clock) < 50
            });
            assert!(keeps_up, "{ticks_back} ticks back");
        }
    }

    /// Against libc, in the zone this machine has, over days that include leap years and centuries.
    #[test]
    fn localtime_is_libcs() {
        tz_init();
        for day in (0..60_000i64).step_by(7) {
            let t = day * 86400 + day * 37 % 86400;
            // SAFETY: an all-zero `tm` is a valid value of it.
            let mut tm: libc::tm = unsafe { std::mem::zeroed() };
            // SAFETY: both places are ours.
            unsafe { libc::gmtime_r(&t, &mut tm) };
            let ours = nolocks_localtime(t, 0, false);
            assert_eq!(
                (ours.year, ours.mon as i32, ours.mday, ours.hour, ours.min, ours.sec),
                (
                    i64::from(tm.tm_year) + 1900,
                    tm.tm_mon,
                    tm.tm_mday.into(),
                    tm.tm_hour.into(),
                    tm.tm_min.into(),
                    tm.tm_sec.into()
                ),
                "at {t}"
            );
            assert_eq!((ours.wday, ours.yday), (tm.tm_wday.into(), tm.tm_yday.into()));
        }
        assert_eq!(nolocks_localtime(7200, 3600, true).hour, 2, "west counts down, summer up");
        assert_eq!(nolocks_localtime(0, 3600, false).year, 1970, "no time before 1970");
    }
}
