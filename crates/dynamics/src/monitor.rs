//! Divergence monitor: five signals, three severities, robust statistics, no learning.
//!
//! *loss* and *gradient* compare the newest value with the median of the last few, in deviations of the noise: 1.4826 times
//! the median absolute deviation of the differences of neighbours, over the root of two, which no trend can widen. *oscillation* is a run of losses that alternate above and below by more than they used to.
//! *forecast* is a loss above its forecast, in the forecast's sigmas. *nonfinite* is any number that is none.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{DynamicsError, Result};
use crate::settings::within;
use crate::state::{Format, codec, misfit};
use crate::trend::median;

const FORMAT: Format = Format { magic: *b"NEATMON\0", version: 1, name: "the divergence monitor" };
/// Share of the sign changes that must alternate, and the differences looked at.
const ALTERNATING: f64 = 0.9;
const DIFFERENCES: usize = 12;
/// Tokens whose median a new value is compared with.
const NEAR: usize = 16;
/// Least deviation, as a share of the median, so that a still run has no deviations of zero.
const FLOOR: f64 = 0.01;
/// Least deviation of the log of the gradient's norm.
const GRADIENT_FLOOR: f64 = 0.1;

/// Thresholds of the monitor: `[info, warning, critical]` each, ascending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Robust deviations of the loss above its median.
    pub loss: [f64; 3],
    /// Robust deviations of the gradient's log-norm above its median.
    pub gradient: [f64; 3],
    /// Size of alternating differences against the typical difference before.
    pub oscillation: [f64; 3],
    /// Forecast error in sigmas.
    pub forecast: [f64; 3],
    /// Tokens looked back over (16 to 4096).
    pub window: usize,
    /// Tokens before loss, gradient and oscillation are judged (8 to `window`).
    pub warmup: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            loss: [5.0, 8.0, 14.0],
            gradient: [5.0, 8.0, 14.0],
            oscillation: [2.5, 4.0, 8.0],
            forecast: [3.0, 4.5, 8.0],
            window: 64,
            warmup: 24,
        }
    }
}

impl Thresholds {
    /// Thresholds from a JSON object.
    pub fn from_json(text: &str) -> Result<Self> {
        let thresholds: Self = serde_json::from_str(text).map_err(|error| {
            DynamicsError::setting(
                format!("settings of the divergence monitor cannot be read: {error}"),
                "the keys are loss, gradient, oscillation, forecast, window, warmup",
            )
        })?;
        let lists = [
            ("loss", thresholds.loss),
            ("gradient", thresholds.gradient),
            ("oscillation", thresholds.oscillation),
            ("forecast", thresholds.forecast),
        ];
        for (name, list) in lists {
            if !list.iter().all(|value| value.is_finite() && *value > 0.0)
                || list[0] > list[1]
                || list[1] > list[2]
            {
                return Err(DynamicsError::setting(
                    format!("the monitor's thresholds {name} cannot be {list:?}"),
                    "give three positive numbers that ascend: info, warning, critical",
                ));
            }
        }
        within("window", thresholds.window as f64, 16.0, 4096.0)?;
        within("warmup", thresholds.warmup as f64, 8.0, thresholds.window as f64)?;
        Ok(thresholds)
    }

    fn digest(&self) -> u64 {
        xxh3_64(serde_json::to_string(self).unwrap_or_default().as_bytes())
    }
}

/// What drew attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The loss rose out of its band.
    Loss,
    /// The gradient's norm did.
    Gradient,
    /// A number is not finite.
    Nonfinite,
    /// Losses alternate.
    Oscillation,
    /// The loss is above its forecast.
    Forecast,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a line.
    Info,
    /// Worth caution: no predictions for a while.
    Warning,
    /// Worth a rollback.
    Critical,
}

impl Signal {
    /// Name in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Gradient => "gradient",
            Self::Nonfinite => "nonfinite",
            Self::Oscillation => "oscillation",
            Self::Forecast => "forecast",
        }
    }
}

impl Severity {
    /// Name in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The highest severity whose threshold a value reaches.
    fn of(value: f64, thresholds: &[f64; 3]) -> Option<Self> {
        let reached = thresholds.iter().filter(|threshold| value >= **threshold).count();
        [None, Some(Self::Info), Some(Self::Warning), Some(Self::Critical)][reached]
    }
}

/// One thing the monitor has to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Warning {
    /// What drew attention.
    pub signal: Signal,
    /// How bad it is.
    pub severity: Severity,
    /// A sentence with the numbers.
    pub message: String,
}

/// Watches losses and gradients for signs of divergence.
#[derive(Debug, Clone, PartialEq)]
pub struct DivergenceMonitor {
    thresholds: Thresholds,
    recent: Recent,
}

/// The last finite values.
#[derive(Debug, Clone, Default, PartialEq)]
struct Recent {
    losses: VecDeque<f64>,
    gradients: VecDeque<f64>,
}
codec!(Recent { losses, gradients });

