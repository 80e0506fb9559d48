from _typeshed import Incomplete, SupportsGetItem
from os import PathLike
from typing import Any, SupportsFloat, SupportsIndex, final

@final
class Corpus:
    """
    The documents of a training run.

    Every file is scanned once: text and JSON lines are read whole and every row is checked, of Parquet only the footer
    is read. Formats (JSON lines, Parquet, UTF-8 text) and compressions (gzip, Zstandard) are found from the content.

    Args:
        sources: One list of patterns (file, folder, glob) for each source.
        weights: Share of the bytes of each source; None takes every document once an epoch.
        text_field: JSON field or Parquet column with the text.
        on_bad_row: "stop" raises at the first row that is no document, "skip" counts such rows (see `bad_rows`).
        seed: Seed of the order.
        shuffle_blocks: Blocks (about a mebibyte of lines, or a Parquet row group) whose rows are shuffled together.
        max_document_bytes: Longer documents are bad rows.
        hold_out: Share of the documents kept out of draws: those with `(xxh3_64(text) >> 11) / 2**53 < hold_out`.
        image_codes: Codes of one image; 0 makes rows with images bad rows. Images are read from the field `images` of
            JSON lines, a list of lists of codes, one for each U+FFFC in the text. The hash of such a document is taken
            of its text, with a byte 255 at each position of an image, and then its codes as little-endian uint16.
        num_codes: Entries of the codebook.

    Raises:
        neat.errors.DataError: A file is missing, damaged or of no known format, no row has the text field, there are
            no documents, or a row is bad and `on_bad_row` is "stop".
    """
    def __new__(cls, /, sources: SupportsGetItem[int, SupportsGetItem[int, str]], weights: SupportsGetItem[int, SupportsFloat | SupportsIndex] | None = None, text_field: str = "text", on_bad_row: str = "stop", seed: SupportsIndex = 0, shuffle_blocks: SupportsIndex = 16, max_document_bytes: SupportsIndex = ..., hold_out: SupportsFloat | SupportsIndex = 0.0, image_codes: SupportsIndex = 0, num_codes: SupportsIndex = 65536) -> Corpus: ...
    def __repr__(self, /) -> str: ...
    def bad_rows(self, /) -> list[tuple[str, str, str]]:
        """
        The first hundred rows that are no documents, as (file, place, reason). See `num_bad_rows` for their number.
        """
    @property
    def digest(self, /) -> str:
        """
        Identifies content and order of the files: 32 hexadecimal digits.
        """
    def document_hashes(self, /, part: str = "train") -> Incomplete:
        """
        `xxh3_64` of every document of a part, uint64 `[documents]`, in the order of the manifest.
        """
    def documents(self, /, part: str = "train", limit_bytes: SupportsIndex | None = None, hash_below: SupportsFloat | SupportsIndex | None = None) -> Documents:
        """
        Iterates over documents in the order of the manifest: bytes, or a `Document` where there are images.

        Args:
            part: "train", "held_out" or "all".
            limit_bytes: Ends with the document that reaches this many bytes.
            hash_below: Gives only the documents whose second hash (`xxh3_64` with seed 1), as a fraction
                `(hash >> 11) / 2**53`, is below this: a sample that `WindowStream(skip_hash_below=...)` leaves out.
        """
    def manifest(self, /) -> str:
        """
        The manifest as JSON: `digest` and, for each source, its files with path, format, compression, size on disk
        (`bytes`), `rows`, `documents`, `text_bytes` and `digest`.
        """
    @property
    def num_bad_rows(self, /) -> int:
        """
        Rows found so far that are no documents; those of Parquet files are found when they are read.
        """
    @property
    def num_bytes(self, /) -> int:
        """
        Bytes of text as far as the scan knows; for Parquet files from their metadata.
        """
    @property
    def num_documents(self, /) -> int:
        """
        Documents as far as the scan knows: rows of Parquet files count as documents until they are read.
        """

