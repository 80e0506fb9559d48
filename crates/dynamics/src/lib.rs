//! The dynamics model that watches training and forecasts it. Pure Rust, no Python, no autograd.
//!
//! A recurrent state-space model reads one token of scalars about every ten steps: losses, norms, inner products of the
//! trajectory. It forecasts the loss some steps ahead as a correction to a log-linear fit, the credit of a jump and the
//! gain of a prediction for each kind of tensor. It learns online; everything is bounded and deterministic from a seed.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod adamw;
mod averaged;
mod calibration;
mod credit;
mod dynamics;
mod encoder;
mod error;
mod features;
mod fit;
mod forecast;
#[cfg(test)]
mod gradient_check;
mod gru;
mod heads;
mod inspect;
mod linear;
mod monitor;
mod network;
mod observation;
mod random;
mod records;
mod residual;
mod ridge;
mod rssm;
mod saved;
mod settings;
mod state;
mod token;
mod trend;

pub use dynamics::{Accuracy, Dynamics};
pub use error::{DynamicsError, Result};
pub use fit::Report;
pub use forecast::{CreditForecast, Forecast, LossForecast};
pub use inspect::{StepView, TrainingView};
pub use linear::Tensor;
pub use monitor::{DivergenceMonitor, Severity, Signal, Thresholds, Warning};
pub use observation::Observation;
pub use records::AveragedForecast;
pub use residual::Residual;
pub use settings::Settings;
