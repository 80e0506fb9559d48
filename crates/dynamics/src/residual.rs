//! Stored residuals and the corrector that reads them.
//!
//! A residual is what a forecast missed. The corrector looks for the most similar situations of the past and proposes
//! `blend * (similarity-weighted mean of their residuals) + (1 - blend) * (learned correction)`, where the learned
//! correction is the running mean of what was missed. The share of it that is applied is learned too.

use std::collections::VecDeque;

use crate::settings::Settings;
use crate::state::codec;

/// Most similar residuals that are averaged.
const NEIGHBOURS: usize = 16;

/// What a jump and its correction left behind. No tensor is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Residual {
    /// Normalised features of the token before the jump.
    pub(crate) features: Vec<f64>,
    /// Predicted steps.
    pub horizon: u32,
    /// Norm of actual minus predicted displacement, by kind.
    pub residual_norms: Vec<f64>,
    /// Cosine of actual and predicted displacement, by kind.
    pub cosines: Vec<f64>,
    /// Measured minus forecast loss.
    pub forecast_residual: f64,
    /// Gain in loss that the jump brought.
    pub credit: f64,
}
codec!(Residual { features, horizon, residual_norms, cosines, forecast_residual, credit });

/// The last residuals, at most `capacity`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Store {
    pub(crate) capacity: usize,
    pub(crate) entries: VecDeque<Residual>,
}

codec!(Store { capacity, entries });

impl Store {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, entries: VecDeque::new() }
    }

    /// Whether a store that was read belongs to these settings.
    pub(crate) fn fits(&self, settings: &Settings) -> bool {
        let kinds = settings.kinds.len();
        let whole = |entry: &Residual| entry.residual_norms.len() == kinds && entry.cosines.len() == kinds;
        self.capacity == settings.store
            && self.entries.len() <= self.capacity
            && self.entries.iter().all(whole)
    }

    /// Keeps a residual; the oldest goes when the store is full.
    pub(crate) fn push(&mut self, residual: Residual) {
        if self.entries.len() >= self.capacity {
            self.entries.pop_front();
        }
        self.entries.push_back(residual);
    }
}

/// Similarity-weighted mean of the residuals of the nearest entries; None without entries.
///
/// Similarity is `exp(-d / (2 t))` with `d` the mean squared difference of the features and `t` its median among the
/// neighbours, so that it needs no scale of its own.
pub(crate) fn similar<'a>(features: &[f64], entries: impl Iterator<Item = (&'a [f64], f64)>) -> Option<f64> {
    let mut near: Vec<(f64, f64)> =
        entries.map(|(other, residual)| (distance(features, other), residual)).collect();
    if near.is_empty() {
        return None;
    }
    near.sort_by(|a, b| a.0.total_cmp(&b.0));
    near.truncate(NEIGHBOURS);
    let typical = near[near.len() / 2].0.max(1e-9);
    let (mut sum, mut total) = (0.0, 0.0);
    for (d, residual) in near {
        let weight = (-d / (2.0 * typical)).exp();
        sum += weight * residual;
        total += weight;
    }
    // The nearest entry is no further than the typical one, so the weights add up to more than 0.6.
    Some(sum / total)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    squares / a.len().max(1) as f64
}

/// How far the corrector is to be trusted: the regression of what forecasts missed on what it proposed, 0 to 1.
///
/// Where the past says nothing about what will be missed, proposals are noise, and applying them would only add to the
/// error; the trust then goes to zero.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trust {
    products: f64,
    squares: f64,
}
codec!(Trust { products, squares });

/// Weight of a proposal after the next one came.
const FORGET: f64 = 0.99;

impl Trust {
    /// Trust before there is any evidence, and how many proposals of the usual size that belief is worth.
    pub(crate) fn new(first: f64, worth: f64) -> Self {
        Self { products: worth * first, squares: worth }
    }

    /// The share of a proposal that is applied.
    pub(crate) fn share(&self) -> f64 {
        (self.products / self.squares).clamp(0.0, 1.0)
    }

    /// Takes a proposal and what was missed, both in units of the usual error.
    pub(crate) fn push(&mut self, proposed: f64, missed: f64) {
        self.products = FORGET * self.products + proposed * missed;
        self.squares = (FORGET * self.squares + proposed * proposed).max(1e-9);
    }
}

/// The corrector's proposal; without stored residuals the learned correction alone.
pub(crate) fn proposal(blend: f64, stored: Option<f64>, learned: f64) -> f64 {
    stored.map_or(learned, |stored| blend * stored + (1.0 - blend) * learned)
}