@final
class CrossFit:
    """
    The full n-gram model and, for each fold, one that has not seen its documents.
    """
    def __repr__(self, /) -> str: ...
    def fold_of(self, /, document: bytes | bytearray | Document) -> int | None:
        """
        Fold of a document, `xxh3_64(document) % folds`; None when not cross-fitted or not trained on.
        """
    @property
    def folds(self, /) -> int:
        """
        Number of folds; 0 when not cross-fitted.
        """
    @property
    def full(self, /) -> NgramModel:
        """
        The model of all documents.
        """
    def model(self, /, fold: SupportsIndex) -> NgramModel:
        """
        The model that has not seen a fold.
        """
    @staticmethod
    def single(model: NgramModel) -> CrossFit:
        """
        Only the given model, without folds.
        """
    @staticmethod
    def train(corpus: Corpus, order: SupportsIndex = 6, folds: SupportsIndex = 8, limit_bytes: SupportsIndex | None = None, threads: SupportsIndex = 0, hash_below: SupportsFloat | SupportsIndex | None = None) -> CrossFit:
        """
        Train `folds` models and the full one on the training part of a corpus; 0 folds is `single`.

        The other arguments are those of `NgramModel.train`. With `hash_below` the documents outside the sample belong to
        no fold and get the full model, which has not seen them.
        """
    @staticmethod
    def train_bytes(documents: SupportsGetItem[int, bytes | bytearray | Document], order: SupportsIndex = 6, folds: SupportsIndex = 8, threads: SupportsIndex = 0) -> CrossFit:
        """
        Train on documents in memory: `folds` models and the full one; 0 folds is `single`.
        """

@final
class DivergenceMonitor:
    """
    Watches losses and gradients for signs of divergence.

    Args:
        settings: A JSON object with thresholds `[info, warning, critical]`: `loss` and `gradient` (robust deviations above
            the median), `oscillation` (alternating differences against usual ones), `forecast` (sigmas above the forecast);
            `window` and `warmup` in tokens.

    Raises:
        neat.errors.ConfigError: A key is unknown, or thresholds do not ascend.
    """
    def __new__(cls, /, settings: str = "{}") -> DivergenceMonitor: ...
    @staticmethod
    def from_bytes(settings: str, state: bytes | bytearray) -> DivergenceMonitor:
        """
        A monitor from settings and the bytes of `to_bytes`.
        """
    def observe(self, /, *, step: SupportsIndex, loss: SupportsFloat | SupportsIndex, grad_norm: SupportsFloat | SupportsIndex, forecast_error: SupportsFloat | SupportsIndex | None = None) -> list[tuple[str, str, str]]:
        """
        Take a token; `forecast_error` is (measured - forecast) / sigma. Numbers that are not finite are a signal.

        Returns:
            (signal, severity, message) of each warning: signal is `loss`, `gradient`, `nonfinite`, `oscillation` or
            `forecast`, severity `info`, `warning` or `critical`.
        """
    def reset(self, /) -> None:
        """
        Forget what was seen, after a rollback: the warm-up begins again.
        """
    def to_bytes(self, /) -> bytes:
        """
        The state as bytes.
        """

