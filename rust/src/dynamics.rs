//! The dynamics model and the divergence monitor.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use neat_dynamics::{DynamicsError, Forecast, Observation, Settings, Tensor, Thresholds};
use numpy::{IntoPyArray, PyArray2, PyArrayDyn, PyArrayMethods, PyReadonlyArray3};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

use crate::error::dynamics_error;

/// A model inside a lock: calls from several threads follow one another.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Arrays by the names of tensors, in their shapes.
fn named<'a, 'py>(
    py: Python<'py>,
    tensors: impl Iterator<Item = (&'a Tensor, &'a [f64])>,
) -> PyResult<Bound<'py, PyDict>> {
    let result = PyDict::new(py);
    for (tensor, values) in tensors {
        let array: Bound<'py, PyArrayDyn<f64>> =
            values.to_vec().into_pyarray(py).reshape(tensor.shape.clone())?;
        result.set_item(&tensor.name, array)?;
    }
    Ok(result)
}

fn raised(error: DynamicsError) -> PyErr {
    dynamics_error(&error)
}

/// A recurrent state-space model that watches training, forecasts its loss and learns online.
///
/// It is fed one token about every ten steps. Loss forecasts are corrections to a log-linear fit, with calibrated
/// intervals; gains and credits are for the predictions of hybrid training. Deterministic from its seed.
///
/// Args:
///     settings: A JSON object. Keys and defaults: `seed` 0, `kinds` hidden and vectors (of tensors), `basis` 3
///         (vectors of the trajectory basis), `horizons` [10, 30, 100] (steps), `candidates` [0.125, 0.25, 0.5, 1.0]
///         (shares of a displacement), `hidden` 48, `latent` 12, `members` 3, `learning_rate` 1e-3, `free_bits` 1.0,
///         `bptt` 32 (tokens), `interval` 0.9, `store` 256, `blend` 0.7, `total_steps_hint` null.
///
/// Raises:
///     neat.errors.ConfigError: A key is unknown, or a value of the wrong type or out of range.
#[pyclass(frozen, module = "neat._native")]
pub(crate) struct Dynamics {
    inner: Mutex<neat_dynamics::Dynamics>,
}

#[pymethods]
impl Dynamics {
    #[new]
    fn new(settings: &str) -> PyResult<Self> {
        let settings = Settings::from_json(settings).map_err(raised)?;
        Ok(Self { inner: Mutex::new(neat_dynamics::Dynamics::new(settings)) })
    }

