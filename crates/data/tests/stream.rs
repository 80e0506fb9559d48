//! The stream as a whole: every byte once an epoch, rows within their bounds, exact state at any cut.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use neat_data::{
    BOS, Corpus, CorpusConfig, HashTables, NOT_SCORED, OnBadRow, PAD, Part, Patcher, Preparer, Rule, Shape,
    StreamConfig, WindowStream, Windows,
};
use proptest::prelude::*;

/// Documents as JSON lines; every document begins with its number.
fn write_lines(path: &Path, lengths: &[usize]) {
    let line = |(index, length): (usize, &usize)| {
        let text = format!("{index:05}{}", "ab cd ".repeat(length / 6 + 1));
        serde_json::json!({ "text": &text[..5 + length] }).to_string() + "\n"
    };
    std::fs::write(path, lengths.iter().enumerate().map(line).collect::<String>()).unwrap();
}

fn corpus(path: &Path, seed: u64) -> Arc<Corpus> {
    let config = CorpusConfig {
        sources: vec![vec![path.to_string_lossy().into_owned()]],
        weights: None,
        text_field: "text".to_owned(),
        on_bad_row: OnBadRow::Stop,
        seed,
        shuffle_blocks: 2,
        max_document_bytes: 1 << 20,
        hold_out: 0.0,
        images: None,
    };
    Arc::new(Corpus::open(config, &mut || Ok(())).unwrap())
}

fn preparer(rule: Rule) -> Preparer {
    let patcher =
        Patcher { rule, threshold: 0.0, increment: 0.0, max_length: 9, stride: 4, mean_length: None };
    Preparer::new(None, patcher, HashTables::new(&[], 0).unwrap(), false).unwrap()
}

fn stream(
    corpus: &Arc<Corpus>,
    rule: Rule,
    lanes: usize,
    prefetch: usize,
    state: Option<&str>,
) -> WindowStream {
    let config = StreamConfig { lanes, prefetch, skip_hash_below: 0.0 };
    WindowStream::new(Arc::clone(corpus), preparer(rule), config, state).unwrap()
}

fn next(stream: &WindowStream, shape: Shape) -> Windows {
    stream.next(shape, &mut || Ok(())).unwrap()
}

/// The segments of a row: input id before the first target, and the targets.
fn segments(windows: &Windows, row: usize) -> Vec<(i64, Vec<u8>)> {
    let mut found: Vec<(i64, Vec<u8>)> = Vec::new();
    for at in row * windows.positions..(row + 1) * windows.positions {
        let document = windows.document[at];
        if document < 0 {
            assert_eq!((windows.ids[at], windows.targets[at]), (PAD, NOT_SCORED));
            continue;
        }
        if document as usize == found.len() {
            found.push((windows.ids[at], Vec::new()));
        }
        found.last_mut().unwrap().1.push(u8::try_from(windows.targets[at]).unwrap());
    }
    found
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1usize..4, 1usize..90, 2usize..40).prop_map(|(rows, positions, patches)| Shape {
        rows,
        positions,
        patches,
    })
}

fn rules() -> impl Strategy<Value = Rule> {
    prop_oneof![Just(Rule::Space), Just(Rule::Stride), Just(Rule::Byte)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_byte_comes_once_an_epoch(
        lengths in prop::collection::vec(1usize..200, 1..30), shape in shapes(), rule in rules(), seed: u64,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write_lines(&path, &lengths);
        let corpus = corpus(&path, seed);
        let stream = stream(&corpus, rule, 1, 0, None);
        let mut expected: HashMap<Vec<u8>, u32> = HashMap::new();
        for document in corpus.documents(Part::All, None, None) {
            *expected.entry(document.unwrap().bytes).or_default() += 1;
        }
        // With one lane documents come one after the other: the first epoch is the first `lengths.len()` of them.
        let mut documents: Vec<Vec<u8>> = Vec::new();
        while stream.counters().unwrap().0.documents < lengths.len() as u64 {
            let windows = next(&stream, shape);
            for row in 0..shape.rows {
                for (before, piece) in segments(&windows, row) {
                    if before == BOS {
                        documents.push(Vec::new());
                    }
                    let document = documents.last_mut().unwrap();
                    prop_assert!(before == BOS || before == i64::from(*document.last().unwrap()));
                    document.extend(piece);
                }
                let used = &windows.patch_length[row * shape.patches..(row + 1) * shape.patches];
                prop_assert_eq!(used[shape.patches - 1], 0, "the last slot is for padding");
            }
        }
        let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
        for document in documents.into_iter().take(lengths.len()) {
            *seen.entry(document).or_default() += 1;
        }
        prop_assert_eq!(seen, expected);
        let counters = stream.counters().unwrap().0;
        prop_assert_eq!(counters.bytes + counters.padding, counters.positions);
    }

    #[test]
    fn a_cut_anywhere_changes_nothing(
        lengths in prop::collection::vec(1usize..300, 1..20), plan in prop::collection::vec(shapes(), 1..20),
        cut in any::<prop::sample::Index>(), lanes in 1usize..5, prefetch in 0usize..3, rule in rules(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write_lines(&path, &lengths);
        let corpus = corpus(&path, 1);
        let whole = stream(&corpus, rule, lanes, prefetch, None);
        let mut resumed = None;
        for (index, shape) in plan.iter().enumerate() {
            if index == cut.index(plan.len()) {
                resumed = Some(stream(&corpus, rule, lanes, 1, Some(&whole.state().unwrap())));
            }
            let windows = next(&whole, *shape);
            if let Some(resumed) = &resumed {
                prop_assert_eq!(&next(resumed, *shape), &windows);
                prop_assert_eq!(resumed.state().unwrap(), whole.state().unwrap());
            }
        }
    }
}

#[test]
fn a_panic_in_the_thread_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    write_lines(&path, &[100; 50]);
    let corpus = corpus(&path, 1);
    let stream = stream(&corpus, Rule::Byte, 2, 2, None);
    let small = Shape { rows: 1, positions: 64, patches: 20 };
    next(&stream, small);
    let state = stream.state().unwrap();
    // More memory than there is address space: the allocation panics in the thread.
    let huge = Shape { rows: usize::MAX / 4096, positions: 1024, patches: 2 };
    let error = stream.next(huge, &mut || Ok(())).unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
    assert_eq!(stream.state().unwrap(), state);
    next(&stream, small);
}
