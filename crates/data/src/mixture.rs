//! Which source a draw comes from, by arithmetic: shares hold exactly over any stretch of blocks.
//!
//! Draws come in blocks of 1,024. A block's quota per source is the difference of two cumulative counts that follow
//! the shares to within a draw or so at any length, so rounding never adds up; inside a block the draws are permuted.

use crate::order::{Permutation, key};
use crate::{DataError, Result};

/// Draws that share one table of quotas.
pub(crate) const BLOCK_DRAWS: u64 = 1024;
/// Shares are fractions of this.
const ONE: u64 = 1 << 40;

/// A schedule of draws over sources.
#[derive(Debug, Clone)]
pub struct Mixture {
    key: u64,
    /// Share of each source among the draws left over by those before it, in [`ONE`]ths.
    splits: Vec<u64>,
    shares: Vec<f64>,
}

/// One block of draws.
#[derive(Debug, Clone)]
pub(crate) struct DrawBlock {
    pub(crate) number: u64,
    /// Draws of each source in all blocks before.
    before: Vec<u64>,
    /// Source, and how many draws of it come before within the block, for each draw.
    draws: Vec<(u32, u32)>,
}

impl Mixture {
    /// Shares of draws such that bytes come by `weights`, given each source's mean document in bytes.
    pub fn new(seed: u64, weights: &[f64], mean_bytes: &[f64]) -> Result<Self> {
        if weights.len() != mean_bytes.len() {
            let message = format!("{} weights for {} sources", weights.len(), mean_bytes.len());
            return Err(DataError::invalid(message, "give one weight for each source"));
        }
        let valid = |weight: &f64| weight.is_finite() && *weight >= 0.0;
        if let Some(weight) = weights.iter().find(|weight| !valid(weight)) {
            return Err(DataError::invalid(
                format!("{weight} is not a weight"),
                "weights are numbers of 0 or more",
            ));
        }
        let draws: Vec<f64> =
            weights.iter().zip(mean_bytes).map(|(weight, mean)| weight / mean.max(1.0)).collect();
        let total: f64 = draws.iter().sum();
        if total <= 0.0 || !total.is_finite() {
            return Err(DataError::invalid("all weights are 0", "give at least one source a weight above 0"));
        }
        let shares: Vec<f64> = draws.iter().map(|draw| draw / total).collect();
        Ok(Self { key: key(&[seed, 2]), splits: splits(&shares), shares })
    }

    /// Each source's share of draws.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// How many of the first `draws` draws each source has, at block borders. Sums to `draws`; never falls.
    fn counts(&self, draws: u64) -> Vec<u64> {
        let mut left = draws;
        let take = |split: &u64| {
            let count = (u128::from(left) * u128::from(*split) / u128::from(ONE)) as u64;
            left -= count;
            count
        };
        self.splits.iter().map(take).collect()
    }

    /// Lays out block `number`.
    pub(crate) fn block(&self, number: u64) -> DrawBlock {
        let before = self.counts(number * BLOCK_DRAWS);
        let after = self.counts((number + 1) * BLOCK_DRAWS);
        let quotas = before.iter().zip(&after).map(|(before, after)| (after - before) as usize);
        let dealt: Vec<u32> =
            (0u32..).zip(quotas).flat_map(|(source, quota)| std::iter::repeat_n(source, quota)).collect();
        let permutation = Permutation::new(BLOCK_DRAWS, key(&[self.key, number]));
        let mut given = vec![0; before.len()];
        let draws = (0..BLOCK_DRAWS).map(|draw| {
            let source = dealt[permutation.apply(draw) as usize];
            let ordinal = given[source as usize];
            given[source as usize] += 1;
            (source, ordinal)
        });
        DrawBlock { number, draws: draws.collect(), before }
    }
}

/// Splits draws one source at a time: each takes its share of what those before it left. Every count then grows with
/// the number of draws, which rounding all shares at once would not grant.
fn splits(shares: &[f64]) -> Vec<u64> {
    let last = shares.iter().rposition(|share| *share > 0.0).unwrap_or(0);
    let mut left = 1.0;
    let mut splits = Vec::with_capacity(shares.len());
    for (source, share) in shares.iter().enumerate() {
        let split = if source == last { 1.0 } else { (share / left).clamp(0.0, 1.0) };
        splits.push((split * ONE as f64) as u64);
        left = (left - share).max(f64::MIN_POSITIVE);
    }
    splits
}

impl DrawBlock {
    /// The source of draw `draw` and how many draws of that source come before it, from the beginning.
    pub(crate) fn source(&self, draw: u64) -> (u32, u64) {
        let (source, ordinal) = self.draws[(draw % BLOCK_DRAWS) as usize];
        (source, self.before[source as usize] + u64::from(ordinal))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_draw_has_one_source_and_ordinals_run(
            weights in prop::collection::vec(0.001f64..1.0, 1..6), seed: u64, first in 0u64..1000,
        ) {
            let mixture = Mixture::new(seed, &weights, &vec![1.0; weights.len()]).unwrap();
            let mut next: Vec<u64> = mixture.counts(first * BLOCK_DRAWS);
            prop_assert_eq!(next.iter().sum::<u64>(), first * BLOCK_DRAWS);
            for number in first..first + 3 {
                let block = mixture.block(number);
                for draw in number * BLOCK_DRAWS..(number + 1) * BLOCK_DRAWS {
                    let (source, ordinal) = block.source(draw);
                    prop_assert_eq!(ordinal, next[source as usize]);
                    next[source as usize] += 1;
                }
                for (count, share) in next.iter().zip(mixture.shares()) {
                    let exact = share * ((number + 1) * BLOCK_DRAWS) as f64;
                    prop_assert!((*count as f64 - exact).abs() < weights.len() as f64 + 1.0, "{} of {}", count, exact);
                }
            }
        }
    }

    #[test]
    fn shares_hold_in_bytes() {
        let mixture = Mixture::new(0, &[0.5, 0.5, 0.0], &[100.0, 100_000.0, 5.0]).unwrap();
        let counts = mixture.counts(1_000_000 * BLOCK_DRAWS);
        let bytes = [counts[0] as f64 * 100.0, counts[1] as f64 * 100_000.0];
        assert!((bytes[0] / (bytes[0] + bytes[1]) - 0.5).abs() < 1e-4);
        assert_eq!(counts[2], 0);
    }

    #[test]
    fn equal_shares_are_equal_in_every_block() {
        let mixture = Mixture::new(3, &[1.0, 3.0], &[7.0, 7.0]).unwrap();
        for number in 0..5 {
            let block = mixture.block(number);
            let first = (0..BLOCK_DRAWS).filter(|draw| block.source(*draw).0 == 0).count();
            assert_eq!(first, 256);
        }
    }

    #[test]
    fn bad_weights_are_refused() {
        for weights in [&[0.0, 0.0][..], &[1.0], &[-1.0, 2.0], &[f64::NAN, 1.0]] {
            assert!(Mixture::new(0, weights, &[1.0, 1.0]).is_err());
        }
    }
}
