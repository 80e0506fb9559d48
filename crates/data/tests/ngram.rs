//! The n-gram model against modified Kneser-Ney counted straight from its definition, in double precision.

use std::collections::{HashMap, HashSet};

use neat_data::{CrossFit, NgramModel, Patcher, Rule, Target, calibrate};
use proptest::prelude::*;

const BOS: u16 = 256;
const STEP: f64 = 1.0 / 8192.0;

/// Counts by n-gram, one map a length.
struct Reference {
    order: usize,
    counts: Vec<HashMap<Vec<u16>, u64>>,
    discounts: Vec<[f64; 3]>,
}

fn padded(document: &[u8], order: usize) -> Vec<u16> {
    std::iter::repeat_n(BOS, order).chain(document.iter().map(|&byte| u16::from(byte))).collect()
}

impl Reference {
    fn new(documents: &[Vec<u8>], order: usize) -> Self {
        let mut raw = vec![HashMap::<Vec<u16>, u64>::new(); order + 2];
        for document in documents {
            let symbols = padded(document, order);
            for end in order..symbols.len() {
                for length in 1..=order + 1 {
                    *raw[length].entry(symbols[end + 1 - length..=end].to_vec()).or_default() += 1;
                }
            }
        }
        let mut counts = raw.clone();
        for length in 1..=order {
            let mut left: HashMap<&[u16], HashSet<u16>> = HashMap::new();
            for gram in raw[length + 1].keys() {
                left.entry(&gram[1..]).or_default().insert(gram[0]);
            }
            for (gram, count) in &mut counts[length] {
                if gram[0] != BOS {
                    *count = left[gram.as_slice()].len() as u64;
                }
            }
        }
        let discounts = counts.iter().map(discounts).collect();
        Self { order, counts, discounts }
    }

    fn distribution(&self, context: &[u16]) -> Vec<f64> {
        let base = if context.is_empty() { vec![1.0 / 256.0; 256] } else { self.distribution(&context[1..]) };
        let length = context.len() + 1;
        let count_of = |byte: u16| {
            let gram: Vec<u16> = context.iter().copied().chain([byte]).collect();
            self.counts[length].get(&gram).copied().unwrap_or(0)
        };
        let counts: Vec<u64> = (0..256).map(count_of).collect();
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return base;
        }
        let discount = |count: u64| match count {
            0 => 0.0,
            count => self.discounts[length][(count as usize - 1).min(2)],
        };
        let backoff: f64 = counts.iter().map(|&count| discount(count)).sum();
        let share =
            |(&count, base): (&u64, &f64)| (count as f64 - discount(count) + backoff * base) / total as f64;
        counts.iter().zip(&base).map(share).collect()
    }

    fn all(&self, document: &[u8]) -> Vec<Vec<f64>> {
        let symbols = padded(document, self.order);
        symbols.windows(self.order).map(|context| self.distribution(context)).collect()
    }
}

fn discounts(counts: &HashMap<Vec<u16>, u64>) -> [f64; 3] {
    let n = |wanted: u64| counts.values().filter(|&&count| count == wanted).count() as f64;
    let y = n(1) / (n(1) + 2.0 * n(2));
    let d = [1.0 - 2.0 * y * n(2) / n(1), 2.0 - 3.0 * y * n(3) / n(2), 3.0 - 4.0 * y * n(4) / n(3)];
    let sound = (0..3).all(|k| d[k] > 0.0 && d[k] < k as f64 + 1.0);
    if sound { d } else { [0.5, 1.0, 1.5] }
}

fn entropy(distribution: &[f64]) -> f64 {
    -distribution.iter().map(|p| p * p.ln()).sum::<f64>()
}

fn train(documents: &[Vec<u8>], order: usize, threads: usize) -> NgramModel {
    NgramModel::train(documents.iter().cloned().map(Ok), order, threads).expect("there is text")
}

fn distributions(model: &NgramModel, document: &[u8]) -> Vec<[f32; 256]> {
    let mut rows = vec![[0.0; 256]; document.len() + 1];
    model.distributions(document, 0, &mut rows);
    rows
}

