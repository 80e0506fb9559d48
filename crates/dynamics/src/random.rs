//! A small deterministic generator: `SplitMix64` (Steele, Lea, Flood 2014). Its whole state is one word.

/// Deterministic random numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Random {
    pub(crate) state: u64,
}

impl Random {
    /// A generator for a seed and a purpose, so that no two purposes share numbers.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut generator = Self { state: seed ^ purpose.wrapping_mul(0xD1B5_4A32_D192_ED03) };
        generator.word();
        generator
    }

    /// The next 64 bits.
    pub(crate) fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// Uniform in [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform among `0..count`; `count` is small and at least 1.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((self.uniform() * count as f64) as usize).min(count - 1)
    }

    /// Standard normal (Box and Muller; the second value is thrown away so that no state is kept for it).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let mut random = Random::new(3, 1);
        let values: Vec<f64> = (0..20_000).map(|_| random.normal()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }

    #[test]
    fn a_seed_gives_the_same_numbers_and_purposes_differ() {
        let words = |seed, purpose| {
            let mut random = Random::new(seed, purpose);
            (random.word(), random.word())
        };
        assert_eq!(words(1, 2), words(1, 2));
        assert_ne!(words(1, 2), words(1, 3));
        assert_ne!(words(1, 2), words(2, 2));
    }
}