@final
class Document:
    """
    Text with images between its parts. A document without images is `bytes`; wherever those are taken, so is this.

    Its length counts positions: a byte, a code, and the beginning and the end of an image are one each.

    Args:
        parts: Text as bytes and images as lists of codes, in their order.
        open: The last part is an image that has not ended: any number of its codes, and no end.

    Raises:
        ValueError: The document is open but does not end with an image.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __len__(self, /) -> int: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __new__(cls, /, parts: SupportsGetItem[int, bytes | bytearray | SupportsGetItem[int, SupportsIndex]], open: bool = False) -> Document: ...
    def __repr__(self, /) -> str: ...
    def beginning(self, /, positions: SupportsIndex) -> Document:
        """
        The longest document of at most `positions` positions that this one begins with and that ends in no image.
        """
    @property
    def images(self, /) -> list[tuple[int, list[int]]]:
        """
        The images as (position where it begins, codes).
        """
    @property
    def is_open(self, /) -> bool:
        """
        Whether the last image has not ended.
        """
    @property
    def num_bytes(self, /) -> int:
        """
        Bytes of text, without the positions of images.
        """
    def parts(self, /) -> list:
        """
        The parts: text as bytes, images as lists of codes. Empty texts are left out.
        """
    def symbols(self, /) -> list[int]:
        """
        One number a position: a byte, 259 where an image begins, 264 and more for a code, 260 where the image ends.
        """

@final
class Documents:
    """
    Iterator over documents.
    """
    def __iter__(self, /) -> Documents: ...
    def __next__(self, /) -> Any: ...

@final
class Dynamics:
    """
    A recurrent state-space model that watches training, forecasts its loss and learns online.

    It is fed one token about every ten steps. Loss forecasts are corrections to a log-linear fit, with calibrated
    intervals; gains and credits are for the predictions of hybrid training. Deterministic from its seed.

    Args:
        settings: A JSON object. Keys and defaults: `seed` 0, `kinds` hidden and vectors (of tensors), `basis` 3
            (vectors of the trajectory basis), `horizons` [10, 30, 100] (steps), `candidates` [0.125, 0.25, 0.5, 1.0]
            (shares of a displacement), `hidden` 48, `latent` 12, `members` 3, `learning_rate` 1e-3, `free_bits` 1.0,
            `bptt` 32 (tokens), `interval` 0.9, `store` 256, `blend` 0.7, `total_steps_hint` null.

    Raises:
        neat.errors.ConfigError: A key is unknown, or a value of the wrong type or out of range.
    """
    def __new__(cls, /, settings: str) -> Dynamics: ...
    def __repr__(self, /) -> str: ...
    def calibration(self, /) -> dict:
        """
        Accuracy of the forecasts that came due, all on the same forecasts.

        Returns:
            `interval` (nominal share) and, by horizon, `coverage` (share found inside), mean absolute errors `mae` (model),
            `mae_fit` (log-linear fit alone), `mae_corrected`, each None before a forecast came due, and `count`.
        """
    def feature_statistics(self, /) -> list[tuple[str, float, float]]:
        """
        Name, running mean and running variance of every feature that was measured more than once.
        """
    def forecast(self, /) -> dict:
        """
        What was forecast at the newest token.

        Returns:
            `horizons` (steps) and, by horizon in nats per byte, `mean`, `sigma` (calibrated), `epistemic`, `fit` (log-linear fit
            alone) and `corrected`: lists, or None before there is a fit. `gain` by kind of tensor. `credit_mean`,
            `credit_sigma` and `credit_probability` by candidate, or None before a credit was recorded.
        """
    def forecast_averaged(self, /, step: SupportsIndex) -> dict[str, float] | None:
        """
        Loss at the averaged weights at a step: `mean`, `sigma`, `corrected`; None before a measurement and a fit.

        The last measurements are carried along the trend of the training loss. `corrected` adds the similarity-weighted mean
        of the stored residuals, blended with the mean error of earlier forecasts.
        """
    @staticmethod
    def from_bytes(settings: str, state: bytes | bytearray) -> Dynamics:
        """
        A model from settings and the bytes of `to_bytes`.

        Raises:
            neat.errors.CheckpointError: The bytes are damaged, of another version, or from other settings.
        """
    def imagine(self, /, tokens: SupportsIndex, seed: SupportsIndex) -> Incomplete:
        """
        A rollout without observations: normalised features, float64 [tokens, features]; latents are drawn by `seed`.
        """
    def inspect(self, /) -> dict | None:
        """
        One observed step from the newest token on, for comparison with another implementation; None before a token.

        Returns:
            `state`, `features`, `noise` (what went in), `next`, `latent`, `rebuilt`, `kl`, `loss` [members, 2 horizons] (means,
            then log-sigmas), `gain` (logs), `credit` [candidates, 3]: float64.
        """
    def inspect_training(self, /) -> dict | None:
        """
        Objectives and gradient on the last tokens, for comparison with another implementation; None before a token.

        Returns:
            `state`, `features`, `targets` and `slopes` (NaN where not known), `weights`, `noise`: float64 [tokens, ...];
            `credits`: (token, candidate, value, positive, log-odds); `total`, `nll`, `kl`, `rebuilt`, `gain`, `credit`;
            `gradient` by name.
        """
    def num_parameters(self, /) -> int:
        """
        Number of trained parameters.
        """
    def observe(self, /, *, step: SupportsIndex, loss: SupportsFloat | SupportsIndex, grad_norm: SupportsFloat | SupportsIndex, lr: SupportsFloat | SupportsIndex, lr_ahead: SupportsGetItem[int, SupportsFloat | SupportsIndex], gram: Incomplete | None = None, slopes: SupportsGetItem[int, SupportsFloat | SupportsIndex] | None = None, gap: SupportsFloat | SupportsIndex | None = None, credit: SupportsFloat | SupportsIndex | None = None, accepted: bool | None = None) -> dict[str, float | None]:
        """
        Take a token: settle the forecasts that it makes due, forecast anew, train.

        A step at or before the last one is a rollback: what was seen at and after it is forgotten, what was learned kept.

        Args:
            step: Finished steps, at least 1.
            loss: Mean loss over the steps since the last token, nats per byte.
            grad_norm: Norm of the gradient.
            lr: Learning rate over its maximum, 0 to 1.
            lr_ahead: The same at each horizon ahead.
            gram: Inner products of the trajectory basis, float64 [kinds, basis, basis]; None where not measured.
            slopes: `<-g, d> / (|g| |d|)` of each kind; it trains the gains.
            gap: Loss at the weights less loss at their average.
            credit: Credit of the last jump, at the token where it became known.
            accepted: Whether a jump was accepted, at the token where one was tried.

        Returns:
            `model/nll`, `model/kl`, `model/grad_norm`, `model/gain_loss`, `model/credit_loss` and `model/rebuilt`: floats, or
            None where nothing was measured.

        Raises:
            neat.errors.DivergedError: A number is not finite.
            ValueError: A list has the wrong length, or a value is out of its range.
        """
    def observe_averaged(self, /, step: SupportsIndex, loss: SupportsFloat | SupportsIndex) -> None:
        """
        Take a measured loss at the averaged weights, nats per byte.
        """
    def parameters(self, /) -> dict:
        """
        Every trained tensor by its name, float64; weights are [inputs, outputs].
        """
    def record_credit(self, /, candidate: SupportsIndex, credit: SupportsFloat | SupportsIndex, step: SupportsIndex | None = None) -> None:
        """
        Label a token with the credit, in nats per byte, that the candidate with this index earned.

        The token is the newest one at or before `step`; without `step` the newest of all.
        """
    def record_residual(self, /, *, horizon: SupportsIndex, residual_norms: SupportsGetItem[int, SupportsFloat | SupportsIndex], cosines: SupportsGetItem[int, SupportsFloat | SupportsIndex], forecast_residual: SupportsFloat | SupportsIndex, credit: SupportsFloat | SupportsIndex) -> None:
        """
        Store what a jump of `horizon` predicted steps left behind; the oldest entry goes when the store is full.

        `residual_norms` and `cosines` are by kind: norm of actual minus predicted displacement, cosine of the two.
        `forecast_residual` is the measured loss less `forecast_averaged(...)["mean"]`.
        """
    def residuals(self, /) -> int:
        """
        Number of stored residuals.
        """
    def to_bytes(self, /) -> bytes:
        """
        The state as bytes; `from_bytes` goes on from it bit for bit.
        """

@final
class NgramModel:
    """
    An interpolated modified Kneser-Ney model over bytes.

    Places the patches, is the yardstick of every evaluation, and feeds the network with next-byte probabilities.
    """
    def __repr__(self, /) -> str: ...
    def bits(self, /, document: bytes | bytearray | Document) -> float:
        """
        Code length of a document in bits; of the texts between images, where there are some.
        """
    @property
    def digest(self, /) -> str:
        """
        32 hexadecimal digits that name the model's contents, the patcher aside.
        """
    def distributions(self, /, document: bytes | bytearray) -> Incomplete:
        """
        Probabilities of each byte given those before it: float32 [n + 1, 256].
        """
    def entropies(self, /, document: bytes | bytearray) -> Incomplete:
        """
        Entropy in nats of the distribution for each byte given those before it: float32 [n + 1].
        """
    @staticmethod
    def from_bytes(data: bytes | bytearray) -> NgramModel:
        """
        Read a model from the contents of a file.
        """
    @staticmethod
    def load(path: str | PathLike[str]) -> NgramModel:
        """
        Read a model from a file; `neat.errors.DataError` if it is damaged.
        """
    @property
    def num_contexts(self, /) -> int:
        """
        Stored contexts of all lengths.
        """
    @property
    def order(self, /) -> int:
        """
        Bytes of context.
        """
    @property
    def patcher(self, /) -> Patcher | None:
        """
        The patcher that was stored in the model's file, if any.
        """
    def save(self, /, path: str | PathLike[str], patcher: Patcher | None = None) -> None:
        """
        Write the model to a file, with a patcher to travel along if one is given.
        """
    def to_bytes(self, /, patcher: Patcher | None = None) -> bytes:
        """
        The contents of the file that `save` writes.
        """
    @staticmethod
    def train(corpus: Corpus, order: SupportsIndex = 6, limit_bytes: SupportsIndex | None = None, threads: SupportsIndex = 0, hash_below: SupportsFloat | SupportsIndex | None = None) -> NgramModel:
        """
        Train on the training part of a corpus.

        `limit_bytes` ends with the document that reaches it; `hash_below` takes the sample of `Corpus.documents` that a
        stream can leave out. `order` is the bytes of context, 1 to 6; `threads` = 0 takes one a core.
        """
    @staticmethod
    def train_bytes(documents: SupportsGetItem[int, bytes | bytearray | Document], order: SupportsIndex = 6, threads: SupportsIndex = 0) -> NgramModel:
        """
        Train on documents in memory. `order` is the bytes of context, 1 to 6; `threads` = 0 takes one a core.
        """

@final
class Patcher:
    """
    A rule that says which bytes open a patch, with its numbers.

    Rules: `global` (entropy above `threshold`), `monotonic` (entropy rose by more than `increment`), `both`, `space`,
    `stride` and `byte`. Patches longer than `max_length` are cut.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __new__(cls, /, rule: str, threshold: SupportsFloat | SupportsIndex = 0.0, increment: SupportsFloat | SupportsIndex = 0.0, max_length: SupportsIndex = 16, stride: SupportsIndex = 4) -> Patcher: ...
    def __repr__(self, /) -> str: ...
    @staticmethod
    def calibrate(models: CrossFit, corpus: Corpus, rule: str, mean_length: SupportsFloat | SupportsIndex, max_length: SupportsIndex = 16, stride: SupportsIndex = 4, sample_bytes: SupportsIndex = ...) -> Patcher:
        """
        The patcher that comes nearest to `mean_length` on about `sample_bytes` of a corpus' training part.

        The sample is drawn by hash from the first 16 x `sample_bytes`. Uses the entropies of the model that has not seen
        the document. `mean_length` of the result is the one reached.
        """
    @staticmethod
    def calibrate_bytes(models: CrossFit, documents: SupportsGetItem[int, bytes | bytearray | Document], rule: str, mean_length: SupportsFloat | SupportsIndex, max_length: SupportsIndex = 16, stride: SupportsIndex = 4, sample_bytes: SupportsIndex = ...) -> Patcher:
        """
        The patcher that comes nearest to `mean_length` on about `sample_bytes` of documents in memory.

        Uses the entropies of the model that has not seen the document. `mean_length` of the result is the one reached.
        """
    @staticmethod
    def from_json(text: str) -> Patcher:
        """
        Read what `to_json` wrote.
        """
    @property
    def increment(self, /) -> float:
        """
        Rise of entropy in nats above which `monotonic` and `both` open a patch.
        """
    @property
    def max_length(self, /) -> int:
        """
        Longest patch in bytes.
        """
    @property
    def mean_length(self, /) -> float | None:
        """
        Mean patch length on the calibration sample; None when not calibrated.
        """
    @property
    def rule(self, /) -> str:
        """
        The rule's name.
        """
    def starts(self, /, document: bytes | bytearray, entropies: Incomplete | None = None) -> Incomplete:
        """
        Which bytes open a patch: bool [n + 1], the last for the byte that would come next.

        `entropies` is float32 [n + 1], from the n-gram model or from elsewhere; the rules that need none ignore it.
        """
    @property
    def stride(self, /) -> int:
        """
        Patch length of the `stride` rule.
        """
    @property
    def threshold(self, /) -> float:
        """
        Entropy in nats above which `global` and `both` open a patch.
        """
    def to_json(self, /) -> str:
        """
        One line of JSON.
        """