fn check(documents: &[Vec<u8>], order: usize, probe: &[u8]) {
    let model = train(documents, order, 2);
    let expected = Reference::new(documents, order).all(probe);
    let (rows, entropies) = (distributions(&model, probe), model.entropies(probe));
    assert_eq!(entropies.len(), expected.len());
    let mut bits = 0.0;
    for (position, expected) in expected.iter().enumerate() {
        for byte in 0..256 {
            let difference = (f64::from(rows[position][byte]) - expected[byte]).abs();
            assert!(difference < 1e-6, "position {position}, byte {byte}: off by {difference}");
        }
        let sum: f64 = rows[position].iter().map(|&p| f64::from(p)).sum();
        assert!((sum - 1.0).abs() < 1e-6, "position {position} sums to {sum}");
        let off = (f64::from(entropies[position]) - entropy(expected)).abs();
        assert!(off <= 0.51 * STEP, "position {position}: the entropy is off by {off}");
        bits -= probe.get(position).map_or(0.0, |&byte| expected[byte as usize].log2());
    }
    assert!((model.bits(probe) - bits).abs() < 1e-4 * (1.0 + bits));
}

/// Text with enough repetition that all discounts have their closed form on some level.
fn story() -> Vec<Vec<u8>> {
    let words = ["the", "cat", "sat", "on", "a", "mat", "and", "then", "ran", "off", "over", "hills"];
    let mut state = 7u32;
    let mut word = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        words[(state >> 20) as usize % words.len()]
    };
    (0..40).map(|length| (0..length + 3).map(|_| word()).collect::<Vec<_>>().join(" ").into_bytes()).collect()
}

#[test]
fn it_is_modified_kneser_ney() {
    for order in 1..=6 {
        check(&story(), order, b"the cat sat on the hill, and then it ran\xff\x00 off");
        check(&story(), order, &story()[30]);
    }
}