impl DivergenceMonitor {
    /// A monitor that has seen nothing.
    pub fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, recent: Recent::default() }
    }

    /// Takes a token; numbers that are not finite are a signal, not an error, and are not kept.
    pub fn observe(
        &mut self,
        step: u64,
        loss: f64,
        grad_norm: f64,
        forecast_error: Option<f64>,
    ) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for (name, value) in [("loss", loss), ("gradient norm", grad_norm)] {
            if !value.is_finite() {
                let message = format!("the {name} at step {step} is {}", value.to_string().to_lowercase());
                warnings.push(Warning { signal: Signal::Nonfinite, severity: Severity::Critical, message });
            }
        }
        if loss.is_finite() {
            warnings.extend(self.loss(step, loss));
            push(&mut self.recent.losses, loss, self.thresholds.window);
            warnings.extend(self.oscillation(step));
        }
        if grad_norm.is_finite() {
            let log = grad_norm.max(0.0).max(1e-30).ln();
            warnings.extend(self.gradient(step, log));
            push(&mut self.recent.gradients, log, self.thresholds.window);
        }
        warnings.extend(forecast_error.and_then(|error| self.forecast(step, error)));
        warnings
    }

    fn loss(&self, step: u64, loss: f64) -> Option<Warning> {
        let (center, deviation) = self.band(&self.recent.losses)?;
        let deviation = deviation.max(FLOOR * center.abs());
        let score = (loss - center) / deviation.max(1e-12);
        let severity = Severity::of(score, &self.thresholds.loss)?;
        let message = format!(
            "the loss at step {step} is {loss:.4}, {score:.1} deviations above its median {center:.4}"
        );
        Some(Warning { signal: Signal::Loss, severity, message })
    }

    fn gradient(&self, step: u64, log: f64) -> Option<Warning> {
        let (center, deviation) = self.band(&self.recent.gradients)?;
        let score = (log - center) / deviation.max(GRADIENT_FLOOR);
        let severity = Severity::of(score, &self.thresholds.gradient)?;
        let (norm, usual) = (log.exp(), center.exp());
        let message = format!(
            "the gradient norm at step {step} is {norm:.4}, {score:.1} deviations above its median {usual:.4}"
        );
        Some(Warning { signal: Signal::Gradient, severity, message })
    }

    fn oscillation(&self, step: u64) -> Option<Warning> {
        let losses = &self.recent.losses;
        if losses.len() < self.thresholds.warmup.max(DIFFERENCES + 4) {
            return None;
        }
        let differences: Vec<f64> = losses.iter().zip(losses.iter().skip(1)).map(|(a, b)| b - a).collect();
        let (before, last) = differences.split_at(differences.len() - DIFFERENCES);
        let turns = last.windows(2).filter(|pair| pair[0] * pair[1] < 0.0).count();
        if (turns as f64) < ALTERNATING * (DIFFERENCES - 1) as f64 {
            return None;
        }
        let size = |list: &[f64]| median(&mut list.iter().map(|d| d.abs()).collect::<Vec<_>>());
        let floor = FLOOR * median(&mut losses.iter().map(|loss| loss.abs()).collect::<Vec<_>>());
        let ratio = size(last) / size(before).max(floor).max(1e-12);
        let severity = Severity::of(ratio, &self.thresholds.oscillation)?;
        let message = format!("the loss alternates at step {step}, by {ratio:.1} times its usual difference");
        Some(Warning { signal: Signal::Oscillation, severity, message })
    }

    fn forecast(&self, step: u64, error: f64) -> Option<Warning> {
        if !error.is_finite() {
            let message =
                format!("the forecast error at step {step} is {}", error.to_string().to_lowercase());
            return Some(Warning { signal: Signal::Nonfinite, severity: Severity::Critical, message });
        }
        let severity = Severity::of(error, &self.thresholds.forecast)?;
        let message = format!("the loss at step {step} is {error:.1} sigmas above its forecast");
        Some(Warning { signal: Signal::Forecast, severity, message })
    }

    /// Median of the last few and deviation of the noise; None before the warm-up is over.
    fn band(&self, values: &VecDeque<f64>) -> Option<(f64, f64)> {
        if values.len() < self.thresholds.warmup {
            return None;
        }
        let center = median(&mut values.iter().rev().take(NEAR).copied().collect::<Vec<_>>());
        let mut steps: Vec<f64> = values.iter().zip(values.iter().skip(1)).map(|(a, b)| b - a).collect();
        let drift = median(&mut steps);
        for step in &mut steps {
            *step = (*step - drift).abs();
        }
        Some((center, 1.4826 * median(&mut steps) / std::f64::consts::SQRT_2))
    }

    /// Forgets all values, after a rollback: the warm-up begins again.
    pub fn reset(&mut self) {
        self.recent = Recent::default();
    }

    /// The state as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        FORMAT.seal(self.thresholds.digest(), &self.recent)
    }

    /// A monitor that goes on from [`DivergenceMonitor::to_bytes`].
    pub fn from_bytes(thresholds: Thresholds, bytes: &[u8]) -> Result<Self> {
        let recent: Recent = FORMAT.open(thresholds.digest(), bytes)?;
        if recent.losses.len() > thresholds.window || recent.gradients.len() > thresholds.window {
            return Err(misfit("window"));
        }
        Ok(Self { thresholds, recent })
    }
}

fn push(values: &mut VecDeque<f64>, value: f64, window: usize) {
    if values.len() == window {
        values.pop_front();
    }
    values.push_back(value);
}
