//! Counting the n-grams of the highest order.
//!
//! An n-gram is one `u64` of nine-bit symbols: the context with its newest byte in the highest bits, then the predicted
//! byte in the lowest. Sorted that way, the contexts that share their newest m symbols are neighbours, for every m, so one
//! sort serves all orders. Counts are sums: they do not depend on the order of the documents or on the threads.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::{DataError, Document, Result};

/// Bits of a symbol: 256 bytes and the one before the document.
pub(crate) const SYMBOL_BITS: u32 = 9;
/// Lowest nine bits.
pub(crate) const SYMBOL_MASK: u64 = (1 << SYMBOL_BITS) - 1;
/// The symbol before the first byte of a document.
pub(crate) const BOS: u64 = 256;
/// Longest context: seven symbols of nine bits fill an n-gram.
pub(crate) const MAX_ORDER: usize = 6;

/// Keys gathered before they are sorted: 32 MiB, and as much again while sorting.
const CHUNK: usize = 1 << 22;
const QUEUED_DOCUMENTS: usize = 256;

/// Moves the newest `symbol` into a context of `order` symbols.
pub(crate) fn push(context: u64, symbol: u64, order: usize) -> u64 {
    (context >> SYMBOL_BITS) | (symbol << (SYMBOL_BITS * (order as u32 - 1)))
}

/// The context before the first byte: `order` times the symbol before the document.
pub(crate) fn first_context(order: usize) -> u64 {
    (0..order).fold(0, |context, _| push(context, BOS, order))
}

/// Distinct n-grams in ascending order with how often each occurs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) keys: Vec<u64>,
    pub(crate) counts: Vec<u32>,
}

impl Counts {
    /// Counts sorted keys.
    fn from_sorted(keys: &[u64]) -> Self {
        let mut counts = Self::default();
        for run in keys.chunk_by(|a, b| a == b) {
            counts.push(run[0], run.len() as u32);
        }
        counts
    }

    fn push(&mut self, key: u64, count: u32) {
        self.keys.push(key);
        self.counts.push(count);
    }

    fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.keys.iter().copied().zip(self.counts.iter().copied())
    }

    /// The sum of two counts.
    pub(crate) fn merged(&self, other: &Self) -> Self {
        let mut sum = Self::default();
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        while let (Some(&(a, in_left)), Some(&(b, in_right))) = (left.peek(), right.peek()) {
            sum.push(a.min(b), if a <= b { in_left } else { 0 } + if b <= a { in_right } else { 0 });
            if a <= b {
                left.next();
            }
            if b <= a {
                right.next();
            }
        }
        left.chain(right).for_each(|(key, count)| sum.push(key, count));
        sum
    }

    /// These counts without those of `part`, whose documents are among the counted ones.
    pub(crate) fn without(&self, part: &Self) -> Self {
        let mut rest = Self::default();
        let mut removed = part.iter().peekable();
        for (key, count) in self.iter() {
            let gone = removed.next_if(|&(candidate, _)| candidate == key).map_or(0, |(_, gone)| gone);
            if count > gone {
                rest.push(key, count - gone);
            }
        }
        rest
    }

    /// The sum of many counts, in a tree of merges.
    pub(crate) fn sum(mut parts: Vec<Self>) -> Self {
        while parts.len() > 1 {
            parts = parts
                .chunks(2)
                .map(|pair| if let [a, b] = pair { a.merged(b) } else { pair[0].clone() })
                .collect();
        }
        parts.pop().unwrap_or_default()
    }
}

/// Counts documents one at a time in bounded extra memory.
struct Counter {
    order: usize,
    chunk: usize,
    pending: Vec<u64>,
    runs: Vec<Counts>,
}

impl Counter {
    fn new(order: usize, chunk: usize) -> Self {
        Self { order, chunk, pending: Vec::new(), runs: Vec::new() }
    }

    fn add(&mut self, document: &[u8]) {
        let mut context = first_context(self.order);
        for piece in document.chunks(self.chunk) {
            if self.pending.len() + piece.len() > self.chunk {
                self.flush();
            }
            for &byte in piece {
                self.pending.push((context << SYMBOL_BITS) | u64::from(byte));
                context = push(context, u64::from(byte), self.order);
            }
        }
    }

    fn flush(&mut self) {
        radix_sort(&mut self.pending);
        let mut run = Counts::from_sorted(&self.pending);
        self.pending.clear();
        // Runs of like size are merged, so that a key takes part in logarithmically many merges.
        while self.runs.last().is_some_and(|before| before.keys.len() <= 2 * run.keys.len()) {
            run = self.runs.pop().unwrap_or_default().merged(&run);
        }
        self.runs.push(run);
    }

