//! Lanes and the state of a stream: which documents are open, how far each has come, which draw is next.
//!
//! The state is a few numbers; documents are found again through their draw. In memory a snapshot also holds the open
//! documents themselves, so that going back costs nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::corpus::Nothing;
use crate::{DataError, Prepared, Result};

/// Version of the state's format, of the order and of the packing.
const STATE_VERSION: u64 = 1;

/// A document being packed.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) source: u32,
    pub(crate) document: Arc<Prepared>,
}

/// A lane with an open document; `opened` is empty after a restore until the document is read again.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) draw: u64,
    /// The next target byte.
    pub(crate) offset: usize,
    pub(crate) opened: Option<Opened>,
}

/// What has been packed so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Documents finished.
    pub documents: u64,
    /// Target bytes.
    pub bytes: u64,
    /// Positions, padding included.
    pub positions: u64,
    /// Positions of padding.
    pub padding: u64,
    /// Patches.
    pub patches: u64,
    /// Draws that gave nothing because the row is null or without text.
    pub skipped_empty: u64,
    /// Draws that gave nothing because the row is bad.
    pub skipped_bad: u64,
    /// Draws that gave nothing because the document is held out.
    pub skipped_held_out: u64,
    /// Draws that gave nothing because the n-gram model was trained on the document.
    pub skipped_excluded: u64,
    /// Documents finished, by source.
    pub source_documents: Vec<u64>,
    /// Target bytes, by source.
    pub source_bytes: Vec<u64>,
}

impl Counters {
    pub(crate) fn skip(&mut self, nothing: Nothing) {
        *match nothing {
            Nothing::Empty => &mut self.skipped_empty,
            Nothing::Bad => &mut self.skipped_bad,
            Nothing::HeldOut => &mut self.skipped_held_out,
            Nothing::Excluded => &mut self.skipped_excluded,
        } += 1;
    }
}

/// Where a stream stands between two batches.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) next_draw: u64,
    pub(crate) next_row: u64,
    pub(crate) lanes: Vec<Option<Lane>>,
    pub(crate) counters: Counters,
}

/// A snapshot as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u64,
    corpus: String,
    settings: Map<String, Value>,
    next_draw: u64,
    next_row: u64,
    /// Draw and offset of each lane's document.
    lanes: Vec<Option<(u64, usize)>>,
    counters: Counters,
}

impl Snapshot {
    /// The beginning of a stream.
    pub(crate) fn start(lanes: usize, sources: usize) -> Self {
        let counters = Counters {
            source_documents: vec![0; sources],
            source_bytes: vec![0; sources],
            ..Counters::default()
        };
        Self { next_draw: 0, next_row: 0, lanes: vec![None; lanes], counters }
    }

    /// The state as JSON.
    pub(crate) fn to_json(&self, corpus: &str, settings: &Map<String, Value>) -> String {
        let state = State {
            version: STATE_VERSION,
            corpus: corpus.to_owned(),
            settings: settings.clone(),
            next_draw: self.next_draw,
            next_row: self.next_row,
            lanes: self.lanes.iter().map(|lane| lane.as_ref().map(|lane| (lane.draw, lane.offset))).collect(),
            counters: self.counters.clone(),
        };
        serde_json::json!(state).to_string()
    }

    /// Reads a state; one of another version, corpus or settings is refused with the difference named.
    pub(crate) fn from_json(
        json: &str,
        corpus: &str,
        settings: &Map<String, Value>,
        sources: usize,
    ) -> Result<Self> {
        let refuse = |message: String, hint: &str| DataError::invalid(message, hint);
        let unreadable = |error: serde_json::Error| {
            refuse(
                format!("the stream's state cannot be read: {error}"),
                "it belongs to another version or is damaged",
            )
        };
        let value: Value = serde_json::from_str(json).map_err(unreadable)?;
        let version = value.get("version").and_then(Value::as_u64);
        if version != Some(STATE_VERSION) {
            let found = version.map_or("no version".to_owned(), |version| format!("version {version}"));
            let message =
                format!("the stream's state has {found}; this program reads version {STATE_VERSION}");
            return Err(refuse(message, "continue with the program that wrote it, or start the data afresh"));
        }
        let state: State = serde_json::from_value(value).map_err(unreadable)?;
        same_settings(&state.settings, settings)?;
        if state.corpus != corpus {
            let message = format!("the state belongs to other data: corpus {}, now {corpus}", state.corpus);
            return Err(refuse(message, "use the files of the first run, in the same order"));
        }
        let counts = [&state.counters.source_documents, &state.counters.source_bytes];
        if counts.iter().any(|counts| counts.len() != sources)
            || state.lanes.iter().flatten().any(|(draw, _)| *draw >= state.next_draw)
        {
            return Err(refuse("the stream's state contradicts itself".to_owned(), "it is damaged"));
        }
        let lane = |(draw, offset)| Lane { draw, offset, opened: None };
        Ok(Self {
            next_draw: state.next_draw,
            next_row: state.next_row,
            lanes: state.lanes.into_iter().map(|place| place.map(lane)).collect(),
            counters: state.counters,
        })
    }
}

fn same_settings(saved: &Map<String, Value>, now: &Map<String, Value>) -> Result<()> {
    let missing = Value::Null;
    for name in saved.keys().chain(now.keys()) {
        let (then, now) = (saved.get(name).unwrap_or(&missing), now.get(name).unwrap_or(&missing));
        if then != now {
            return Err(DataError::invalid(
                format!("the state was saved with {name} = {then}, this stream has {name} = {now}"),
                format!("set {name} back, or start the data afresh"),
            ));
        }
    }
    Ok(())
}
