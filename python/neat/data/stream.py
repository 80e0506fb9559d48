"""The endless stream of packed rows, whose patches may follow another rule from stage to stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neat import _native


class Stream:
    """The rows of a training run.

    The sequence of documents and the state do not depend on how they are cut into patches: at a change of the patch
    length the stream goes on, with another preparer, exactly after the batch returned last.

    Args:
        corpus: Where documents come from.
        preparers: How they become rows, by the mean patch length of a stage; None is the rule of the finished model.
        lanes: Documents open at once.
        prefetch: Batches made ahead.
        state: What `state()` gave, to go on from there.

    Raises:
        DataError: A setting is out of range or the state belongs to another stream.
    """

    def __init__(
        self,
        corpus: _native.Corpus,
        preparers: Mapping[float | None, _native.Preparer],
        *,
        lanes: int,
        prefetch: int,
        state: str | None = None,
    ) -> None:
        self._corpus, self._preparers = corpus, preparers
        self._lanes, self._prefetch = lanes, prefetch
        self._patch_length: float | None = None
        self._waited_s = 0.0
        self._rows = self._open(state)

    def next(self, rows: int, positions: int, patches: int, patch_length: float | None = None) -> dict[str, Any]:
        """The next batch as arrays by name (see `_native.Preparer.windows`).

        Args:
            rows: Rows, B.
            positions: Positions of a row, N.
            patches: Patch slots of a row, P; the last one is for padding.
            patch_length: Mean patch length of the stage, None for that of the finished model.

        Raises:
            DataError: A file cannot be read, or a row is bad under "stop".
        """
        if patch_length != self._patch_length:
            self._follow(patch_length)
        arrays: dict[str, Any] = self._rows.next(rows, positions, patches)
        return arrays

    def state(self) -> str:
        """The state after the batch returned last, as JSON; batches made ahead do not count."""
        return self._rows.state()

    def statistics(self) -> dict[str, Any]:
        """What has been returned so far, saved runs included, and `wait_s` of this object."""
        found: dict[str, Any] = self._rows.statistics()
        return found | {"wait_s": self._waited_s + found["wait_s"]}

    def close(self) -> None:
        """Ends the thread that makes batches. The state stays readable."""
        self._rows.close()

    def _follow(self, patch_length: float | None) -> None:
        self._waited_s += self._rows.statistics()["wait_s"]
        self._rows.close()
        self._patch_length = patch_length
        self._rows = self._open(self._rows.state())

    def _open(self, state: str | None) -> _native.WindowStream:
        return _native.WindowStream(
            self._corpus,
            self._preparers[self._patch_length],
            lanes=self._lanes,
            prefetch=self._prefetch,
            state=state,
        )