    /// Take a token: settle the forecasts that it makes due, forecast anew, train.
    ///
    /// A step at or before the last one is a rollback: what was seen at and after it is forgotten, what was learned kept.
    ///
    /// Args:
    ///     step: Finished steps, at least 1.
    ///     loss: Mean loss over the steps since the last token, nats per byte.
    ///     grad_norm: Norm of the gradient.
    ///     lr: Learning rate over its maximum, 0 to 1.
    ///     lr_ahead: The same at each horizon ahead.
    ///     gram: Inner products of the trajectory basis, float64 [kinds, basis, basis]; None where not measured.
    ///     slopes: `<-g, d> / (|g| |d|)` of each kind; it trains the gains.
    ///     gap: Loss at the weights less loss at their average.
    ///     credit: Credit of the last jump, at the token where it became known.
    ///     accepted: Whether a jump was accepted, at the token where one was tried.
    ///
    /// Returns:
    ///     `model/nll`, `model/kl`, `model/grad_norm`, `model/gain_loss`, `model/credit_loss` and `model/rebuilt`: floats, or
    ///     None where nothing was measured.
    ///
    /// Raises:
    ///     neat.errors.DivergedError: A number is not finite.
    ///     ValueError: A list has the wrong length, or a value is out of its range.
    #[pyo3(signature = (*, step, loss, grad_norm, lr, lr_ahead, gram = None, slopes = None, gap = None, credit = None, accepted = None))]
    #[allow(clippy::too_many_arguments)]
    fn observe(
        &self,
        py: Python<'_>,
        step: u64,
        loss: f64,
        grad_norm: f64,
        lr: f64,
        lr_ahead: Vec<f64>,
        gram: Option<PyReadonlyArray3<'_, f64>>,
        slopes: Option<Vec<f64>>,
        gap: Option<f64>,
        credit: Option<f64>,
        accepted: Option<bool>,
    ) -> PyResult<BTreeMap<&'static str, Option<f64>>> {
        let gram: Option<Vec<f64>> = gram.map(|gram| gram.as_array().iter().copied().collect());
        let report = py.detach(|| {
            locked(&self.inner).observe(&Observation {
                step,
                loss,
                grad_norm,
                lr,
                lr_ahead: &lr_ahead,
                gram: gram.as_deref(),
                slopes: slopes.as_deref(),
                gap,
                credit,
                accepted,
            })
        });
        let report = report.map_err(raised)?;
        Ok(BTreeMap::from([
            ("model/nll", report.nll),
            ("model/kl", report.kl),
            ("model/grad_norm", report.grad_norm),
            ("model/gain_loss", report.gain_loss),
            ("model/credit_loss", report.credit_loss),
            ("model/rebuilt", report.rebuilt),
        ]))
    }

    /// What was forecast at the newest token.
    ///
    /// Returns:
    ///     `horizons` (steps) and, by horizon in nats per byte, `mean`, `sigma` (calibrated), `epistemic`, `fit` (log-linear fit
    ///     alone) and `corrected`: lists, or None before there is a fit. `gain` by kind of tensor. `credit_mean`,
    ///     `credit_sigma` and `credit_probability` by candidate, or None before a credit was recorded.
    fn forecast<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let model = locked(&self.inner);
        let Forecast { loss, credit, gain } = model.forecast().clone();
        let result = PyDict::new(py);
        result.set_item("horizons", &model.settings().horizons)?;
        result.set_item("mean", loss.as_ref().map(|loss| &loss.mean))?;
        result.set_item("sigma", loss.as_ref().map(|loss| &loss.sigma))?;
        result.set_item("epistemic", loss.as_ref().map(|loss| &loss.epistemic))?;
        result.set_item("fit", loss.as_ref().map(|loss| &loss.fit))?;
        result.set_item("corrected", loss.as_ref().map(|loss| &loss.corrected))?;
        result.set_item("gain", gain)?;
        result.set_item("credit_mean", credit.as_ref().map(|credit| &credit.mean))?;
        result.set_item("credit_sigma", credit.as_ref().map(|credit| &credit.sigma))?;
        result.set_item("credit_probability", credit.as_ref().map(|credit| &credit.probability))?;
        Ok(result)
    }

    /// Label a token with the credit, in nats per byte, that the candidate with this index earned.
    ///
    /// The token is the newest one at or before `step`; without `step` the newest of all.
    #[pyo3(signature = (candidate, credit, step = None))]
    fn record_credit(&self, candidate: usize, credit: f64, step: Option<u64>) -> PyResult<()> {
        locked(&self.inner).record_credit(candidate, credit, step).map_err(raised)
    }

    /// Store what a jump of `horizon` predicted steps left behind; the oldest entry goes when the store is full.
    ///
    /// `residual_norms` and `cosines` are by kind: norm of actual minus predicted displacement, cosine of the two.
    /// `forecast_residual` is the measured loss less `forecast_averaged(...)["mean"]`.
    #[pyo3(signature = (*, horizon, residual_norms, cosines, forecast_residual, credit))]
    fn record_residual(
        &self,
        horizon: u32,
        residual_norms: Vec<f64>,
        cosines: Vec<f64>,
        forecast_residual: f64,
        credit: f64,
    ) -> PyResult<()> {
        let mut model = locked(&self.inner);
        model.record_residual(horizon, residual_norms, cosines, forecast_residual, credit).map_err(raised)
    }

    /// Take a measured loss at the averaged weights, nats per byte.
    fn observe_averaged(&self, step: u64, loss: f64) -> PyResult<()> {
        locked(&self.inner).observe_averaged(step, loss).map_err(raised)
    }

    /// Loss at the averaged weights at a step: `mean`, `sigma`, `corrected`; None before a measurement and a fit.
    ///
    /// The last measurements are carried along the trend of the training loss. `corrected` adds the similarity-weighted mean
    /// of the stored residuals, blended with the mean error of earlier forecasts.
    fn forecast_averaged(&self, step: u64) -> Option<BTreeMap<&'static str, f64>> {
        let forecast = locked(&self.inner).forecast_averaged(step)?;
        Some(BTreeMap::from([
            ("mean", forecast.mean),
            ("sigma", forecast.sigma),
            ("corrected", forecast.corrected),
        ]))
    }

    /// Accuracy of the forecasts that came due, all on the same forecasts.
    ///
    /// Returns:
    ///     `interval` (nominal share) and, by horizon, `coverage` (share found inside), mean absolute errors `mae` (model),
    ///     `mae_fit` (log-linear fit alone), `mae_corrected`, each None before a forecast came due, and `count`.
    fn calibration<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let accuracy = locked(&self.inner).accuracy();
        let [model, fit, corrected] = accuracy.errors;
        let result = PyDict::new(py);
        result.set_item("interval", accuracy.interval)?;
        result.set_item("coverage", accuracy.coverage)?;
        result.set_item("mae", model)?;
        result.set_item("mae_fit", fit)?;
        result.set_item("mae_corrected", corrected)?;
        result.set_item("count", accuracy.count)?;
        Ok(result)
    }

    /// Number of stored residuals.
    fn residuals(&self) -> usize {
        locked(&self.inner).residuals()
    }

    /// Name, running mean and running variance of every feature that was measured more than once.
    fn feature_statistics(&self) -> Vec<(String, f64, f64)> {
        locked(&self.inner).feature_statistics()
    }

    /// Number of trained parameters.
    fn num_parameters(&self) -> usize {
        locked(&self.inner).num_parameters()
    }

    /// Every trained tensor by its name, float64; weights are [inputs, outputs].
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        named(py, locked(&self.inner).tensors())
    }

    /// One observed step from the newest token on, for comparison with another implementation; None before a token.
    ///
    /// Returns:
    ///     `state`, `features`, `noise` (what went in), `next`, `latent`, `rebuilt`, `kl`, `loss` [members, 2 horizons] (means,
    ///     then log-sigmas), `gain` (logs), `credit` [candidates, 3]: float64.
    fn inspect<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(view) = locked(&self.inner).inspect() else { return Ok(None) };
        let result = PyDict::new(py);
        result.set_item("state", view.state.into_pyarray(py))?;
        result.set_item("features", view.features.into_pyarray(py))?;
        result.set_item("noise", view.noise.into_pyarray(py))?;
        result.set_item("next", view.next.into_pyarray(py))?;
        result.set_item("latent", view.latent.into_pyarray(py))?;
        result.set_item("rebuilt", view.rebuilt.into_pyarray(py))?;
        result.set_item("kl", view.kl)?;
        result.set_item("loss", PyArray2::from_vec2(py, &view.loss)?)?;
        result.set_item("gain", view.gain.into_pyarray(py))?;
        let credit: Vec<Vec<f64>> = view.credit.iter().map(|row| row.to_vec()).collect();
        result.set_item("credit", PyArray2::from_vec2(py, &credit)?)?;
        Ok(Some(result))
    }

    /// Objectives and gradient on the last tokens, for comparison with another implementation; None before a token.
    ///
    /// Returns:
    ///     `state`, `features`, `targets` and `slopes` (NaN where not known), `weights`, `noise`: float64 [tokens, ...];
    ///     `credits`: (token, candidate, value, positive, log-odds); `total`, `nll`, `kl`, `rebuilt`, `gain`, `credit`;
    ///     `gradient` by name.
    fn inspect_training<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let model = locked(&self.inner);
        let Some(view) = model.inspect_training() else { return Ok(None) };
        let result = PyDict::new(py);
        result.set_item("state", view.state.into_pyarray(py))?;
        for (name, rows) in [
            ("features", &view.features),
            ("targets", &view.targets),
            ("weights", &view.weights),
            ("slopes", &view.slopes),
            ("noise", &view.noise),
        ] {
            result.set_item(name, PyArray2::from_vec2(py, rows)?)?;
        }
        result.set_item("credits", view.credits)?;
        for (name, value) in ["total", "nll", "kl", "rebuilt", "gain", "credit"].iter().zip(view.losses) {
            result.set_item(name, value)?;
        }
        let part = |tensor: &Tensor| &view.gradient[tensor.offset..tensor.offset + tensor.len()];
        result.set_item("gradient", named(py, model.tensors().map(|(tensor, _)| (tensor, part(tensor))))?)?;
        Ok(Some(result))
    }

    /// A rollout without observations: normalised features, float64 [tokens, features]; latents are drawn by `seed`.
    fn imagine<'py>(&self, py: Python<'py>, tokens: usize, seed: u64) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let rows = py.detach(|| locked(&self.inner).imagine(tokens, seed));
        Ok(PyArray2::from_vec2(py, &rows)?)
    }

    /// The state as bytes; `from_bytes` goes on from it bit for bit.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| locked(&self.inner).to_bytes()))
    }

    /// A model from settings and the bytes of `to_bytes`.
    ///
    /// Raises:
    ///     neat.errors.CheckpointError: The bytes are damaged, of another version, or from other settings.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, settings: &str, state: PyBackedBytes) -> PyResult<Self> {
        let settings = Settings::from_json(settings).map_err(raised)?;
        let model = py.detach(|| neat_dynamics::Dynamics::from_bytes(settings, &state)).map_err(raised)?;
        Ok(Self { inner: Mutex::new(model) })
    }

    fn __repr__(&self) -> String {
        let model = locked(&self.inner);
        format!("Dynamics(num_parameters={}, residuals={})", model.num_parameters(), model.residuals())
    }
}

