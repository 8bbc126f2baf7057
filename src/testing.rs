//! What unit tests share: a generator of random numbers whose seed a failing test shows, how damage
//! may be met, and who may fork when.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Once, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::sys::random::random_u64;

static FORKS: RwLock<()> = RwLock::new(());

/// Locks out tests that look at closed connections, for a test that forks, until its child is gone:
/// a child has all descriptors of this process, those of other tests too.
pub fn forks() -> RwLockWriteGuard<'static, ()> {
    FORKS.write().unwrap_or_else(PoisonError::into_inner)
}

/// Locks out tests that fork, for a test that closes one end of a connection and looks at the
/// other: as long as this is held nobody else has the end open, because nobody forks.
pub fn closes() -> RwLockReadGuard<'static, ()> {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

const ASSERTION: &str = "assertion failed: ";

/// Returns what `f` returns, or `None` if an assertion about damaged bytes ended it. Any other
/// panic goes on.
pub fn asserts<R>(f: impl FnOnce() -> R) -> Option<R> {
    thread_local! {
        static EXPECTED: Cell<bool> = const { Cell::new(false) };
    }
    // Thousands of assertions that are meant to fail would be reported, each with a backtrace where
    // one is asked for.
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload_as_str().unwrap_or_default();
            if !EXPECTED.get() || !text.starts_with(ASSERTION) {
                report(info);
            }
        }));
    });
    EXPECTED.set(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    EXPECTED.set(false);
    match result {
        Ok(result) => Some(result),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            if !text.is_some_and(|text| text.starts_with(ASSERTION)) {
                resume_unwind(payload);
            }
            None
        }
    }
}

/// xorshift64*: random enough for tests, and the same again for the same seed.
pub struct Rng(u64);

impl Rng {
    /// Makes a generator that is seeded afresh at each run, or by `FIDELIS_SEED`. The seed is
    /// printed, which a failing test shows.
    pub fn new() -> Rng {
        let seed = std::env::var("FIDELIS_SEED").ok().and_then(|s| s.parse().ok());
        Rng::seeded(seed.unwrap_or_else(random_u64))
    }

    /// Makes a generator with this seed, which is printed too: the same numbers for the same seed.
    pub fn seeded(seed: u64) -> Rng {
        println!("FIDELIS_SEED={seed}");
        // Seeds that lie close together must not start alike.
        Rng::of_state((seed ^ 0x5eed).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Returns the generator in a state given as such (odd), for what was computed elsewhere with
    /// the same one.
    pub fn of_state(state: u64) -> Rng {
        Rng(state | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number from 0 to below `n`, which is at most 2^31.
    pub fn below<N: TryInto<u64> + TryFrom<u64>>(&mut self, n: N) -> N {
        let n = n.try_into().ok().filter(|n| (1..=1 << 31).contains(n)).expect("1 to 2^31");
        N::try_from((self.next() >> 33) % n).ok().expect("less than what N held")
    }

    /// Returns `n` bytes of noise.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}
