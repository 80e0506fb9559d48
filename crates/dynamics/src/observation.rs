//! One token: what training measured since the last one. Numbers are checked here, at the boundary, and nowhere else.

use crate::error::{DynamicsError, Result, finite};
use crate::settings::Settings;

/// Steps are counted below this, so that their sums with horizons are exact.
const MAX_STEP: u64 = 1 << 53;

/// What training measured at one token, about every ten steps.
#[derive(Debug, Clone, Copy, Default)]
pub struct Observation<'a> {
    /// Finished steps, at least 1.
    pub step: u64,
    /// Mean loss over the steps since the last token, nats per byte, not negative.
    pub loss: f64,
    /// Norm of the gradient, not negative.
    pub grad_norm: f64,
    /// Learning rate over its maximum, 0 to 1.
    pub lr: f64,
    /// The same at each horizon ahead, from the schedule.
    pub lr_ahead: &'a [f64],
    /// Inner products of the trajectory basis, `[kinds, basis, basis]`, if measured.
    pub gram: Option<&'a [f64]>,
    /// Normalised descent slope `<-g, d> / (|g| |d|)` of each kind, -1 to 1, if measured.
    pub slopes: Option<&'a [f64]>,
    /// Loss at the weights less loss at their average, nats per byte, if measured.
    pub gap: Option<f64>,
    /// Credit of the last jump in nats per byte, at the token where it became known.
    pub credit: Option<f64>,
    /// Whether a jump was accepted, at the token where one was tried.
    pub accepted: Option<bool>,
}

impl Observation<'_> {
    /// Refuses what is not finite, of the wrong length or out of range.
    pub(crate) fn check(&self, settings: &Settings) -> Result<()> {
        if self.step == 0 || self.step >= MAX_STEP {
            return Err(DynamicsError::observation(format!("step is {}; steps count from 1", self.step)));
        }
        for (name, value) in [("loss", self.loss), ("grad_norm", self.grad_norm)] {
            if finite(name, value)? < 0.0 {
                return Err(DynamicsError::observation(format!("{name} is {value}; it cannot be negative")));
            }
        }
        ranged("lr", self.lr, 0.0, 1.0)?;
        values("lr_ahead", self.lr_ahead, settings.horizons.len(), "one for each horizon", (0.0, 1.0))?;
        if let Some(gram) = self.gram {
            let expected = settings.kinds.len() * settings.basis * settings.basis;
            let every = (f64::NEG_INFINITY, f64::INFINITY);
            values("gram", gram, expected, "kinds x basis x basis", every)?;
        }
        if let Some(slopes) = self.slopes {
            // A cosine may leave its range by rounding.
            values("slopes", slopes, settings.kinds.len(), "one for each kind", (-1.001, 1.001))?;
        }
        for (name, value) in [("gap", self.gap), ("credit", self.credit)] {
            if let Some(value) = value {
                finite(name, value)?;
            }
        }
        Ok(())
    }
}

/// Refuses a list of the wrong length or with a value outside a range.
pub(crate) fn values(
    name: &str,
    list: &[f64],
    length: usize,
    meaning: &str,
    range: (f64, f64),
) -> Result<()> {
    if list.len() != length {
        let found = list.len();
        return Err(DynamicsError::observation(format!(
            "{name} has {found} values, not {length} ({meaning})"
        )));
    }
    list.iter()
        .enumerate()
        .try_for_each(|(i, &value)| ranged(&format!("{name}[{i}]"), value, range.0, range.1))
}

fn ranged(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    finite(name, value)?;
    if value < low || value > high {
        return Err(DynamicsError::observation(format!("{name} is {value}; its range is {low} to {high}")));
    }
    Ok(())
}
