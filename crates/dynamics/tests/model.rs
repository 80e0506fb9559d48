//! The dynamics model as a whole: what it learns, what it keeps, what it refuses.
#![allow(clippy::unwrap_used, missing_docs)]

use neat_dynamics::{Dynamics, DynamicsError, Observation, Settings};

const TOKEN: u64 = 10;

fn settings(text: &str) -> Settings {
    Settings::from_json(text).unwrap()
}

fn small(seed: u64) -> Settings {
    settings(&format!(
        r#"{{"seed": {seed}, "kinds": ["hidden", "vectors"], "hidden": 12, "latent": 4, "bptt": 8, "store": 4}}"#
    ))
}

/// A little noise that is the same on every machine.
fn noise(token: u64) -> f64 {
    let mut word = token.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    word ^= word >> 31;
    word = word.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (word >> 11) as f64 / (1u64 << 53) as f64 - 0.5
}

/// A loss that falls by a power of the step and is a little noisy.
fn loss(token: u64) -> f64 {
    5.0 * ((token * TOKEN) as f64).powf(-0.15) + 0.05 * noise(token)
}

fn feed(model: &mut Dynamics, tokens: std::ops::RangeInclusive<u64>) {
    for token in tokens {
        let wave = (token as f64 * 0.3).sin();
        let gram: Vec<f64> = [1.0, 1.0]
            .iter()
            .flat_map(|kind| {
                let (a, b) = (0.3 * wave, 0.2 + 0.1 * noise(token + 7));
                [*kind, a, b, a, 1.0 + 0.5 * wave * wave, a * b, b, a * b, 0.5 + 0.2 * noise(token).abs()]
            })
            .collect();
        let slopes = [0.1 + 0.05 * noise(token), -0.2 + 0.05 * wave];
        let observation = Observation {
            step: token * TOKEN,
            loss: loss(token),
            grad_norm: 1.0 + 0.3 * noise(token + 3),
            lr: (token as f64 / 20.0).min(1.0),
            lr_ahead: &[1.0, 1.0, 1.0],
            gram: Some(&gram),
            slopes: Some(&slopes),
            gap: Some(0.02 + 0.01 * wave),
            credit: (token % 17 == 0).then_some(0.001 * wave),
            accepted: (token % 13 == 0).then_some(token % 2 == 0),
        };
        model.observe(&observation).unwrap();
        if token % 17 == 0 {
            model.record_credit((token % 4) as usize, 0.01 + 0.002 * wave, None).unwrap();
        }
    }
}

#[test]
fn a_model_read_from_its_state_goes_on_bit_for_bit() {
    let mut straight = Dynamics::new(small(3));
    feed(&mut straight, 1..=60);
    let mut resumed = Dynamics::from_bytes(small(3), &straight.to_bytes()).unwrap();
    assert_eq!(resumed.to_bytes(), straight.to_bytes());
    assert_eq!(resumed.forecast(), straight.forecast());
    feed(&mut straight, 61..=90);
    feed(&mut resumed, 61..=90);
    assert_eq!(resumed.to_bytes(), straight.to_bytes());
}

#[test]
fn everything_is_decided_by_the_seed() {
    let bytes = |seed| {
        let mut model = Dynamics::new(small(seed));
        feed(&mut model, 1..=30);
        model.to_bytes()
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1)[36..], bytes(2)[36..]);
}

#[test]
fn memory_is_bounded() {
    let mut model = Dynamics::new(small(0));
    let residual =
        |model: &mut Dynamics| model.record_residual(20, vec![0.1, 0.2], vec![0.5, 0.1], 0.01, 0.002);
    let mut sizes = Vec::new();
    for block in 0..4u64 {
        feed(&mut model, 1 + 200 * block..=200 * (block + 1));
        for _ in 0..6 {
            residual(&mut model).unwrap();
            model.observe_averaged(200 * (block + 1) * TOKEN, 2.0).unwrap();
        }
        sizes.push(model.to_bytes().len());
    }
    assert_eq!(model.residuals(), 4);
    // From the second block on every buffer is full; only credits, which not every token has, come and go.
    assert!(sizes[3] <= sizes[1] + 2048, "{sizes:?}");
}

#[test]
fn every_tensor_changes_and_no_feature_stays_constant() {
    let mut model = Dynamics::new(small(5));
    let before: Vec<Vec<f64>> = model.tensors().map(|(_, values)| values.to_vec()).collect();
    feed(&mut model, 1..=40);
    for ((tensor, after), before) in model.tensors().zip(&before) {
        assert_ne!(after, &before[..], "{} did not change", tensor.name);
        assert!(after.iter().all(|value| value.is_finite()));
    }
    let statistics = model.feature_statistics();
    assert!(statistics.len() > 25);
    for (name, _, variance) in statistics {
        // The schedule of this toy says nothing about the future once its warm-up is over, and all of it before.
        assert!(variance > 1e-12, "{name} is constant");
    }
}

