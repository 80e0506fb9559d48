//! Rows, spans and hashes against slow readings of their definitions.

use neat_data::{
    BOS, HashTables, NOT_SCORED, PAD, Patcher, Prepared, Preparer, Rule, Segment, Span, Windows,
};
use proptest::prelude::*;

const ORDERS: [usize; 4] = [1, 2, 5, 8];
const ROWS: usize = 1009;

fn preparer(rule: Rule) -> Preparer {
    let patcher = Patcher::new(rule, 0.0, 0.0, 7, 3).expect("valid");
    Preparer::without_models(patcher, HashTables::new(&ORDERS, ROWS).expect("valid")).expect("no entropies")
}

fn naive_hash(bytes: &[u8], index: isize, order: usize, table: usize) -> i64 {
    let prime = 0x9E37_79B9_7F4A_7C15u64;
    let mut acc = (order as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
    for k in 0..order {
        let at = index - k as isize;
        let symbol = if at < 0 { 256 } else { u64::from(bytes[at as usize]) };
        acc = acc.wrapping_add((symbol + 1).wrapping_mul(prime.wrapping_pow(k as u32 + 1)));
    }
    acc ^= acc >> 32;
    acc = acc.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    acc ^= acc >> 29;
    (acc % ROWS as u64) as i64 + (table * ROWS) as i64
}

fn one_row(preparer: &Preparer, doc: &Prepared, span: Span, positions: usize, patches: usize) -> Windows {
    let rows = [vec![Segment { document: 0, span }]];
    preparer.pack(std::slice::from_ref(doc), &rows, positions, patches).expect("it fits")
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![Just(Rule::Space), Just(Rule::Stride), Just(Rule::Byte)]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![any::<u8>(), Just(b' '), Just(b'x')], 0..120)
}

proptest! {
    #[test]
    fn a_row_holds_what_the_definitions_say(
        bytes in text(), rule in rule(), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(),
    ) {
        let preparer = preparer(rule);
        let doc = preparer.prepare(bytes.clone(), None);
        let n = bytes.len();
        let start = from.index(n + 1);
        let end = start + 1 + to.index(n + 1 - start);
        let row = one_row(&preparer, &doc, Span { start, end, score_from: start }, n + 3, n + 3);
        let mut patch = -1;
        for q in 0..end - start {
            let opens = |q: usize| q <= 1 || doc.starts[start + q - 1];
            patch += i64::from(opens(q));
            let before = (start + q).checked_sub(1);
            prop_assert_eq!(row.ids[q], before.map_or(BOS, |at| i64::from(bytes[at])));
            prop_assert_eq!(row.targets[q], bytes.get(start + q).map_or(NOT_SCORED, |&b| i64::from(b)));
            prop_assert_eq!(row.patch[q], patch);
            prop_assert_eq!(row.read[q], patch + i64::from(opens(q + 1)) - 1);
            let slot = patch as usize;
            prop_assert!(row.patch_first[slot] <= q as i64 && q as i64 <= row.patch_last[slot]);
            for (table, &order) in ORDERS.iter().enumerate() {
                let expected = naive_hash(&bytes, (start + q) as isize - 1, order, table);
                prop_assert_eq!(row.hashes[q * ORDERS.len() + table], expected);
            }
        }
        let used = patch as usize + 1;
        for slot in 0..used {
            let length = row.patch_last[slot] - row.patch_first[slot] + 1;
            prop_assert_eq!(i64::from(row.patch_length[slot]), length);
            prop_assert_eq!(row.patch_document[slot], 0);
        }
        prop_assert!(row.patch_document[used..].iter().all(|&document| document == -1));
        prop_assert!(row.ids[end - start..].iter().all(|&id| id == PAD));
        prop_assert!(row.patch[end - start..].iter().all(|&patch| patch == n as i64 + 2));
    }

    #[test]
    fn fit_is_the_largest_end_that_fits(
        bytes in text(), rule in rule(), from in any::<prop::sample::Index>(), room in 0usize..40, slots in 0usize..12,
    ) {
        let preparer = preparer(rule);
        let doc = preparer.prepare(bytes, None);
        let (start, limit) = (from.index(doc.starts.len()), doc.starts.len());
        let patches = |end: usize| 1 + (1..end - start).filter(|&q| q == 1 || doc.starts[start + q - 1]).count();
        let fits = |end: usize| end - start <= room && patches(end) <= slots;
        let expected = (start + 1..=limit).rev().find(|&end| fits(end));
        prop_assert_eq!(preparer.fit(&doc, start, limit, room, slots), expected);
    }

    #[test]
    fn spans_cover_once_fit_and_are_stable(
        bytes in text(), rule in rule(), positions in 1usize..40, patches in 2usize..20, overlap in 0usize..30,
        cut in any::<prop::sample::Index>(),
    ) {
        let preparer = preparer(rule);
        let doc = preparer.prepare(bytes.clone(), None);
        let spans = preparer.spans(&doc, positions, patches, overlap).expect("possible");
        let mut scored = 0;
        for span in &spans {
            prop_assert_eq!(span.score_from, scored);
            prop_assert!(span.start <= scored && scored - span.start <= overlap && scored < span.end);
            let end = preparer.fit(&doc, span.start, doc.starts.len(), positions, patches - 1);
            prop_assert_eq!(end, Some(span.end));
            scored = span.end;
        }
        prop_assert_eq!(scored, bytes.len() + 1);

        let prefix = preparer.prepare(bytes[..cut.index(bytes.len() + 1)].to_vec(), None);
        let short = preparer.spans(&prefix, positions, patches, overlap).expect("possible");
        let (last, whole) = (short[short.len() - 1], spans[short.len() - 1]);
        prop_assert_eq!(&short[..short.len() - 1], &spans[..short.len() - 1]);
        prop_assert_eq!(Span { end: whole.end, ..last }, whole);
    }

    #[test]
    fn a_segment_is_the_same_packed_and_alone(first in text(), second in text(), rule in rule()) {
        let preparer = preparer(rule);
        let docs = [preparer.prepare(first, None), preparer.prepare(second, None)];
        let whole = |doc: &Prepared| Span { start: 0, end: doc.starts.len(), score_from: 0 };
        let row = vec![
            Segment { document: 0, span: whole(&docs[0]) },
            Segment { document: 1, span: whole(&docs[1]) },
        ];
        let packed = preparer.pack(&docs, &[row], 260, 260).expect("it fits");
        let alone = one_row(&preparer, &docs[1], whole(&docs[1]), 260, 260);
        let (at, length) = (docs[0].starts.len(), docs[1].starts.len());
        let slot = packed.patch[at];
        prop_assert_eq!(&packed.ids[at..at + length], &alone.ids[..length]);
        prop_assert_eq!(&packed.targets[at..at + length], &alone.targets[..length]);
        prop_assert!(packed.document[at..at + length].iter().all(|&document| document == 1));
        for q in 0..length {
            prop_assert_eq!(packed.patch[at + q], alone.patch[q] + slot);
            prop_assert_eq!(packed.read[at + q], alone.read[q] + slot);
        }
        let tables = ORDERS.len();
        prop_assert_eq!(&packed.hashes[at * tables..(at + length) * tables], &alone.hashes[..length * tables]);
    }
}

