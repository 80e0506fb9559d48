//! An endless stream of batches behind a bounded prefetch thread, with exact state.
//!
//! The thread owns the packer and sends each batch with the snapshot taken after it. The state of the stream is the
//! snapshot of the batch returned last; batches made ahead do not count. Another shape stops the thread, puts the
//! packer back to that snapshot and starts anew.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::draws::{self, Draws};
use crate::lanes::{Counters, Snapshot};
use crate::packer::Packer;
pub use crate::packer::Shape;
use crate::windows::Windows;
use crate::{Corpus, DataError, Preparer, Result};

/// How often a waiting caller looks for an interruption.
const POLL: Duration = Duration::from_millis(50);
/// Batches that may have been made but not returned beyond those in the channel: one waiting to be sent, one in work.
const IN_FLIGHT: usize = 2;

/// How a stream packs.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// Documents open at once: rows of a batch are better mixed the more there are.
    pub lanes: usize,
    /// Batches made ahead.
    pub prefetch: usize,
    /// Documents whose second hash is, as a fraction, below this give nothing: those that an n-gram model was trained
    /// on when it could not take the whole corpus. See [`Corpus::documents`].
    pub skip_hash_below: f64,
}

type Message = Result<(Windows, Snapshot)>;

/// The thread at work on one shape. It gives the packer back when it ends.
struct Running {
    shape: Shape,
    receiver: Receiver<Message>,
    thread: JoinHandle<Option<Packer>>,
}

struct Inner {
    /// After the batch returned last.
    last: Snapshot,
    running: Option<Running>,
    /// Kept while no thread runs.
    packer: Option<Packer>,
    waited: Duration,
    closed: bool,
}

/// Batches of packed windows. Threads may share it; each call takes its turn.
pub struct WindowStream {
    corpus: Arc<Corpus>,
    preparer: Preparer,
    config: StreamConfig,
    settings: Map<String, Value>,
    /// The process that made it: a fork has no prefetch thread.
    process: u32,
    inner: Mutex<Inner>,
}

impl WindowStream {
    /// A stream from the beginning, or from a state that [`WindowStream::state`] gave.
    pub fn new(
        corpus: Arc<Corpus>,
        preparer: Preparer,
        config: StreamConfig,
        state: Option<&str>,
    ) -> Result<Self> {
        if config.lanes == 0 || !(0.0..1.0).contains(&config.skip_hash_below) {
            return Err(DataError::invalid(
                format!("lanes = {}, skip_hash_below = {} cannot be", config.lanes, config.skip_hash_below),
                "give at least one lane and a share below 1",
            ));
        }
        if let Some(images) = corpus.config().images
            && preparer.images() != Some(images)
        {
            return Err(DataError::invalid(
                "the corpus reads images that the preparer does not",
                "give both the same image_codes and num_codes",
            ));
        }
        let settings = settings(&corpus, &config);
        let sources = corpus.manifest().sources.len();
        let last = match state {
            Some(json) => Snapshot::from_json(json, &corpus.manifest().digest, &settings, sources)?,
            None => Snapshot::start(config.lanes, sources),
        };
        let inner = Inner { last, running: None, packer: None, waited: Duration::ZERO, closed: false };
        let inner = Mutex::new(inner);
        Ok(Self { corpus, preparer, config, settings, process: std::process::id(), inner })
    }

    /// The next batch. `interrupted` is asked now and then while waiting; its error ends the wait and loses nothing.
    pub fn next(&self, shape: Shape, interrupted: &mut dyn FnMut() -> Result<()>) -> Result<Windows> {
        check_shape(shape, &self.preparer)?;
        let mut inner = self.lock()?;
        if inner.closed {
            return Err(DataError::invalid("the stream is closed", "make a new one from its state"));
        }
        let began = Instant::now();
        let result = self.receive(&mut inner, shape, interrupted);
        inner.waited += began.elapsed();
        let (windows, snapshot) = result?;
        inner.last = snapshot;
        Ok(windows)
    }

    fn receive(
        &self,
        inner: &mut Inner,
        shape: Shape,
        interrupted: &mut dyn FnMut() -> Result<()>,
    ) -> Message {
        if inner.running.as_ref().is_some_and(|running| running.shape != shape) {
            inner.stop();
        }
        if inner.running.is_none() {
            self.start(inner, shape)?;
        }
        loop {
            let Some(running) = &inner.running else {
                return Err(DataError::invalid("the prefetch thread did not start", ""));
            };
            match running.receiver.recv_timeout(POLL) {
                Ok(Ok(batch)) => return Ok(batch),
                Ok(Err(error)) => {
                    inner.stop();
                    return Err(error);
                }
                Err(RecvTimeoutError::Timeout) => interrupted()?,
                Err(RecvTimeoutError::Disconnected) => {
                    inner.stop();
                    return Err(DataError::invalid(
                        "the prefetch thread ended unexpectedly",
                        "this is a fault of NEAT",
                    ));
                }
            }
        }
    }

