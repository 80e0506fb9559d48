//! State bytes: what is not a state of these settings is refused, and no bytes make a panic.
#![allow(clippy::unwrap_used, missing_docs)]

use neat_dynamics::{DivergenceMonitor, Dynamics, DynamicsError, Observation, Settings, Thresholds};
use proptest::prelude::*;
use std::sync::OnceLock;
use xxhash_rust::xxh3::xxh3_64;

fn settings() -> Settings {
    let text = r#"{"kinds": ["a"], "basis": 2, "horizons": [10], "candidates": [1.0], "hidden": 4, "latent": 2, "bptt": 4}"#;
    Settings::from_json(text).unwrap()
}

fn observe(model: &mut Dynamics, token: u64) {
    let observation = Observation {
        step: 10 * token,
        loss: 3.0 + (token as f64).sin() * 0.1,
        grad_norm: 1.0,
        lr: 1.0,
        lr_ahead: &[1.0],
        slopes: Some(&[0.1]),
        ..Observation::default()
    };
    model.observe(&observation).unwrap();
}

fn bytes() -> &'static Vec<u8> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut model = Dynamics::new(settings());
        (1..=30).for_each(|token| observe(&mut model, token));
        model.record_credit(0, 0.1, None).unwrap();
        model.record_residual(10, vec![0.1], vec![0.2], 0.1, 0.2).unwrap();
        model.observe_averaged(300, 2.9).unwrap();
        model.to_bytes()
    })
}

/// The error's text; panics if the bytes are accepted.
fn refusal(settings: Settings, bytes: &[u8]) -> String {
    match Dynamics::from_bytes(settings, bytes) {
        Err(error @ DynamicsError::State { .. }) => error.to_string(),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

/// Bytes with a checksum that fits them.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let body = bytes.len() - 8;
    let checksum = xxh3_64(&bytes[..body]).to_le_bytes();
    bytes[body..].copy_from_slice(&checksum);
    bytes
}

#[test]
fn refusals_say_what_is_wrong() {
    let good = bytes();
    assert!(refusal(settings(), b"").contains("no state"));
    assert!(refusal(settings(), b"something else that is long").contains("no state"));
    assert!(refusal(settings(), &good[..20]).contains("cut short"));
    assert!(refusal(settings(), &good[..good.len() - 1]).contains("cut short"));
    let mut damaged = good.clone();
    damaged[200] ^= 1;
    assert!(refusal(settings(), &damaged).contains("damaged"));
    let mut newer = good.clone();
    newer[8] = 9;
    assert!(refusal(settings(), &sealed(newer)).contains("version 9"));
    let other = Settings { seed: 1, ..settings() };
    assert!(refusal(other, good).contains("other settings"));
    let monitor = DivergenceMonitor::new(Thresholds::default()).to_bytes();
    assert!(refusal(settings(), &monitor).contains("no state"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Dynamics::from_bytes(settings(), &bytes).is_err());
        prop_assert!(DivergenceMonitor::from_bytes(Thresholds::default(), &bytes).is_err());
    }

    #[test]
    fn a_changed_byte_is_noticed(place in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = bytes().clone();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        prop_assert!(Dynamics::from_bytes(settings(), &bytes).is_err());
    }

    #[test]
    fn forged_bytes_are_refused_or_give_a_model_that_works(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = bytes().clone();
        for (place, value) in places {
            let place = 28 + place.index(bytes.len() - 36);
            bytes[place] = value;
        }
        // The checksum fits, so only the content can be refused.
        if let Ok(mut model) = Dynamics::from_bytes(settings(), &sealed(bytes)) {
            model.to_bytes();
            let observation = Observation {
                step: 1 << 40, loss: 2.0, grad_norm: 1.0, lr: 1.0, lr_ahead: &[1.0], ..Observation::default()
            };
            let _ = model.observe(&observation);
        }
    }
}
