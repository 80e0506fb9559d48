//! Intervals that hold what they promise: conformal scaling of sigma with an adaptive level.
//!
//! The scale is a quantile of `|error| / sigma` of the last forecasts that came due, the newer ones weighing more. Its level is adapted online
//! (Gibbs and Candes 2021): `level += RATE (interval - covered)`, so that the long-run coverage is the nominal one even
//! where errors drift.

use std::collections::VecDeque;

/// Scores kept.
const SCORES: usize = 128;
/// Scores without which sigma is taken as it is.
const MIN_SCORES: usize = 8;
/// Weight of a score after the next one came: errors drift, and old scores with them (Barber et al. 2023).
const FORGET: f64 = 0.96;
/// What the highest score is multiplied by where the level asks for more than all scores.
const BEYOND: f64 = 1.25;
/// Scores at which half of a narrowing, in logs, is believed.
const CAUTION: f64 = 24.0;
/// Rate of the level.
const RATE: f64 = 0.05;

/// Calibration of one horizon, and the figures about its forecasts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Calibration {
    scores: VecDeque<f64>,
    level: f64,
    pub(crate) count: u64,
    covered: u64,
    errors: Vec<f64>,
}
crate::state::codec!(Calibration { scores, level, count, covered, errors });

/// A forecast that came due: absolute errors of the model, of the fit alone and of the corrected forecast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    pub(crate) errors: [f64; 3],
    /// Sigma before scaling.
    pub(crate) raw_sigma: f64,
    /// Sigma as it was given.
    pub(crate) sigma: f64,
}

impl Calibration {
    pub(crate) fn new(interval: f64) -> Self {
        Self { scores: VecDeque::new(), level: interval, count: 0, covered: 0, errors: vec![0.0; 3] }
    }

    pub(crate) fn fits(&self) -> bool {
        self.scores.len() <= SCORES && self.errors.len() == 3 && (0.0..=1.0).contains(&self.level)
    }

    /// Factor that makes `mean +- quantile sigma` an interval of the nominal coverage.
    pub(crate) fn scale(&self, quantile: f64) -> f64 {
        if self.scores.len() < MIN_SCORES {
            return 1.0;
        }
        // The newest score weighs 1, and the forecast's own, which nobody knows yet, counts as one more above all others.
        let ages = (0..self.scores.len()).rev();
        let mut sorted: Vec<(f64, f64)> =
            self.scores.iter().zip(ages).map(|(&score, age)| (score, FORGET.powi(age as i32))).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: f64 = sorted.iter().map(|(_, weight)| weight).sum();
        let mut left = self.level * (total + 1.0);
        let reached = sorted.iter().find(|(_, weight)| {
            left -= weight;
            left <= 0.0
        });
        let highest = sorted[sorted.len() - 1].0;
        let scale = (reached.map_or(BEYOND * highest, |(score, _)| *score) / quantile).max(1e-3);
        // Forecasts that overlap miss or hit together, so a few good ones are no reason for narrow intervals.
        let count = self.scores.len() as f64;
        if scale < 1.0 { scale.powf(count / (count + CAUTION)) } else { scale }
    }

    /// Takes a forecast that came due; `quantile` is [`normal_quantile`] of the interval.
    pub(crate) fn push(&mut self, due: &Due, interval: f64, quantile: f64) {
        let covered = due.errors[0] <= quantile * due.sigma;
        self.count = self.count.saturating_add(1);
        self.covered = self.covered.saturating_add(u64::from(covered));
        for (sum, error) in self.errors.iter_mut().zip(due.errors) {
            *sum += error;
        }
        self.level = (self.level + RATE * (interval - f64::from(u8::from(covered)))).clamp(0.01, 0.999);
        if self.scores.len() == SCORES {
            self.scores.pop_front();
        }
        self.scores.push_back(due.errors[0] / due.raw_sigma);
    }

    /// Share of the outcomes inside their interval.
    pub(crate) fn coverage(&self) -> Option<f64> {
        (self.count > 0).then(|| self.covered as f64 / self.count as f64)
    }

    /// Mean absolute errors of the model, of the fit alone and of the corrected forecast.
    pub(crate) fn mean_errors(&self) -> Option<[f64; 3]> {
        let count = self.count as f64;
        (self.count > 0).then(|| [0, 1, 2].map(|index| self.errors[index] / count))
    }
}

/// Half-width, in sigmas, of the central interval of a normal distribution that holds `share`.
///
/// Found by bisection of the integral of its density; exact to 1e-8.
pub(crate) fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (0.0, 6.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if central(middle) < share { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Share of a normal distribution within `z` sigmas, by Simpson's rule.
fn central(z: f64) -> f64 {
    let pieces = 256;
    let width = z / pieces as f64;
    let density = |x: f64| (-0.5 * x * x).exp();
    let inner: f64 =
        (1..pieces).map(|i| (if i % 2 == 1 { 4.0 } else { 2.0 }) * density(i as f64 * width)).sum();
    2.0 * (density(0.0) + inner + density(z)) * width / 3.0 / std::f64::consts::TAU.sqrt()
}

#[cfg(test)]
mod tests {
    use super::{Calibration, Due, normal_quantile};
    use crate::random::Random;

    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        for (share, z) in
            [(0.5, 0.674_489_75), (0.9, 1.644_853_63), (0.95, 1.959_963_98), (0.99, 2.575_829_30)]
        {
            assert!((normal_quantile(share) - z).abs() < 1e-7, "{share}");
        }
    }

    #[test]
    fn coverage_comes_near_the_nominal_share_though_sigma_is_wrong_and_errors_drift() {
        let quantile = normal_quantile(0.9);
        for seed in 0..5 {
            let mut random = Random::new(seed, 9);
            let mut calibration = Calibration::new(0.9);
            for index in 0..400 {
                let true_sigma = if index < 200 { 0.03 } else { 0.06 };
                let sigma = 0.01 * calibration.scale(quantile);
                let error = (true_sigma * random.normal()).abs();
                calibration.push(&Due { errors: [error; 3], raw_sigma: 0.01, sigma }, 0.9, quantile);
            }
            let coverage = calibration.coverage().unwrap();
            assert!((coverage - 0.9).abs() < 0.05, "{coverage}");
        }
    }
}
