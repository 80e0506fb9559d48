//! Forecast of the loss at the averaged weights, which is measured rarely.
//!
//! The trend of the training loss is known far better than that of a handful of probes, so each of the last probes is
//! carried along it: `L_E(s) = mean_i L_E(s_i) T(s) / T(s_i)` with `T` the log-linear fit.

use std::collections::VecDeque;

use crate::residual::Trust;
use crate::state::codec;
use crate::trend::Line;

/// Probes kept, and those of them that are carried forward.
const PROBES: usize = 16;
const CARRIED: usize = 3;
/// Errors without which sigma is that of the training loss.
const MIN_ERRORS: u64 = 3;

/// The last probes and the errors of the forecasts of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Averaged {
    probes: VecDeque<(u64, f64)>,
    errors: u64,
    bias: f64,
    square: f64,
    /// How far the corrector is trusted.
    pub(crate) trust: Trust,
}
codec!(Averaged { probes, errors, bias, square, trust });

impl Averaged {
    pub(crate) fn new() -> Self {
        Self { probes: VecDeque::new(), errors: 0, bias: 0.0, square: 0.0, trust: Trust::new(0.5, 1.0) }
    }

    pub(crate) fn fits(&self) -> bool {
        self.probes.len() <= PROBES
    }

    /// Takes a probe, and scores the forecast that the earlier ones give for it.
    pub(crate) fn push(&mut self, step: u64, loss: f64, line: Option<&Line>) {
        if let Some(forecast) = line.and_then(|line| self.carried(step, line)) {
            self.errors = self.errors.saturating_add(1);
            let share = (1.0 / self.errors as f64).max(0.1);
            let error = loss - forecast;
            self.bias += share * (error - self.bias);
            self.square += share * (error * error - self.square);
        }
        if self.probes.len() == PROBES {
            self.probes.pop_front();
        }
        self.probes.push_back((step, loss));
    }

    /// Forgets the probes at and after a step.
    pub(crate) fn rewind(&mut self, step: u64) {
        self.probes.retain(|probe| probe.0 < step);
    }

    /// Loss at a step by the last probes; None without one.
    pub(crate) fn carried(&self, step: u64, line: &Line) -> Option<f64> {
        let last = self.probes.iter().rev().take(CARRIED);
        let count = last.len();
        let sum: f64 = last.map(|&(s, loss)| loss * (line.log_loss(step) - line.log_loss(s)).exp()).sum();
        (count > 0).then(|| sum / count as f64)
    }

    /// Mean error of past forecasts.
    pub(crate) fn bias(&self) -> f64 {
        self.bias
    }

    /// Standard deviation of past forecasts' errors; `typical` while there are few.
    pub(crate) fn sigma(&self, typical: f64) -> f64 {
        if self.errors < MIN_ERRORS { typical } else { self.square.sqrt().max(1e-9) }
    }
}