#[test]
fn gains_follow_the_descent_slope_and_stay_in_their_range() {
    let mut model = Dynamics::new(settings(r#"{"kinds": ["up", "down"], "learning_rate": 0.003}"#));
    assert_eq!(model.forecast().gain, [1.0, 1.0]);
    for token in 1..=300 {
        let observation = Observation {
            step: token * TOKEN,
            loss: loss(token),
            grad_norm: 1.0,
            lr: 1.0,
            lr_ahead: &[1.0, 1.0, 1.0],
            slopes: Some(&[0.1, -0.2]),
            ..Observation::default()
        };
        model.observe(&observation).unwrap();
        assert!(model.forecast().gain.iter().all(|gain| (0.0..=1.5).contains(gain)));
    }
    // The optimum of the log-gain is the slope over its penalty of 0.5.
    for (gain, expected) in model.forecast().gain.iter().zip([0.2_f64.exp(), (-0.4_f64).exp()]) {
        assert!((gain - expected).abs() < 0.1, "{gain} {expected}");
    }
}

#[test]
fn credits_that_differ_by_candidate_are_told_apart() {
    let mut model = Dynamics::new(small(0));
    feed(&mut model, 1..=16);
    assert!(model.forecast().credit.is_none());
    for token in 18..=80 {
        feed(&mut model, token..=token);
        model.record_credit(0, 0.02, Some(token * TOKEN)).unwrap();
        model.record_credit(3, -0.03, Some(token * TOKEN)).unwrap();
    }
    let credit = model.forecast().credit.clone().unwrap();
    assert!(credit.mean[0] > 0.01 && credit.mean[3] < -0.01, "{credit:?}");
    assert!(credit.probability[0] > 0.8 && credit.probability[3] < 0.2, "{credit:?}");
    assert!(credit.sigma.iter().all(|sigma| *sigma > 0.0));
}

#[test]
fn a_rollback_forgets_what_came_after() {
    let mut model = Dynamics::new(small(0));
    feed(&mut model, 1..=60);
    model.observe_averaged(600, 1.9).unwrap();
    feed(&mut model, 50..=50);
    assert!(model.forecast_averaged(700).is_none(), "the probe at 600 lies after the rollback");
    feed(&mut model, 51..=70);
    let forecast = model.forecast().loss.clone().unwrap();
    assert!(forecast.mean.iter().all(|mean| (mean - loss(75)).abs() < 0.3), "{forecast:?}");
}

#[test]
fn the_corrector_lowers_a_bias_of_the_averaged_forecast() {
    let mut model = Dynamics::new(small(0));
    let (mut before, mut after, mut jumps) = (0.0, 0.0, 0);
    for token in 1..=240u64 {
        feed(&mut model, token..=token);
        if token >= 40 && token % 10 == 0 {
            // Each jump leaves the averaged weights a little worse than the trend says.
            let measured = 0.97 * loss(token) + 0.02;
            if let Some(forecast) = model.forecast_averaged(token * TOKEN) {
                before += (measured - forecast.mean).abs();
                after += (measured - forecast.corrected).abs();
                jumps += 1;
                let residual = measured - forecast.mean;
                model.record_residual(20, vec![0.1, 0.1], vec![0.4, 0.4], residual, -0.02).unwrap();
            }
            model.observe_averaged(token * TOKEN - 5, 0.97 * loss(token)).unwrap();
        }
    }
    assert!(jumps >= 19 && after < 0.95 * before, "{after} of {before} over {jumps} jumps");
}

#[test]
fn numbers_that_are_not_finite_and_wrong_shapes_are_refused_and_change_nothing() {
    let mut model = Dynamics::new(small(0));
    feed(&mut model, 1..=3);
    let before = model.to_bytes();
    let good = Observation {
        step: 40,
        loss: 2.0,
        grad_norm: 1.0,
        lr: 1.0,
        lr_ahead: &[1.0; 3],
        ..Default::default()
    };
    let not_finite = [
        Observation { loss: f64::NAN, ..good },
        Observation { grad_norm: f64::INFINITY, ..good },
        Observation { lr: f64::NAN, ..good },
        Observation { lr_ahead: &[1.0, f64::NAN, 1.0], ..good },
        Observation { gram: Some(&[f64::NAN; 18]), ..good },
        Observation { slopes: Some(&[0.0, f64::NAN]), ..good },
        Observation { gap: Some(f64::NEG_INFINITY), ..good },
        Observation { credit: Some(f64::NAN), ..good },
    ];
    for observation in not_finite {
        let error = model.observe(&observation).unwrap_err();
        assert!(matches!(error, DynamicsError::NotFinite { .. }), "{error}");
    }
    let wrong = [
        Observation { step: 0, ..good },
        Observation { loss: -1.0, ..good },
        Observation { lr: 1.5, ..good },
        Observation { lr_ahead: &[1.0], ..good },
        Observation { gram: Some(&[0.0; 3]), ..good },
        Observation { slopes: Some(&[2.0, 0.0]), ..good },
    ];
    for observation in wrong {
        let error = model.observe(&observation).unwrap_err();
        assert!(matches!(error, DynamicsError::Observation { .. }), "{error}");
    }
    assert!(model.record_credit(9, 0.1, None).is_err() && model.record_credit(0, f64::NAN, None).is_err());
    assert!(model.record_residual(10, vec![0.1], vec![0.1], 0.0, 0.0).is_err());
    assert!(model.observe_averaged(10, f64::NAN).is_err());
    assert_eq!(model.to_bytes(), before);
}

#[test]
fn extreme_but_finite_numbers_do_no_harm() {
    let mut model = Dynamics::new(small(0));
    for token in 1..=80u64 {
        let huge = [f64::MAX, 0.0, 1e-300, 1e300][token as usize % 4];
        let gram = [huge; 18];
        let observation = Observation {
            step: token * TOKEN,
            loss: huge,
            grad_norm: huge,
            lr: (token % 2) as f64,
            lr_ahead: &[0.0, 1.0, 0.0],
            gram: Some(&gram),
            gap: Some(-huge),
            ..Observation::default()
        };
        model.observe(&observation).unwrap();
    }
    feed(&mut model, 81..=120);
    assert!(model.tensors().all(|(_, values)| values.iter().all(|value| value.is_finite())));
    assert!(model.forecast().gain.iter().all(|gain| gain.is_finite()));
}
