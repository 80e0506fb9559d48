//! What is read from `[h, z]`: loss at each horizon, credit of each candidate, gain of each kind.
//!
//! *Loss*: an ensemble; each member is a hidden tanh layer of its own initialisation and a linear layer that begins at
//! zero, giving a mean and a log-sigma for each horizon in units of the scale of the log-linear fit's errors. The objective
//! is the Gaussian negative log-likelihood under the member's bootstrap weights.
//!
//! *Gain*: `u`, the log-gain. Its objective `-s u + P u^2 / 2` with the normalised descent slope `s = <-g, d> / (|g| |d|)`
//! has its optimum at `E[s] / P`: the gain grows where the predicted direction descends. No displacement error is in it.
//!
//! *Credit*: mean, log-sigma and log-odds of being positive, as corrections to the running figures of the candidate.

use crate::linear::{Builder, Gradient, Linear};

/// Units of a member's hidden layer.
const MEMBER_UNITS: usize = 16;
/// Penalty `P` of the log-gain: a slope of 0.1 is worth a gain of exp(0.2).
const GAIN_PENALTY: f64 = 0.5;
/// Largest magnitude of a log-sigma.
const MAX_LOG_SIGMA: f64 = 3.0;

/// The heads' maps.
#[derive(Debug, Clone)]
pub(crate) struct Heads {
    members: Vec<(Linear, Linear)>,
    gain: Linear,
    credit: Linear,
    horizons: usize,
    candidates: usize,
}

/// A measured credit in units of its running scale, with the log-odds known before it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CreditLabel {
    pub(crate) candidate: usize,
    pub(crate) value: f64,
    pub(crate) positive: bool,
    pub(crate) log_odds: f64,
}
crate::state::codec!(CreditLabel { candidate, value, positive, log_odds });

/// What is known about one token for training.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labels<'a> {
    /// Error of the fit at each horizon in units of its scale, once it is due.
    pub(crate) targets: &'a [Option<f64>],
    /// Bootstrap weight of each member.
    pub(crate) weights: &'a [f64],
    /// Normalised descent slope of each kind; empty when not measured.
    pub(crate) slopes: &'a [f64],
    pub(crate) credits: &'a [CreditLabel],
}

/// Objectives of a sequence, each a mean over what was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Objectives {
    pub(crate) nll: f64,
    pub(crate) gain: f64,
    pub(crate) credit: f64,
}

/// One over the number of terms of each mean; zero where there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    pub(crate) nll: f64,
    pub(crate) gain: f64,
    pub(crate) credit: f64,
}

/// Mean and log-sigma in units of the scale.
pub(crate) type Moments = (f64, f64);

impl Heads {
    pub(crate) fn new(
        builder: &mut Builder,
        inputs: usize,
        horizons: usize,
        members: usize,
        kinds: usize,
        candidates: usize,
    ) -> Self {
        let members = (0..members)
            .map(|index| {
                let hidden = builder.linear(&format!("loss.{index}.hidden"), inputs, MEMBER_UNITS, 1.0);
                let out = builder.linear(&format!("loss.{index}.out"), MEMBER_UNITS, 2 * horizons, 0.0);
                (hidden, out)
            })
            .collect();
        let gain = builder.linear("gain", inputs, kinds, 0.0);
        let credit = builder.linear("credit", inputs, 3 * candidates, 0.0);
        Self { members, gain, credit, horizons, candidates }
    }

    pub(crate) fn num_members(&self) -> usize {
        self.members.len()
    }

    /// How many terms the labels add to each mean.
    pub(crate) fn count(&self, labels: &Labels<'_>) -> [usize; 3] {
        let due = labels.targets.iter().flatten().count();
        [due * self.members.len(), labels.slopes.len(), labels.credits.len()]
    }

    /// Hidden units and outputs `means | log-sigmas` of one member.
    fn member(&self, parameters: &[f64], index: usize, parts: &[&[f64]]) -> (Vec<f64>, Vec<f64>) {
        let (first, second) = &self.members[index];
        let mut units = vec![0.0; first.outputs];
        first.forward(parameters, parts, &mut units);
        for unit in &mut units {
            *unit = unit.tanh();
        }
        let mut out = vec![0.0; second.outputs];
        second.forward(parameters, &[&units], &mut out);
        for raw in &mut out[self.horizons..] {
            *raw = bounded(*raw);
        }
        (units, out)
    }

    /// Moments of each horizon by one member.
    pub(crate) fn loss(&self, parameters: &[f64], index: usize, parts: &[&[f64]]) -> Vec<Moments> {
        let (_, out) = self.member(parameters, index, parts);
        (0..self.horizons).map(|h| (out[h], out[self.horizons + h])).collect()
    }

    /// Log-gain of each kind.
    pub(crate) fn gain(&self, parameters: &[f64], parts: &[&[f64]]) -> Vec<f64> {
        let mut out = vec![0.0; self.gain.outputs];
        self.gain.forward(parameters, parts, &mut out);
        out
    }