#[test]
fn spans_that_do_not_fit_are_refused() {
    let preparer = preparer(Rule::Byte);
    let docs = [preparer.prepare(b"hello".to_vec(), None)];
    let pack = |span: Span, document, positions, patches| {
        preparer.pack(&docs, &[vec![Segment { document, span }]], positions, patches)
    };
    let span = |start, end| Span { start, end, score_from: start };
    assert!(pack(span(0, 6), 0, 6, 7).is_ok());
    assert!(pack(span(0, 6), 0, 5, 7).is_err());
    assert!(pack(span(0, 6), 0, 6, 6).is_err());
    assert!(pack(span(0, 7), 0, 9, 9).is_err());
    assert!(pack(span(3, 3), 0, 9, 9).is_err());
    assert!(pack(span(0, 1), 1, 9, 9).is_err());
    assert!(pack(span(0, 1), 0, 1, 0).is_err());
    assert!(preparer.spans(&docs[0], 0, 9, 0).is_err());
    assert!(preparer.spans(&docs[0], 9, 1, 0).is_err());
}

#[test]
fn context_before_score_from_is_not_scored() {
    let preparer = preparer(Rule::Stride);
    let doc = preparer.prepare(b"hello".to_vec(), None);
    let row = one_row(&preparer, &doc, Span { start: 1, end: 6, score_from: 3 }, 8, 8);
    let expected = [NOT_SCORED, NOT_SCORED, i64::from(b'l'), i64::from(b'o'), NOT_SCORED];
    assert_eq!(row.targets[..5], expected);
}

#[test]
fn impossible_hash_tables_are_refused() {
    assert!(HashTables::new(&[0], 10).is_err());
    assert!(HashTables::new(&[3], 0).is_err());
    assert!(HashTables::new(&[], 0).is_ok());
}
