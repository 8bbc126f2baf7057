//! What random unit tests share: a generator of numbers whose seed a failing test shows, and how damage may be met.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::sys::random::randomU64;

/// What `f` returns, or `None` if an assertion about damaged bytes ended it. Any other panic goes on.
pub fn asserts<R>(f: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => Some(result),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            if !text.is_some_and(|text| text.starts_with("assertion failed: ")) {
                resume_unwind(payload);
            }
            None
        }
    }
}

/// xorshift64*: random enough for tests, and the same again for the same seed.
pub struct Rng(u64);

impl Rng {
    /// Seeded afresh at each run, or by `FIDELIS_SEED`. The seed is printed, which a failing test shows.
    pub fn new() -> Rng {
        let seed = std::env::var("FIDELIS_SEED").ok().and_then(|s| s.parse().ok());
        Rng::seeded(seed.unwrap_or_else(randomU64))
    }

    /// The same numbers for the same seed, which is printed too.
    pub fn seeded(seed: u64) -> Rng {
        println!("FIDELIS_SEED={seed}");
        // Seeds that lie close together must not start alike.
        Rng::of_state((seed ^ 0x5eed).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The generator in a state given as such (odd), for what was computed elsewhere with the same one.
    pub fn of_state(state: u64) -> Rng {
        Rng(state | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 to below `n`, which is at most 2^31.
    pub fn below<N: TryInto<u64> + TryFrom<u64>>(&mut self, n: N) -> N {
        let n = n.try_into().ok().filter(|n| (1..=1 << 31).contains(n)).expect("1 to 2^31");
        N::try_from((self.next() >> 33) % n).ok().expect("less than what N held")
    }

    /// `n` bytes of noise.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}