    /// Mean, log-sigma and log-odds of each candidate, each a correction.
    pub(crate) fn credit(&self, parameters: &[f64], parts: &[&[f64]]) -> Vec<[f64; 3]> {
        let n = self.candidates;
        let mut out = vec![0.0; 3 * n];
        self.credit.forward(parameters, parts, &mut out);
        (0..n).map(|c| [out[c], bounded(out[n + c]), out[2 * n + c]]).collect()
    }

    /// Objectives of one token, and their gradients if `gradient` is given (added to it, and to `d_parts`).
    pub(crate) fn objective(
        &self,
        parameters: &[f64],
        parts: &[&[f64]],
        labels: &Labels<'_>,
        shares: &Shares,
        mut gradient: Option<(&mut Gradient, &mut [&mut [f64]])>,
    ) -> Objectives {
        let mut sums = Objectives::default();
        if labels.targets.iter().any(Option::is_some) {
            for index in 0..self.members.len() {
                sums.nll += self.member_objective(parameters, index, parts, labels, shares, &mut gradient);
            }
        }
        if !labels.slopes.is_empty() {
            let out = self.gain(parameters, parts);
            let mut d_out = vec![0.0; out.len()];
            for (kind, (&u, &s)) in out.iter().zip(labels.slopes).enumerate() {
                sums.gain += shares.gain * (0.5 * GAIN_PENALTY * u * u - s * u);
                d_out[kind] = shares.gain * (GAIN_PENALTY * u - s);
            }
            if let Some((gradient, d_parts)) = &mut gradient {
                self.gain.backward(parameters, parts, &d_out, gradient, d_parts);
            }
        }
        if !labels.credits.is_empty() {
            sums.credit += self.credit_objective(parameters, parts, labels, shares, &mut gradient);
        }
        sums
    }

    fn member_objective(
        &self,
        parameters: &[f64],
        index: usize,
        parts: &[&[f64]],
        labels: &Labels<'_>,
        shares: &Shares,
        gradient: &mut Option<(&mut Gradient, &mut [&mut [f64]])>,
    ) -> f64 {
        let (units, out) = self.member(parameters, index, parts);
        let mut d_out = vec![0.0; out.len()];
        let mut sum = 0.0;
        for (h, target) in labels.targets.iter().enumerate() {
            let Some(target) = target else { continue };
            let weight = shares.nll * labels.weights[index];
            let (mean, log_sigma) = (out[h], out[self.horizons + h]);
            let (value, d_mean, d_log) = gaussian(*target, mean, log_sigma);
            sum += weight * value;
            d_out[h] = weight * d_mean;
            d_out[self.horizons + h] = weight * d_log * d_bounded(log_sigma);
        }
        if let Some((gradient, d_parts)) = gradient {
            let (first, second) = &self.members[index];
            let mut d_units = vec![0.0; units.len()];
            second.backward(parameters, &[&units], &d_out, gradient, &mut [&mut d_units]);
            for (d, unit) in d_units.iter_mut().zip(&units) {
                *d *= 1.0 - unit * unit;
            }
            first.backward(parameters, parts, &d_units, gradient, d_parts);
        }
        sum
    }

    fn credit_objective(
        &self,
        parameters: &[f64],
        parts: &[&[f64]],
        labels: &Labels<'_>,
        shares: &Shares,
        gradient: &mut Option<(&mut Gradient, &mut [&mut [f64]])>,
    ) -> f64 {
        let n = self.candidates;
        let out = self.credit(parameters, parts);
        let mut d_out = vec![0.0; 3 * n];
        let mut sum = 0.0;
        for label in labels.credits {
            let c = label.candidate;
            let (value, d_mean, d_log) = gaussian(label.value, out[c][0], out[c][1]);
            let odds = out[c][2] + label.log_odds;
            let signed = if label.positive { -odds } else { odds };
            sum += shares.credit * (value + signed.max(0.0) + (-signed.abs()).exp().ln_1p());
            d_out[c] += shares.credit * d_mean;
            d_out[n + c] += shares.credit * d_log * d_bounded(out[c][1]);
            d_out[2 * n + c] += shares.credit * (probability(odds) - f64::from(u8::from(label.positive)));
        }
        if let Some((gradient, d_parts)) = gradient {
            self.credit.backward(parameters, parts, &d_out, gradient, d_parts);
        }
        sum
    }
}

/// The logistic function.
pub(crate) fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Negative log-likelihood without its constant, and its derivatives by mean and log-sigma.
fn gaussian(target: f64, mean: f64, log_sigma: f64) -> (f64, f64, f64) {
    let precision = (-2.0 * log_sigma).exp();
    let error = target - mean;
    (0.5 * precision * error * error + log_sigma, -precision * error, 1.0 - precision * error * error)
}

fn bounded(raw: f64) -> f64 {
    MAX_LOG_SIGMA * (raw / MAX_LOG_SIGMA).tanh()
}

/// Derivative of [`bounded`] in terms of its value.
fn d_bounded(value: f64) -> f64 {
    1.0 - (value / MAX_LOG_SIGMA).powi(2)
}
