//! Clocks, and the local time of log lines (`monotonic.c`, `localtime.c`, `ustime`/`mstime` of
//! `server.c`).
//!
//! Differs: the monotonic clock is always `CLOCK_MONOTONIC`, never the processor's counter, which
//! the C uses only when built to.
#![allow(unsafe_code)] // clock_gettime, tzset and localtime_r fill structures of ours.

/// Microseconds on a clock that no one can set.
pub type monotime = u64;

/// Reads `clock` as (seconds, nanoseconds).
fn now(clock: libc::clockid_t) -> (i64, i64) {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid place for the answer; the clocks asked for exist on every Linux, so
    // the call cannot fail, and if it did, zeros would be read.
    unsafe { libc::clock_gettime(clock, &mut ts) };
    (ts.tv_sec, ts.tv_nsec)
}

/// Unix time in microseconds.
#[inline]
pub fn ustime() -> i64 {
    let (sec, nsec) = now(libc::CLOCK_REALTIME);
    sec * 1_000_000 + nsec / 1000
}

/// Unix time in milliseconds.
#[inline]
pub fn mstime() -> i64 {
    ustime() / 1000
}

/// Microseconds since some fixed moment (the boot). Only differences mean something.
#[inline]
pub fn getMonotonicUs() -> monotime {
    let (sec, nsec) = now(libc::CLOCK_MONOTONIC);
    sec as u64 * 1_000_000 + nsec as u64 / 1000
}

/// Which clock [`getMonotonicUs`] reads, for INFO (`monotonic_clock`).
pub fn monotonicInfoString() -> &'static str {
    "POSIX clock_gettime"
}

/// Starts a stopwatch: the current monotonic time, to be given to [`elapsedUs`].
pub fn elapsedStart() -> monotime {
    getMonotonicUs()
}

/// Microseconds since `start`.
pub fn elapsedUs(start: monotime) -> u64 {
    getMonotonicUs().saturating_sub(start)
}

/// Milliseconds since `start`.
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
pub fn tzInit() {
    // SAFETY: no argument; called at start, when no other thread reads or writes the zone.
    unsafe { tzset() };
}

/// Seconds west of UTC, without daylight saving, as [`tzInit`] found them.
pub fn getTimeZone() -> i64 {
    // SAFETY: a plain integer that only `tzset` writes, which runs at start and inside
    // `daylightActive`, on this thread.
    unsafe { timezone }
}

/// Whether daylight saving is in force at the Unix time `t`, in seconds.
///
/// Takes libc's lock, so it must not run in a forked child: ask from the cron and keep the answer.
pub fn daylightActive(t: i64) -> bool {
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

/// Local time without libc's lock, which another thread may have held at the moment of a fork: a
/// child that asked libc for the time of its log line could then wait forever.
///
/// `t` is Unix time in seconds (times before 1970 give 1970), `tz` what [`getTimeZone`] said, `dst`
/// what [`daylightActive`] said.
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

    /// Against libc, in the zone this machine has, over days that include leap years and centuries.
    #[test]
    fn localtime_is_libcs() {
        tzInit();
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