    fn start(&self, inner: &mut Inner, shape: Shape) -> Result<()> {
        let mut packer = match inner.packer.take() {
            Some(packer) => packer,
            None => self.packer(inner.last.clone())?,
        };
        packer.restore(inner.last.clone());
        let (sender, receiver) = sync_channel(self.config.prefetch);
        let thread = std::thread::Builder::new()
            .name("neat-prefetch".to_owned())
            .spawn(move || work(packer, shape, &sender))
            .map_err(|error| DataError::invalid(format!("cannot start the prefetch thread: {error}"), ""))?;
        inner.running = Some(Running { shape, receiver, thread });
        Ok(())
    }

    fn packer(&self, start: Snapshot) -> Result<Packer> {
        let draws = Draws::new(Arc::clone(&self.corpus), self.config.skip_hash_below)?;
        let kept = self.config.prefetch + IN_FLIGHT;
        Ok(Packer::new(Arc::clone(&self.corpus), self.preparer.clone(), draws, start, kept))
    }

    /// The state after the batch returned last, as JSON.
    pub fn state(&self) -> Result<String> {
        Ok(self.lock()?.last.to_json(&self.corpus.manifest().digest, &self.settings))
    }

    /// What has been returned so far, and the time spent waiting for it in this process.
    pub fn counters(&self) -> Result<(Counters, Duration)> {
        let inner = self.lock()?;
        Ok((inner.last.counters.clone(), inner.waited))
    }

    /// Passes over the data so far: one number for the whole corpus or, with weights, one for each source.
    pub fn epochs(&self) -> Result<Vec<f64>> {
        let draws = self.lock()?.last.next_draw;
        draws::epochs(&self.corpus, draws)
    }

    /// Ends the prefetch thread and waits for it. The state stays readable.
    pub fn close(&self) {
        if let Ok(mut inner) = self.lock() {
            inner.closed = true;
            inner.stop();
            inner.packer = None;
        }
    }

    /// The lock, unless this is a forked child: there the thread is gone and the lock may be held for ever.
    fn lock(&self) -> Result<MutexGuard<'_, Inner>> {
        if std::process::id() != self.process {
            return Err(DataError::invalid(
                "this stream was made in another process: its thread did not survive the fork",
                "save state() before the fork and make a new stream from it",
            ));
        }
        Ok(self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for WindowStream {
    fn drop(&mut self) {
        self.close();
        if std::process::id() != self.process
            && let Ok(inner) = self.inner.get_mut()
        {
            // The thread does not exist here; joining it would never end.
            std::mem::forget(inner.running.take());
        }
    }
}

impl Inner {
    /// Stops the thread and takes the packer back; a thread that panicked takes the packer with it.
    fn stop(&mut self) {
        if let Some(Running { receiver, thread, .. }) = self.running.take() {
            drop(receiver);
            self.packer = thread.join().ok().flatten();
        }
    }
}

/// Makes batches until the receiver goes or one fails.
fn work(mut packer: Packer, shape: Shape, sender: &SyncSender<Message>) -> Option<Packer> {
    loop {
        let made = catch_unwind(AssertUnwindSafe(|| packer.batch(shape)));
        let panicked = made.is_err();
        let message = made.unwrap_or_else(|cause| Err(panic_error(&*cause)));
        let failed = message.is_err();
        let gone = sender.send(message.map(|windows| (windows, packer.snapshot()))).is_err();
        if gone || failed {
            return (!panicked).then_some(packer);
        }
    }
}

fn panic_error(cause: &(dyn std::any::Any + Send)) -> DataError {
    let text = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("no message");
    DataError::invalid(format!("the prefetch thread panicked: {text}"), "this is a fault of NEAT")
}

fn check_shape(shape: Shape, preparer: &Preparer) -> Result<()> {
    let Shape { rows, positions, patches } = shape;
    if rows == 0 || positions == 0 || patches < 2 {
        return Err(DataError::invalid(
            format!("a batch of {rows} rows, {positions} positions and {patches} patches holds nothing"),
            "give at least 1 row, 1 position and 2 patches (one is for padding)",
        ));
    }
    preparer.check_room(positions, patches)
}

/// What the sequence of documents is a function of, beside the files.
fn settings(corpus: &Corpus, config: &StreamConfig) -> Map<String, Value> {
    let corpus = corpus.config();
    let named = [
        ("seed", json!(corpus.seed)),
        ("text_field", json!(corpus.text_field)),
        ("weights", json!(corpus.weights)),
        ("shuffle_blocks", json!(corpus.shuffle_blocks)),
        ("max_document_bytes", json!(corpus.max_document_bytes)),
        ("hold_out", json!(corpus.hold_out)),
        ("lanes", json!(config.lanes)),
        ("skip_hash_below", json!(config.skip_hash_below)),
    ];
    let mut settings: Map<_, _> = named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    // Absent without images, so that states of text alone stay what they were.
    if let Some(images) = corpus.images {
        settings.insert("images".to_owned(), json!(images));
    }
    settings
}
