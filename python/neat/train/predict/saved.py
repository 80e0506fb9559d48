"""What a checkpoint holds of prediction, and how a run goes on from it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neat.train.phases import Phase, State
from neat.train.predict import jump as jumps
from neat.train.predict.correct import Correction
from neat.train.predict.factors import Factors
from neat.train.predict.ledger import Ledger
from neat.train.predict.snapshot import PREFIX, Snapshot

if TYPE_CHECKING:
    from neat.train.predict.predictor import Predictor
    from neat.train.state import Trainer


def tensors(predictor: Predictor, step: int) -> dict[str, Tensor]:
    """Tensors of a checkpoint after `step` steps: the averages, a jump in correction, and the healthy state where
    it is not the checkpoint's own.
    """
    found = predictor.buffers()
    if predictor.correction is not None and predictor.path is not None:
        delta = predictor.correction.jump.delta
        found |= {f"jump.{name}": d for name, d in zip(predictor.path.names, delta, strict=True)}
        if predictor.correction.slopes:
            found["jump_slopes"] = torch.stack(predictor.correction.slopes)
    if predictor.snapshot.step not in (-1, step):
        found |= predictor.snapshot.state()
    return found


def values(predictor: Predictor) -> dict[str, Any]:
    """Plain values of a checkpoint."""
    correction = None
    if predictor.correction is not None:
        jump = {k: v for k, v in _plain(predictor.correction.jump).items() if k != "delta"}
        correction = {"jump": jump, "step": predictor.correction.step, "forecast": predictor.correction.forecast}
    return {
        "state": asdict(predictor.state),
        "ledger": asdict(predictor.ledger),
        "factors": asdict(predictor.factors),
        "realised": predictor.realised,
        "alarm_step": predictor.alarm_step,
        "critical_in_a_row": predictor.critical_in_a_row,
        "stage": predictor.stage,
        "anchor_step": predictor.path.anchor_step if predictor.path is not None else 0,
        "snapshot_step": predictor.snapshot.step,
        "probe": predictor.probe.state(),
        "watch": predictor.watch.state(),
        "correction": correction,
    }


def load(
    predictor: Predictor, trainer: Trainer, values: dict[str, Any], tensors: dict[str, Tensor], model: bytes
) -> None:
    """Goes on from a checkpoint whose model and optimizer are already loaded.

    Raises:
        KeyError: A tensor is missing or unknown; the checkpoint belongs to another configuration.
    """
    live = predictor.buffers()
    rest = {k: v for k, v in tensors.items() if k.startswith(("jump.", "jump_slopes", PREFIX))}
    if live.keys() != tensors.keys() - rest.keys():
        raise KeyError(", ".join(sorted(live.keys() ^ (tensors.keys() - rest.keys()))[:3]))
    with torch.no_grad():
        for name, tensor in live.items():
            tensor.copy_(tensors[name])
    state = values["state"]
    predictor.state = State(Phase(state["phase"]), state["since"], state["tried"])
    predictor.ledger, predictor.factors = Ledger(**values["ledger"]), Factors(**values["factors"])
    predictor.realised, predictor.stage = values["realised"], values["stage"]
    predictor.alarm_step, predictor.critical_in_a_row = values["alarm_step"], values["critical_in_a_row"]
    if predictor.path is not None:
        predictor.path.anchor_step = values["anchor_step"]
    predictor.watch.load(values["watch"], model)
    predictor.probe.load(trainer, values["probe"])
    predictor.correction = _load_correction(predictor, values["correction"], rest, trainer.placement.device)
    kept = {k: v for k, v in rest.items() if k.startswith(PREFIX)}
    predictor.snapshot = Snapshot()
    if kept:
        predictor.snapshot.load(kept, values["snapshot_step"])
    elif values["snapshot_step"] >= 0:
        predictor.snapshot.take(predictor.live(trainer), values["snapshot_step"])


def _load_correction(
    predictor: Predictor, saved: dict[str, Any] | None, tensors: dict[str, Tensor], device: torch.device
) -> Correction | None:
    if saved is None or predictor.path is None:
        return None
    jump = saved["jump"]
    jump["candidates"] = [tuple(row) for row in jump["candidates"]]
    delta = [tensors[f"jump.{name}"].to(device) for name in predictor.path.names]
    slopes = list(tensors["jump_slopes"].to(device).unbind()) if "jump_slopes" in tensors else []
    return Correction(jumps.Jump(delta=delta, **jump), saved["step"], saved["forecast"], slopes)


def _plain(jump: jumps.Jump) -> dict[str, Any]:
    return {name: getattr(jump, name) for name in jump.__slots__}
