//! Log-linear fit: the log of the loss against the log of the step, over the last tokens, robust to outliers.
//!
//! It is a forecast by itself, the one that the learned model corrects and has to beat.

use std::collections::VecDeque;

/// Tokens kept.
pub(crate) const CAPACITY: usize = 128;
/// Tokens without which there is no fit.
const MIN_TOKENS: usize = 6;
/// Losses below this are taken for this, so that their log is finite.
pub(crate) const MIN_LOSS: f64 = 1e-6;
/// Residuals beyond this many robust deviations weigh less (Huber's constant).
const HUBER: f64 = 1.345;
/// Passes of reweighting.
const PASSES: usize = 3;
/// Slopes are kept inside these bounds: a loss neither explodes nor vanishes by extrapolation.
const SLOPES: (f64, f64) = (-2.0, 0.5);

/// A line through `(ln step, ln loss)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    center: f64,
    level: f64,
    pub(crate) slope: f64,
    /// Robust standard deviation of the log-loss about the line.
    pub(crate) deviation: f64,
}
crate::state::codec!(Line { center, level, slope, deviation });

impl Line {
    /// Log of the loss at a step.
    pub(crate) fn log_loss(&self, step: u64) -> f64 {
        self.level + self.slope * ((step.max(1) as f64).ln() - self.center)
    }
}

/// The last tokens' steps and losses.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Trend {
    points: VecDeque<(u64, f64)>,
}
crate::state::codec!(Trend { points });

impl Trend {
    /// Takes a token; forgets the oldest when full.
    pub(crate) fn push(&mut self, step: u64, loss: f64) {
        if self.points.len() == CAPACITY {
            self.points.pop_front();
        }
        self.points.push_back((step, loss.max(MIN_LOSS).ln()));
    }

    /// Forgets the tokens at and after a step.
    pub(crate) fn rewind(&mut self, step: u64) {
        while self.points.back().is_some_and(|point| point.0 >= step) {
            self.points.pop_back();
        }
    }

    /// The newest token's step.
    pub(crate) fn last_step(&self) -> Option<u64> {
        self.points.back().map(|point| point.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.points.len()
    }

    /// The fit over the last `window` tokens.
    pub(crate) fn fit(&self, window: usize) -> Option<Line> {
        let count = self.points.len().min(window);
        if count < MIN_TOKENS {
            return None;
        }
        let points = || {
            self.points
                .iter()
                .skip(self.points.len() - count)
                .map(|&(step, y)| ((step.max(1) as f64).ln(), y))
        };
        let mut weights = vec![1.0; count];
        let mut line = weighted(points(), &weights);
        for _ in 0..PASSES {
            let mut sizes: Vec<f64> = points().map(|(x, y)| (y - line.at(x)).abs()).collect();
            weights.copy_from_slice(&sizes);
            line.deviation = 1.4826 * median(&mut sizes);
            let limit = HUBER * line.deviation.max(1e-9);
            for size in &mut weights {
                *size = if *size > limit { limit / *size } else { 1.0 };
            }
            let deviation = line.deviation;
            line = Line { deviation, ..weighted(points(), &weights) };
        }
        Some(line)
    }
}

impl Line {
    fn at(&self, x: f64) -> f64 {
        self.level + self.slope * (x - self.center)
    }
}

fn weighted(points: impl Iterator<Item = (f64, f64)> + Clone, weights: &[f64]) -> Line {
    let total: f64 = weights.iter().sum();
    let mean = |pick: fn((f64, f64)) -> f64| {
        points.clone().zip(weights).map(|(p, w)| w * pick(p)).sum::<f64>() / total
    };
    let (center, level) = (mean(|p| p.0), mean(|p| p.1));
    let (mut across, mut along) = (0.0, 0.0);
    for ((x, y), w) in points.zip(weights) {
        across += w * (x - center) * (y - level);
        along += w * (x - center) * (x - center);
    }
    let slope = if along > 0.0 { (across / along).clamp(SLOPES.0, SLOPES.1) } else { 0.0 };
    Line { center, level, slope, deviation: 0.0 }
}

/// Median; the slice is reordered. Zero for an empty one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    let upper = *values.select_nth_unstable_by(middle, f64::total_cmp).1;
    if values.len() % 2 == 1 {
        return upper;
    }
    let lower = values[..middle].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    f64::midpoint(lower, upper)
}
