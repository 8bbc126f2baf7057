//! `redisassert.h`: what structures assert about bytes that came from outside.
//!
//! Packed values are checked when they are loaded, every element of them, unless
//! `sanitize-dump-payload` says that just their headers shall be. So whoever meets an element later
//! that cannot be read either has found a bug, or was told to take the risk; in both cases the
//! process ends with a report, as in the C, and nothing is guessed.
//!
//! A condition is written with `assert!`, a position or an element that has to be there with
//! [`assert_some`]. What both say starts with "assertion failed: ", by which the report (debug.rs)
//! knows an assertion from a panic.
#![forbid(unsafe_code)]

/// Returns the value of an option that has one, unless bytes are damaged: then the process ends,
/// and the report shows the expression.
macro_rules! assert_some {
    ($e:expr) => {
        match $e {
            Some(value) => value,
            None => $crate::ds::redisassert::_serverAssert(stringify!($e)),
        }
    };
}
pub(crate) use assert_some;

/// Fails as `assert!` does, with this text in place of the condition.
#[cold]
#[inline(never)]
#[track_caller]
pub fn _serverAssert(estr: &str) -> ! {
    panic!("assertion failed: {estr}")
}

#[cfg(test)]
mod tests {
    /// The report tells assertions from panics by their first words.
    #[test]
    fn both_forms_begin_alike() {
        let message = |f: fn()| {
            let payload = std::panic::catch_unwind(f).unwrap_err();
            let text = payload.downcast_ref::<String>().cloned();
            text.or_else(|| payload.downcast_ref::<&str>().map(|s| s.to_string())).unwrap()
        };
        assert_eq!(message(|| assert!("a".len() == 2)), "assertion failed: \"a\".len() == 2");
        let none: fn() = || {
            assert_some!("a".find('b'));
        };
        assert_eq!(message(none), "assertion failed: \"a\".find('b')");
    }
}