@final
class Preparer:
    """
    Turns documents into rows of static shapes: ids, patches, hashes and n-gram features.
    """
    def __new__(cls, /, models: CrossFit | None, patcher: Patcher, hash_orders: SupportsGetItem[int, SupportsIndex] = ..., hash_rows: SupportsIndex = 0, features: bool = False, image_codes: SupportsIndex = 0, num_codes: SupportsIndex = 65536) -> Preparer:
        """
        `models` may be None for the rules `space`, `stride` and `byte` without features. With `image_codes` above 0 rows
        carry images of that many codes, each code below `num_codes`, and the arrays `codes`, `cell` and `code_targets`.
        """
    def packed(self, /, documents: SupportsGetItem[int, bytes | bytearray | Document], segments: SupportsGetItem[int, SupportsGetItem[int, tuple[SupportsIndex, SupportsIndex, SupportsIndex, SupportsIndex]]], positions: SupportsIndex, patches: SupportsIndex) -> dict:
        """
        Like `windows`, with several segments in a row.
        """
    def spans(self, /, document: bytes | bytearray | Document, positions: SupportsIndex, patches: SupportsIndex, overlap: SupportsIndex) -> list[tuple[int, int, int]]:
        """
        Spans `(start, end, score_from)` that cover the targets of a document, the byte after the last included.

        Neighbours share up to `overlap` targets. The spans of a prefix are those of the document but for the last.
        """
    def starts(self, /, document: bytes | bytearray | Document) -> Incomplete:
        """
        Which positions of a document open a patch, by the full n-gram model: bool [n + 1].
        """
    def windows(self, /, documents: SupportsGetItem[int, bytes | bytearray | Document], spans: SupportsGetItem[int, tuple[SupportsIndex, SupportsIndex, SupportsIndex, SupportsIndex]], positions: SupportsIndex, patches: SupportsIndex) -> dict:
        """
        One row for each span `(document, start, end, score_from)`, by the full n-gram model.

        `end` may be one past the document's length to ask for the prediction of the byte after it. Targets before
        `score_from` are -100. Returns the arrays by name; with P = `patches`, slot P - 1 is for padding.
        """

