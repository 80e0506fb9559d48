//! What is kept of a token until all that was forecast at it is known, and longer for replay.

use std::collections::VecDeque;

use crate::heads::CreditLabel;
use crate::random::Random;
use crate::settings::Settings;
use crate::state::codec;

/// Tokens kept. A horizon further than this many tokens ahead never comes due.
pub(crate) const HISTORY: usize = 256;

/// What was forecast for one horizon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    /// Loss by the log-linear fit alone.
    pub(crate) fit: f64,
    /// Scale of the fit's errors in log-loss; targets and corrections are in it.
    pub(crate) scale: f64,
    /// Loss by the model.
    pub(crate) mean: f64,
    /// Standard deviation before calibration.
    pub(crate) raw_sigma: f64,
    pub(crate) sigma: f64,
    /// Part of sigma that comes of not knowing the model's weights.
    pub(crate) epistemic: f64,
    /// What the corrector proposed to add to the log-loss.
    pub(crate) proposed: f64,
    /// Loss by the model and the corrector.
    pub(crate) corrected: f64,
    /// Inputs of the online solver.
    pub(crate) inputs: Vec<f64>,
}
codec!(Point { fit, scale, mean, raw_sigma, sigma, epistemic, proposed, corrected, inputs });

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) step: u64,
    /// Normalised, as they were then.
    pub(crate) features: Vec<f64>,
    /// Recurrent state before the token, as it was then.
    pub(crate) before: Vec<f64>,
    /// Bootstrap weight of each ensemble member.
    pub(crate) weights: Vec<f64>,
    /// Descent slope of each kind; empty when not measured.
    pub(crate) slopes: Vec<f64>,
    pub(crate) credits: Vec<CreditLabel>,
    /// Forecasts by horizon; empty before there was a fit.
    pub(crate) points: Vec<Point>,
    /// Error of the fit's log-loss by horizon in its scale, once due.
    pub(crate) targets: Vec<Option<f64>>,
    /// What the model's log-loss missed by horizon, once due.
    pub(crate) missed: Vec<Option<f64>>,
}
codec!(Token { step, features, before, weights, slopes, credits, points, targets, missed });

/// Credits kept with one token.
pub(crate) const MAX_CREDITS: usize = 32;

impl Token {
    /// Whether the parts have the sizes that settings and features demand.
    pub(crate) fn fits(&self, settings: &Settings, features: usize, inputs: usize) -> bool {
        let horizons = settings.horizons.len();
        self.features.len() == features
            && self.before.len() == settings.hidden
            && self.weights.len() == settings.members
            && (self.slopes.is_empty() || self.slopes.len() == settings.kinds.len())
            && self.credits.len() <= MAX_CREDITS
            && self.credits.iter().all(|label| label.candidate < settings.candidates.len())
            && (self.points.is_empty() || self.points.len() == horizons)
            && self.points.iter().all(|point| point.inputs.len() == inputs)
            && self.targets.len() == horizons
            && self.missed.len() == horizons
    }
}

/// The last tokens, by ascending step.
pub(crate) type History = VecDeque<Token>;

/// Weights of the Bayesian bootstrap (Rubin 1981): exponential with mean 1.
pub(crate) fn bootstrap(random: &mut Random, members: usize) -> Vec<f64> {
    (0..members).map(|_| -(1.0 - random.uniform()).ln()).collect()
}
