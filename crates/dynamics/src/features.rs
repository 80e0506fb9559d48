//! What the model sees of training: scalars and inner products, never a tensor, so its size is that of the settings alone.
//!
//! A feature that was not measured at a token keeps its last value. Every feature is normalised by its running mean and
//! variance, which are part of the state; one that has not varied yet is given as zero.

use crate::settings::Settings;

/// Weight of the newest value in the running statistics, once there are as many values as its inverse.
const NEWEST: f64 = 1.0 / 400.0;
/// Bound of a normalised feature.
const BOUND: f64 = 5.0;
/// Share of an event's value (credit, accepted jump) that is left after a token without one.
const FADE: f64 = 0.95;
/// Keeps logs of norms finite.
const TINY: f64 = 1e-12;
/// A learning rate counts at least this much of its maximum in ratios.
const MIN_LR: f64 = 0.02;

/// Running mean and variance of one feature.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Moments {
    count: u64,
    mean: f64,
    variance: f64,
    last: f64,
}
crate::state::codec!(Moments { count, mean, variance, last });

impl Moments {
    fn push(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        let share = (1.0 / self.count as f64).max(NEWEST);
        let step = value - self.mean;
        self.mean += share * step;
        self.variance = (1.0 - share) * (self.variance + share * step * step);
        self.last = value;
    }

    fn normalised(&self) -> f64 {
        let deviation = self.variance.sqrt();
        if deviation <= 1e-9 * self.mean.abs().max(1e-3) {
            return 0.0;
        }
        ((self.last - self.mean) / deviation).clamp(-BOUND, BOUND)
    }
}

/// What one token measured, in the order of the names; None where it did not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured(pub(crate) Vec<Option<f64>>);

/// Names and running statistics of the features.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Features {
    names: Vec<String>,
    moments: Vec<Moments>,
}

/// Global features before those of horizons and kinds.
pub(crate) const GLOBAL: [&str; 11] = [
    "loss/residual",
    "loss/slope",
    "loss/deviation",
    "loss/fast_minus_slow",
    "grad/log_norm",
    "grad/change",
    "lr",
    "progress",
    "gap",
    "credit",
    "accepted",
];

impl Features {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut names: Vec<String> = GLOBAL.map(str::to_owned).to_vec();
        for horizon in &settings.horizons {
            names.push(format!("lr/change_{horizon}"));
            names.push(format!("loss/last_error_{horizon}"));
        }
        for kind in &settings.kinds {
            names.push(format!("{kind}/slope"));
            names.extend((1..settings.basis).map(|b| format!("{kind}/log_norm_{b}")));
            for a in 0..settings.basis {
                names.extend((a + 1..settings.basis).map(|b| format!("{kind}/cosine_{a}_{b}")));
            }
        }
        let moments = vec![Moments::default(); names.len()];
        Self { names, moments }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Takes a token's values into the statistics and gives the normalised features.
    pub(crate) fn push(&mut self, measured: &Measured) -> Vec<f64> {
        for (moments, value) in self.moments.iter_mut().zip(&measured.0) {
            if let Some(value) = value {
                moments.push(*value);
            }
        }
        self.moments.iter().map(Moments::normalised).collect()
    }

    /// Name, mean and variance of each feature that was measured more than once.
    pub(crate) fn statistics(&self) -> Vec<(String, f64, f64)> {
        let all = self.names.iter().zip(&self.moments);
        all.filter(|(_, m)| m.count > 1).map(|(name, m)| (name.clone(), m.mean, m.variance)).collect()
    }

    /// Running statistics, in the order of the names.
    pub(crate) fn moments(&self) -> &[Moments] {
        &self.moments
    }

    /// Puts back what [`Features::moments`] gave; false if it belongs to other features.
    pub(crate) fn restore(&mut self, moments: Vec<Moments>) -> bool {
        let fits = moments.len() == self.moments.len();
        if fits {
            self.moments = moments;
        }
        fits
    }
}

/// Log norms relative to the first vector and pairwise cosines of one kind's Gram matrix.
pub(crate) fn of_gram(gram: &[f64], basis: usize) -> Vec<f64> {
    let norm = |b: usize| gram[b * basis + b].max(0.0).sqrt() + TINY;
    let mut values: Vec<f64> = (1..basis).map(|b| (norm(b) / norm(0)).ln()).collect();
    for a in 0..basis {
        for b in a + 1..basis {
            values.push((gram[a * basis + b] / (norm(a) * norm(b))).clamp(-1.0, 1.0));
        }
    }
    values
}

/// Log of a gradient's norm.
pub(crate) fn log_norm(norm: f64) -> f64 {
    (norm + TINY).ln()
}

/// Log-ratio of a coming learning rate to the present one.
pub(crate) fn lr_change(now: f64, ahead: f64) -> f64 {
    (ahead.max(MIN_LR) / now.max(MIN_LR)).ln()
}

/// A value of events that fades from token to token.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fading {
    value: Option<f64>,
}
crate::state::codec!(Fading { value });

impl Fading {
    /// The value after a token with or without an event; None before the first one.
    pub(crate) fn push(&mut self, event: Option<f64>) -> Option<f64> {
        self.value = event.or(self.value.map(|value| FADE * value));
        self.value
    }
}
