"""The way back to the last healthy state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from neat.train.phases import Phase
from neat.train.predict.snapshot import WEIGHTS, digest

if TYPE_CHECKING:
    from neat.train.predict.predictor import Predictor
    from neat.train.state import Trainer


def weights(trainer: Trainer) -> dict[str, Tensor]:
    """The model's live tensors as a snapshot names them."""
    return {WEIGHTS + name: tensor.detach() for name, tensor in trainer.model.state_dict().items()}


def recover(predictor: Predictor, trainer: Trainer, signal: str, severity: str, message: str) -> str:
    """Brings the last healthy weights and optimizer state back; returns the reason, or nothing where it cannot.

    Steps, bytes and the position in the data are not turned back: what was read is not read again.
    """
    limit = predictor.settings.max_rollbacks
    if predictor.snapshot.step < 0 or predictor.factors.rollbacks >= limit or predictor.phase is Phase.WARMUP:
        text = f"{message}; not rolled back: " + (
            "there is no healthy state yet"
            if predictor.snapshot.step < 0 or predictor.phase is Phase.WARMUP
            else f"{limit} rollbacks are the limit"
        )
        predictor.told.add("alert", severity="warning", message=text)
        return ""
    predictor.snapshot.restore(predictor.live(trainer))
    predictor.factors.rollbacks += 1
    predictor.factors.lr *= 0.5
    predictor.factors.horizon *= 0.5
    predictor.correction = None
    predictor.critical_in_a_row = 0
    predictor.watch.monitor.reset()
    if predictor.path is not None:
        predictor.path.restart(trainer.step)
    predictor.told.add(
        "rollback",
        reason=message,
        signal=signal,
        severity=severity,
        count=predictor.factors.rollbacks,
        limit=limit,
        snapshot_step=predictor.snapshot.step,
        weights=digest(weights(trainer)),
        lr_scale=predictor.factors.lr,
        horizon_scale=predictor.factors.horizon,
    )
    return f"rollback to step {predictor.snapshot.step}: {message}"