/// Watches losses and gradients for signs of divergence.
///
/// Args:
///     settings: A JSON object with thresholds `[info, warning, critical]`: `loss` and `gradient` (robust deviations above
///         the median), `oscillation` (alternating differences against usual ones), `forecast` (sigmas above the forecast);
///         `window` and `warmup` in tokens.
///
/// Raises:
///     neat.errors.ConfigError: A key is unknown, or thresholds do not ascend.
#[pyclass(frozen, module = "neat._native")]
pub(crate) struct DivergenceMonitor {
    inner: Mutex<neat_dynamics::DivergenceMonitor>,
}

#[pymethods]
impl DivergenceMonitor {
    #[new]
    #[pyo3(signature = (settings = "{}"))]
    fn new(settings: &str) -> PyResult<Self> {
        let thresholds = Thresholds::from_json(settings).map_err(raised)?;
        Ok(Self { inner: Mutex::new(neat_dynamics::DivergenceMonitor::new(thresholds)) })
    }

    /// Take a token; `forecast_error` is (measured - forecast) / sigma. Numbers that are not finite are a signal.
    ///
    /// Returns:
    ///     (signal, severity, message) of each warning: signal is `loss`, `gradient`, `nonfinite`, `oscillation` or
    ///     `forecast`, severity `info`, `warning` or `critical`.
    #[pyo3(signature = (*, step, loss, grad_norm, forecast_error = None))]
    fn observe(
        &self,
        step: u64,
        loss: f64,
        grad_norm: f64,
        forecast_error: Option<f64>,
    ) -> Vec<(&'static str, &'static str, String)> {
        let warnings = locked(&self.inner).observe(step, loss, grad_norm, forecast_error);
        warnings.into_iter().map(|w| (w.signal.name(), w.severity.name(), w.message)).collect()
    }

    /// Forget what was seen, after a rollback: the warm-up begins again.
    fn reset(&self) {
        locked(&self.inner).reset();
    }

    /// The state as bytes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &locked(&self.inner).to_bytes())
    }

    /// A monitor from settings and the bytes of `to_bytes`.
    #[staticmethod]
    fn from_bytes(settings: &str, state: PyBackedBytes) -> PyResult<Self> {
        let thresholds = Thresholds::from_json(settings).map_err(raised)?;
        let inner = neat_dynamics::DivergenceMonitor::from_bytes(thresholds, &state).map_err(raised)?;
        Ok(Self { inner: Mutex::new(inner) })
    }
}
