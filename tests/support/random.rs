//! Random tests that can be repeated: the seed is printed, and FIDELIS_SEED sets it.
#![allow(dead_code)] // each test binary uses its own part of this

/// xorshift64*: repeatable, and good enough to make a mess.
pub struct Random(pub u64);

impl Random {
    pub fn seeded() -> Random {
        let seed =
            std::env::var("FIDELIS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
                let t = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
                t.as_nanos() as u64 | 1
            });
        println!("FIDELIS_SEED={seed}");
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Whether the long form of the tests is asked for.
pub fn long() -> bool {
    std::env::var_os("FIDELIS_LONG").is_some()
}
