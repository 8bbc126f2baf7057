//! `rand.c`: the generator behind `math.random` of scripts: `drand48` of the 48-bit family.
//!
//! A script that seeds it has to draw the same numbers on every machine, and with the C. Differs:
//! the state is a value that somebody owns.

/// The largest number that [`Rand48::redisLrand48`] draws.
pub const REDIS_LRAND48_MAX: i32 = i32::MAX;

/// The state of the generator: 48 bits.
#[derive(Clone, Debug)]
pub struct Rand48 {
    x: u64,
}

impl Default for Rand48 {
    /// Returns the state before any seeding.
    fn default() -> Self {
        Rand48 { x: 0x1234_abcd_330e }
    }
}

impl Rand48 {
    /// Returns the next number: the upper 31 bits of the next state, so 0 to [`REDIS_LRAND48_MAX`].
    pub fn redisLrand48(&mut self) -> i32 {
        self.x = self.x.wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & 0xffff_ffff_ffff;
        (self.x >> 17) as i32
    }

    /// Starts the sequence that belongs to `seedval`.
    pub fn redisSrand48(&mut self, seedval: i32) {
        self.x = u64::from(seedval as u32) << 16 | 0x330e;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sequences of the C.
    #[test]
    fn sequences() {
        let mut r = Rand48::default();
        let unseeded = [851401618, 1804928587, 758783491, 959030623, 684387517];
        assert_eq!(unseeded.map(|_| r.redisLrand48()), unseeded);
        for (seed, drawn) in [
            (0, [366850414, 1610402240, 206956554, 1869309841]),
            (1, [89400484, 976015093, 1792756325, 721524505]),
            (-1, [644300343, 97305740, 768640432, 869611528]),
            (123456789, [112675174, 54641039, 213185015, 936582211]),
        ] {
            r.redisSrand48(seed);
            assert_eq!(drawn.map(|_| r.redisLrand48()), drawn, "seed {seed}");
        }
        r.redisSrand48(42);
        let hash = (0..1_000_000)
            .fold(0i64, |h, _| h.wrapping_mul(31).wrapping_add(i64::from(r.redisLrand48())));
        assert_eq!(hash, 2951218388678627439);
    }
}