    fn finish(mut self) -> Counts {
        self.flush();
        Counts::sum(self.runs)
    }
}

/// Sorts by one symbol after the other, least significant first; a digit that all keys share costs nothing.
fn radix_sort(keys: &mut Vec<u64>) {
    const DIGITS: usize = MAX_ORDER + 1;
    const VALUES: usize = 1 << SYMBOL_BITS;
    let digit = |key: u64, place: usize| ((key >> (SYMBOL_BITS as usize * place)) & SYMBOL_MASK) as usize;
    let mut tallies = vec![[0usize; VALUES]; DIGITS];
    for &key in keys.iter() {
        for (place, tally) in tallies.iter_mut().enumerate() {
            tally[digit(key, place)] += 1;
        }
    }
    let mut sorted = vec![0; keys.len()];
    for (place, tally) in tallies.iter_mut().enumerate() {
        if tally.contains(&keys.len()) {
            continue;
        }
        let mut next = 0;
        for slot in tally.iter_mut() {
            next += std::mem::replace(slot, next);
        }
        for &key in keys.iter() {
            let slot = &mut tally[digit(key, place)];
            sorted[*slot] = key;
            *slot += 1;
        }
        std::mem::swap(keys, &mut sorted);
    }
}

/// Counts documents in `buckets` separate sums on up to `threads` threads; `bucket_of` gets a document's index and
/// identity. Each text between images is counted as a document of its own.
pub(crate) fn count_documents(
    documents: impl Iterator<Item = Result<Document>>,
    order: usize,
    buckets: usize,
    threads: usize,
    bucket_of: impl Fn(usize, &[u8]) -> usize,
) -> Result<Vec<Counts>> {
    if order == 0 || order > MAX_ORDER {
        return Err(DataError::invalid(
            format!("an n-gram model of order {order} is not possible"),
            format!("choose an order (bytes of context) from 1 to {MAX_ORDER}"),
        ));
    }
    let workers = threads.clamp(1, buckets);
    thread::scope(|scope| {
        let (senders, handles): (Vec<_>, Vec<_>) = (0..workers)
            .map(|worker| {
                let (sender, receiver) = sync_channel(QUEUED_DOCUMENTS);
                let owned = (buckets - worker).div_ceil(workers);
                (sender, scope.spawn(move || count_worker(&receiver, order, workers, owned)))
            })
            .unzip();
        let mut total = 0usize;
        for (index, document) in documents.enumerate() {
            let document = document?;
            total += document.len();
            if total > u32::MAX as usize {
                return Err(DataError::invalid(
                    "the n-gram model cannot count more than 4 GiB of text",
                    "lower `ngram.limit_bytes`",
                ));
            }
            let bucket = bucket_of(index, &document.identity());
            let send = |text: Vec<u8>| {
                // A worker that is gone has panicked; joining it below reports that.
                let _ = senders[bucket % workers].send((bucket, text));
            };
            if document.images.is_empty() {
                send(document.bytes);
            } else {
                document.texts().for_each(|text| send(document.bytes[text].to_vec()));
            }
        }
        drop(senders);
        let mut counted: Vec<_> = handles.into_iter().map(|handle| join(handle).into_iter()).collect();
        let in_order = (0..buckets).filter_map(|bucket| counted[bucket % workers].next());
        Ok(in_order.collect())
    })
}

fn count_worker(
    documents: &Receiver<(usize, Vec<u8>)>,
    order: usize,
    workers: usize,
    owned: usize,
) -> Vec<Counts> {
    let mut counters: Vec<_> = (0..owned).map(|_| Counter::new(order, CHUNK)).collect();
    for (bucket, document) in documents {
        counters[bucket / workers].add(&document);
    }
    counters.into_iter().map(Counter::finish).collect()
}

/// Waits for a scoped thread and passes its panic on.
fn join<T>(handle: thread::ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn counting_in_small_runs_is_counting() {
        let documents: [&[u8]; 3] =
            [b"abracadabra, said the magician, abracadabra", b"", b"\xff\x00\xff\x00"];
        for order in 1..=MAX_ORDER {
            let mut counter = Counter::new(order, 5);
            let mut expected = BTreeMap::<u64, u32>::new();
            for document in documents {
                counter.add(document);
                let mut context = first_context(order);
                for &byte in document {
                    *expected.entry((context << SYMBOL_BITS) | u64::from(byte)).or_default() += 1;
                    context = push(context, u64::from(byte), order);
                }
            }
            let sum = counter.finish();
            assert!(sum.iter().eq(expected));
            assert!(sum.merged(&sum).without(&sum).iter().eq(sum.iter()));
            assert!(sum.without(&sum).keys.is_empty());
        }
    }
}
