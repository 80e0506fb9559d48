//! What a user of the model records beside tokens: credits, residuals of jumps, probes of the averaged weights.

use crate::dynamics::Dynamics;
use crate::error::{DynamicsError, Result, finite};
use crate::observation::values;
use crate::residual::{Residual, proposal, similar};
use crate::token::MAX_CREDITS;

/// Forecast of the loss at the averaged weights, nats per byte.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AveragedForecast {
    /// Expected loss.
    pub mean: f64,
    /// Standard deviation by the errors of earlier forecasts.
    pub sigma: f64,
    /// Mean with the corrector's blend of stored residuals and mean error.
    pub corrected: f64,
}

impl Dynamics {
    /// Labels a token with the credit that a candidate earned: the newest one at or before `step`, or the newest of all.
    pub fn record_credit(&mut self, candidate: usize, credit: f64, step: Option<u64>) -> Result<()> {
        finite("credit", credit)?;
        let count = self.settings.candidates.len();
        if candidate >= count {
            return Err(DynamicsError::observation(format!(
                "there is no candidate {candidate} among {count}"
            )));
        }
        let wanted = step.unwrap_or(u64::MAX);
        let Some(token) = self.history.iter_mut().rev().find(|token| token.step <= wanted) else {
            return Err(DynamicsError::observation("a credit was recorded before any token was observed"));
        };
        let label = self.credits.push(candidate, credit);
        if token.credits.len() < MAX_CREDITS {
            token.credits.push(label);
        }
        Ok(())
    }

    /// Stores what a jump of `horizon` predicted steps left behind.
    pub fn record_residual(
        &mut self,
        horizon: u32,
        residual_norms: Vec<f64>,
        cosines: Vec<f64>,
        forecast_residual: f64,
        credit: f64,
    ) -> Result<()> {
        let kinds = self.settings.kinds.len();
        values("residual_norms", &residual_norms, kinds, "one for each kind", (0.0, f64::MAX))?;
        values("cosines", &cosines, kinds, "one for each kind", (-1.001, 1.001))?;
        finite("forecast_residual", forecast_residual)?;
        finite("credit", credit)?;
        // The situation of the jump: the newest token that is no younger than the predicted steps.
        let Some(last) = self.history.back() else {
            return Err(DynamicsError::observation("a residual was recorded before any token was observed"));
        };
        let then = last.step.saturating_sub(u64::from(horizon));
        let token = self.history.iter().rev().find(|token| token.step <= then);
        let features = token.unwrap_or(&self.history[0]).features.clone();
        let usual = self.averaged.sigma(forecast_residual.abs()).max(1e-12);
        let proposed = self.propose_averaged(&features);
        self.averaged.trust.push(proposed / usual, forecast_residual / usual);
        self.store.push(Residual { features, horizon, residual_norms, cosines, forecast_residual, credit });
        Ok(())
    }

    /// Number of residuals stored.
    pub fn residuals(&self) -> usize {
        self.store.entries.len()
    }

    /// Takes a measured loss at the averaged weights.
    pub fn observe_averaged(&mut self, step: u64, loss: f64) -> Result<()> {
        if finite("loss", loss)? < 0.0 || step == 0 {
            let message = format!("loss {loss} at step {step}: losses are not negative, steps count from 1");
            return Err(DynamicsError::observation(message));
        }
        self.averaged.rewind(step);
        self.averaged.push(step, loss, self.line().as_ref());
        Ok(())
    }

    /// Loss at the averaged weights at a step; None before a probe and a fit.
    pub fn forecast_averaged(&self, step: u64) -> Option<AveragedForecast> {
        let line = self.line()?;
        let mean = self.averaged.carried(step, &line)?;
        let proposed = self.history.back().map_or(0.0, |token| self.propose_averaged(&token.features));
        let corrected = mean + self.averaged.trust.share() * proposed;
        Some(AveragedForecast { mean, sigma: self.averaged.sigma(line.deviation * mean), corrected })
    }

    /// What the corrector proposes to add to a forecast of the loss at the averaged weights.
    fn propose_averaged(&self, features: &[f64]) -> f64 {
        let entries = self.store.entries.iter();
        let stored = similar(features, entries.map(|entry| (&entry.features[..], entry.forecast_residual)));
        proposal(self.settings.blend, stored, self.averaged.bias())
    }
}