@final
class Reader:
    """
    Turns a document into positions as it is written. A reader never changes: reading gives new ones.

    The positions are those that `Preparer.windows` gives for the whole document, however it is cut: also between the
    codes of an image. What is read is `bytes`, or a sequence of symbols as `Document.symbols` gives them.
    """
    def __new__(cls, /, preparer: Preparer, state: str | None = None) -> Reader:
        """
        A reader at the beginning of a document, or where `state()` was called.

        Raises:
            neat.errors.DataError: The state is damaged or belongs to another preparer.
        """
    def __repr__(self, /) -> str: ...
    def fit(self, /, text: bytes | bytearray | SupportsGetItem[int, SupportsIndex], positions: SupportsIndex, patches: SupportsIndex) -> int:
        """
        How many symbols of `text` can be read until the segment is full.

        It is full at `positions` positions, or when one more would lie in more than `patches` patches. The codes of an
        image are read all or not at all; an image that has not ended needs room for those that are to come.
        """
    @property
    def image(self, /) -> list[int] | None:
        """
        Codes read of an image that has not ended; None outside images.
        """
    @property
    def num_patches(self, /) -> int:
        """
        Patches that these positions lie in.
        """
    @property
    def num_positions(self, /) -> int:
        """
        Positions of the segment so far.
        """
    @staticmethod
    def read(readers: SupportsGetItem[int, Reader], texts: SupportsGetItem[int, bytes | bytearray | SupportsGetItem[int, SupportsIndex]]) -> tuple[dict, list[Reader]]:
        """
        Read one text with each of several readers: the arrays of a batch that continues streams, and new readers.

        The arrays are those of `Preparer.windows`, with one more patch slot than any row closes patches. The position
        before a document's first symbol comes with what is read first, be it nothing. Targets are not known yet.
        """
    def skip(self, /, text: bytes | bytearray | SupportsGetItem[int, SupportsIndex]) -> Reader:
        """
        A reader that has passed over `text` without positions for it; the next symbol begins a segment.
        """
    def state(self, /) -> str:
        """
        Where it stands, as JSON of less than a kilobyte, and the codes of an image that has not ended.
        """

