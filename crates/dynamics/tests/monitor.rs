//! The divergence monitor: each signal alone gives its own level, a smooth run gives none.
#![allow(clippy::unwrap_used, missing_docs)]

use neat_dynamics::{DivergenceMonitor, Severity, Signal, Thresholds};
use proptest::prelude::*;

/// Noise between -0.5 and 0.5, the same everywhere.
fn noise(token: u64) -> f64 {
    let mut word = token.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word ^= word >> 27;
    (word >> 11) as f64 / (1u64 << 53) as f64 - 0.5
}

fn trend(token: u64) -> f64 {
    2.0 * (10.0 + token as f64).powf(-0.1)
}

fn loss(token: u64) -> f64 {
    trend(token) + 0.04 * noise(token)
}

fn gradient(token: u64) -> f64 {
    1.0 + 0.3 * noise(token + 1000)
}

fn warmed() -> DivergenceMonitor {
    let mut monitor = DivergenceMonitor::new(Thresholds::default());
    for token in 0..60 {
        assert_eq!(monitor.observe(token, loss(token), gradient(token), Some(noise(token))), []);
    }
    monitor
}

fn told(warnings: &[neat_dynamics::Warning]) -> Vec<(Signal, Severity)> {
    warnings.iter().map(|warning| (warning.signal, warning.severity)).collect()
}

#[test]
fn a_smooth_run_gives_no_warning() {
    let mut monitor = DivergenceMonitor::new(Thresholds::default());
    for token in 0..2000 {
        let warnings = monitor.observe(token, loss(token), gradient(token), Some(4.0 * noise(token)));
        assert_eq!(warnings, [], "{token}");
    }
}

#[test]
fn a_still_run_gives_no_warning() {
    let mut monitor = DivergenceMonitor::new(Thresholds::default());
    for token in 0..200 {
        assert_eq!(monitor.observe(token, 1.0, 1.0, Some(0.0)), []);
    }
}

#[test]
fn a_loss_out_of_its_band_gives_the_level_of_its_height() {
    for (rise, severity) in [(0.09, Severity::Info), (0.15, Severity::Warning), (1.0, Severity::Critical)] {
        let warnings = warmed().observe(60, trend(60) + rise, gradient(60), Some(0.0));
        assert_eq!(told(&warnings), [(Signal::Loss, severity)], "{rise} {warnings:?}");
        assert!(warnings[0].message.contains("step 60"));
    }
}

#[test]
fn a_gradient_out_of_its_band_gives_the_level_of_its_height() {
    for (factor, severity) in [(2.0, Severity::Info), (3.2, Severity::Warning), (30.0, Severity::Critical)] {
        let warnings = warmed().observe(60, loss(60), factor, Some(0.0));
        assert_eq!(told(&warnings), [(Signal::Gradient, severity)], "{factor} {warnings:?}");
    }
}

#[test]
fn numbers_that_are_none_are_critical_and_not_kept() {
    let mut monitor = warmed();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let before = monitor.clone();
        let warnings = monitor.observe(60, value, value, Some(value));
        assert_eq!(told(&warnings), [(Signal::Nonfinite, Severity::Critical); 3]);
        assert_eq!(monitor, before);
    }
    assert_eq!(monitor.observe(61, loss(61), gradient(61), None), []);
}

#[test]
fn alternating_losses_give_the_level_of_their_size() {
    let mut seen = Vec::new();
    for size in [0.02, 0.035, 0.1] {
        let mut monitor = warmed();
        let mut worst = None;
        for token in 60..74 {
            let sign = if token % 2 == 0 { 1.0 } else { -1.0 };
            let value = trend(token) + sign * size;
            for (signal, severity) in told(&monitor.observe(token, value, gradient(token), Some(0.0))) {
                if signal == Signal::Oscillation {
                    worst = worst.max(Some(severity));
                } else {
                    assert!(size > 0.09, "{size} also gives {signal:?}");
                }
            }
        }
        seen.push(worst);
    }
    assert_eq!(seen, [Some(Severity::Info), Some(Severity::Warning), Some(Severity::Critical)]);
}

#[test]
fn a_missed_forecast_gives_the_level_of_its_sigmas() {
    for (error, level) in [
        (3.5, Some(Severity::Info)),
        (5.0, Some(Severity::Warning)),
        (9.0, Some(Severity::Critical)),
        (-9.0, None),
    ] {
        let warnings = warmed().observe(60, loss(60), gradient(60), Some(error));
        let expected: Vec<_> = level.map(|level| (Signal::Forecast, level)).into_iter().collect();
        assert_eq!(told(&warnings), expected);
    }
}

#[test]
fn a_reset_begins_the_warm_up_again() {
    let mut monitor = warmed();
    monitor.reset();
    assert_eq!(monitor, DivergenceMonitor::new(Thresholds::default()));
    assert_eq!(monitor.observe(60, 9.0, 9.0, None), []);
}

#[test]
fn thresholds_are_checked() {
    for (text, word) in [
        (r#"{"los": [1, 2, 3]}"#, "los"),
        (r#"{"loss": [3, 2, 4]}"#, "loss"),
        (r#"{"forecast": [0, 1, 2]}"#, "forecast"),
        (r#"{"window": 2}"#, "window"),
        (r#"{"warmup": 100}"#, "warmup"),
    ] {
        assert!(Thresholds::from_json(text).unwrap_err().to_string().contains(word), "{text}");
    }
    assert_eq!(Thresholds::from_json("{}").unwrap(), Thresholds::default());
}

proptest! {
    #[test]
    fn it_goes_on_from_its_state_and_never_panics(values in prop::collection::vec(any::<(f64, f64)>(), 0..150)) {
        let mut straight = DivergenceMonitor::new(Thresholds::default());
        let half = values.len() / 2;
        for (step, (loss, gradient)) in values[..half].iter().enumerate() {
            straight.observe(step as u64, *loss, *gradient, Some(*loss));
        }
        let mut resumed = DivergenceMonitor::from_bytes(Thresholds::default(), &straight.to_bytes()).unwrap();
        for (step, (loss, gradient)) in values[half..].iter().enumerate() {
            let step = (half + step) as u64;
            let said = straight.observe(step, *loss, *gradient, None);
            prop_assert_eq!(said, resumed.observe(step, *loss, *gradient, None));
        }
        prop_assert_eq!(resumed.to_bytes(), straight.to_bytes());
    }
}
