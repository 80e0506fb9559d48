//! Patch rules against a slow reading of their definition, and what every rule must hold.

use neat_data::{Patcher, Rule};
use proptest::prelude::*;

const RULES: [Rule; 6] = [Rule::Global, Rule::Monotonic, Rule::Both, Rule::Space, Rule::Stride, Rule::Byte];

/// The definition, one byte at a time.
fn reference(patcher: &Patcher, bytes: &[u8], entropies: &[f32]) -> Vec<bool> {
    let space_like = |byte: u8| byte < 0x80 && !(byte as char).is_ascii_alphanumeric();
    let (t, d) = (patcher.threshold, patcher.increment);
    let mut starts = vec![true];
    let mut length = 1;
    for j in 1..=bytes.len() {
        let rises = entropies[j] - entropies[j - 1] > d;
        let opens = match patcher.rule {
            Rule::Global => entropies[j] > t,
            Rule::Monotonic => rises,
            Rule::Both => entropies[j] > t && rises,
            Rule::Space => space_like(bytes[j - 1]) && (j < 2 || !space_like(bytes[j - 2])),
            Rule::Stride => j % patcher.stride == 0,
            Rule::Byte => true,
        };
        let opens = opens || length == patcher.max_length;
        length = if opens { 1 } else { length + 1 };
        starts.push(opens);
    }
    starts
}

fn document() -> impl Strategy<Value = (Vec<u8>, Vec<f32>)> {
    proptest::collection::vec((prop_oneof![any::<u8>(), Just(b' '), Just(b'a')], 0f32..5.5), 0..300).prop_map(
        |pairs| {
            let (bytes, mut entropies): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            entropies.push(1.0);
            (bytes, entropies)
        },
    )
}

fn patcher() -> impl Strategy<Value = Patcher> {
    (0..RULES.len(), 0f32..5.0, -1f32..2.0, 1usize..70, 1usize..90)
        .prop_map(|(rule, t, d, m, k)| Patcher::new(RULES[rule], t, d, m, k).expect("valid numbers"))
}

proptest! {
    #[test]
    fn starts_follow_the_definition((bytes, entropies) in document(), patcher in patcher()) {
        let starts = patcher.starts(&bytes, Some(&entropies)).expect("lengths agree");
        prop_assert_eq!(starts, reference(&patcher, &bytes, &entropies));
    }

    #[test]
    fn starts_of_a_prefix_are_a_prefix_of_the_starts(
        (bytes, entropies) in document(), patcher in patcher(), cut in any::<prop::sample::Index>(),
    ) {
        let whole = patcher.starts(&bytes, Some(&entropies)).expect("lengths agree");
        let length = cut.index(bytes.len() + 1);
        let part = patcher.starts(&bytes[..length], Some(&entropies[..=length])).expect("lengths agree");
        prop_assert_eq!(&part[..], &whole[..=length]);
    }

    #[test]
    fn no_patch_is_longer_than_allowed((bytes, entropies) in document(), patcher in patcher()) {
        let starts = patcher.starts(&bytes, Some(&entropies)).expect("lengths agree");
        prop_assert!(starts[0]);
        let gap = starts.split(|&start| start).map(|gap| gap.len() + 1).max().unwrap_or(0);
        prop_assert!(gap <= patcher.max_length);
    }

    #[test]
    fn json_keeps_every_number(patcher in patcher()) {
        prop_assert_eq!(Patcher::from_json(&patcher.to_json()).expect("own output"), patcher);
    }
}

#[test]
fn bad_numbers_and_missing_entropies_are_refused() {
    assert!(Patcher::new(Rule::Global, f32::NAN, 0.0, 16, 4).is_err());
    assert!(Patcher::new(Rule::Global, 1.0, 0.0, 0, 4).is_err());
    assert!(Patcher::new(Rule::Stride, 1.0, 0.0, 16, 0).is_err());
    let patcher = Patcher::new(Rule::Global, 1.0, 0.0, 16, 4).expect("valid");
    assert!(patcher.starts(b"abc", None).is_err());
    assert!(patcher.starts(b"abc", Some(&[1.0; 3])).is_err());
    assert!(Patcher::from_json(r#"{"rule":"global"}"#).is_err());
    assert!("entropy".parse::<Rule>().is_err());
}