@final
class WindowStream:
    """
    An endless stream of packed batches, made ahead by one thread, with exact state.

    The order of documents is a function of seed, files and position alone. `lanes` documents are open at once; row r of
    the stream continues lane r modulo `lanes`. The thread starts with the first batch and ends with `close`.

    Args:
        corpus: Where documents come from.
        preparer: How they become rows.
        lanes: Documents open at once.
        prefetch: Batches made ahead.
        state: What `state()` gave: continues after the batch that had been returned last then. Refused when corpus,
            seed, lanes or another setting of the order differs.
        skip_hash_below: Documents whose second hash, as a fraction, is below this are not drawn: those that an n-gram
            model was trained on when it could not take the whole corpus (`Corpus.documents(hash_below=...)`).

    Raises:
        neat.errors.DataError: A setting is out of range or the state belongs to another stream.
    """
    def __new__(cls, /, corpus: Corpus, preparer: Preparer, lanes: SupportsIndex = 64, prefetch: SupportsIndex = 4, state: str | None = None, skip_hash_below: SupportsFloat | SupportsIndex = 0.0) -> WindowStream: ...
    def close(self, /) -> None:
        """
        Ends the prefetch thread and waits for it. The state stays readable.
        """
    def next(self, /, rows: SupportsIndex, positions: SupportsIndex, patches: SupportsIndex) -> dict:
        """
        The next batch as a dictionary of arrays (see `Preparer.windows`); waits for it without the GIL.

        The shape may change from call to call; the sequence of documents does not depend on it, and nothing is lost.

        Args:
            rows: Rows, B.
            positions: Positions of a row, N.
            patches: Patch slots of a row, P; the last one is for padding.

        Raises:
            neat.errors.DataError: A file cannot be read, a row is bad under "stop", or the stream is closed. The state
                stays that after the last batch returned.
        """
    def state(self, /) -> str:
        """
        The state after the batch returned last, as JSON; batches made ahead do not count.
        """
    def statistics(self, /) -> dict:
        """
        What has been returned so far, saved runs included.

        `epoch` (passes over the data; with weights those of the source furthest on), `source_epochs` (with weights),
        `documents` (finished), `bytes` (targets), `positions`, `padding` (of the positions), `patches`,
        `source_documents` and `source_bytes` (lists), `skipped_empty`, `skipped_bad`, `skipped_held_out`,
        `skipped_excluded` (draws that gave nothing) and `wait_s` (seconds spent in `next`, this stream only).
        """

def column(path: str, name: str) -> list[bytes | None]:
    """
    All values of a column of strings or byte arrays of a Parquet file, in the order of its rows; None where it is null.

    Raises:
        neat.errors.DataError: The file cannot be read or has no such column.
    """

def inspect(path: str, text_field: str = "text") -> str:
    """
    Reads one file through and reports, as JSON: `format`, `compression`, `file_bytes`, `rows`, `documents`, `bytes` (of
    text), `images`, `columns`, `has_text_field`, `bad_rows`, `first_bad` (`place` and `reason`, or null) and `readable`
    (read to the end, and every row is good).

    Bad content is reported, not raised.

    Raises:
        neat.errors.DataError: The file cannot be opened.
    """

def __getattr__(name: str) -> Incomplete: ...