#[test]
fn tiny_texts_have_bounded_discounts() {
    check(&[b"a".to_vec()], 6, b"ab");
    check(&[vec![], vec![0, 255, 255, 255, 255, 255, 255, 255]], 6, &[255; 20]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn it_is_modified_kneser_ney_on_anything(
        documents in proptest::collection::vec(proptest::collection::vec(prop_oneof![0u8..4, any::<u8>()], 1..60), 1..5),
        probe in proptest::collection::vec(0u8..5, 0..30),
        order in 1usize..=6,
    ) {
        check(&documents, order, &probe);
    }
}

#[test]
fn neither_threads_nor_the_order_of_documents_change_the_file() {
    let documents = story();
    let file = train(&documents, 6, 1).to_bytes(None);
    let reversed: Vec<_> = documents.iter().rev().cloned().collect();
    assert_eq!(train(&documents, 6, 3).to_bytes(None), file);
    assert_eq!(train(&reversed, 6, 2).to_bytes(None), file);
    let cross = CrossFit::train(documents.into_iter().map(Ok), 6, 4, 2).expect("enough documents");
    assert_eq!(cross.full().to_bytes(None), file);
}

#[test]
fn a_fold_model_is_trained_on_the_other_folds() {
    let documents = story();
    let cross = CrossFit::train(documents.iter().cloned().map(Ok), 6, 4, 2).expect("enough documents");
    for fold in 0..4 {
        let others: Vec<_> =
            documents.iter().filter(|document| cross.fold_of(document) != Some(fold)).cloned().collect();
        assert_eq!(cross.model(fold + 1).digest(), train(&others, 6, 1).digest());
    }
}

#[test]
fn too_little_text_is_an_error_with_a_hint() {
    let none: [neat_data::Result<Vec<u8>>; 0] = [];
    assert!(NgramModel::train(none, 6, 1).is_err());
    assert!(NgramModel::train([Ok(Vec::new())], 6, 1).is_err());
    assert!(NgramModel::train([Ok(b"text".to_vec())], 7, 1).is_err());
    let error = CrossFit::train([Ok(b"text".to_vec())], 6, 8, 2).expect_err("one document fills one fold");
    let neat_data::DataError::Invalid { hint, .. } = error else { panic!("{error}") };
    assert!(hint.contains("ngram.folds"));
}

#[test]
fn an_unreadable_document_stops_training() {
    let documents = [Ok(b"text".to_vec()), Err(neat_data::DataError::invalid("gone", ""))];
    let error = NgramModel::train(documents, 6, 2).expect_err("the second document is an error");
    assert_eq!(error.to_string(), "gone");
}

#[test]
fn calibration_reaches_the_mean_length() {
    let documents = story();
    let sample: Vec<_> = documents.iter().cloned().map(neat_data::Document::from).collect();
    let cross = CrossFit::train(documents.iter().cloned().map(Ok), 6, 4, 2).expect("enough documents");
    for rule in [Rule::Global, Rule::Monotonic, Rule::Both] {
        let target = Target { rule, mean_length: 4.5, max_length: 12, stride: 4, sample_bytes: 1 << 20 };
        let patcher = calibrate(&cross, &sample, target).expect("within reach");
        let (mut bytes, mut count) = (0, 0);
        for document in &documents {
            let fold = cross.fold_of(document).expect("cross-fitted");
            let entropies = cross.model(fold + 1).entropies(document);
            let starts = patcher.starts(document, Some(&entropies)).expect("lengths agree");
            bytes += document.len();
            count += starts[..document.len()].iter().filter(|&&start| start).count();
        }
        let mean = bytes as f64 / count as f64;
        assert!((mean / 4.5 - 1.0).abs() < 0.02, "{rule:?} gives {mean}");
        assert!((mean - patcher.mean_length.expect("calibrated")).abs() < 1e-9);
    }
    let far =
        Target { rule: Rule::Global, mean_length: 40.0, max_length: 12, stride: 4, sample_bytes: 1 << 20 };
    assert!(calibrate(&cross, &sample, far).is_err());
    assert!(calibrate(&cross, &[], far).is_err());
    let space = Target { rule: Rule::Space, mean_length: 4.5, ..far };
    assert!(calibrate(&cross, &sample, space).expect("nothing to find").mean_length.is_some());
}

#[test]
fn a_file_round_trips_with_its_patcher() {
    let model = train(&story(), 6, 2);
    let patcher = Patcher::new(Rule::Both, 1.5, 0.25, 16, 4).expect("valid");
    let copy = NgramModel::from_bytes(&model.to_bytes(Some(&patcher))).expect("own output");
    assert_eq!(copy.patcher(), Some(&patcher));
    assert_eq!((copy.digest(), copy.order()), (model.digest(), model.order()));
    assert_eq!(copy.to_bytes(None), model.to_bytes(Some(&patcher)));
    let probe = b"the cat sat on the unknown";
    assert_eq!(copy.entropies(probe), model.entropies(probe));
    assert_eq!(distributions(&copy, probe), distributions(&model, probe));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.bin");
    model.save(&path, None).expect("writable");
    assert_eq!(NgramModel::load(&path).expect("own output").digest(), model.digest());
    assert!(NgramModel::load(&folder.path().join("absent")).is_err());
}

#[test]
fn damage_anywhere_is_an_error() {
    let file = train(&[b"to be or not to be".to_vec()], 3, 1).to_bytes(None);
    for length in 0..file.len() {
        assert!(NgramModel::from_bytes(&file[..length]).is_err(), "cut to {length}");
    }
    for place in 0..file.len() {
        let mut flipped = file.clone();
        flipped[place] ^= 0x40;
        assert!(NgramModel::from_bytes(&flipped).is_err(), "flipped at {place}");
    }
}

#[test]
fn forged_files_with_a_good_checksum_never_panic() {
    let file = train(&[b"to be or not to be".to_vec()], 3, 1).to_bytes(None);
    let reseal = |mut content: Vec<u8>| {
        content.truncate(content.len() - 8);
        let checksum = xxhash_rust::xxh3::xxh3_64(&content);
        content.extend_from_slice(&checksum.to_le_bytes());
        content
    };
    for place in 8..file.len() - 8 {
        for mask in [0x01, 0x80, 0xFF] {
            let mut forged = file.clone();
            forged[place] ^= mask;
            if let Ok(model) = NgramModel::from_bytes(&reseal(forged)) {
                // Only a change of the digest's own spelling or of the patcher could pass; the model must still work.
                distributions(&model, b"to be");
            }
        }
    }
    let header =
        br#"{"order":6,"digest":"","contexts":[1,1,1,1,1,1,9223372036854775807],"entries":9,"patcher":null}"#;
    let mut huge = b"NEATNGRM\x01\0\0\0".to_vec();
    huge.extend_from_slice(&(header.len() as u32).to_le_bytes());
    huge.extend_from_slice(header);
    huge.extend_from_slice(&[0; 8]);
    assert!(NgramModel::from_bytes(&reseal(huge)).is_err());
}
