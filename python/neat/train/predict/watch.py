"""What the dynamics model sees of training, and what it says.

Once every `dynamics.every_steps` steps it gets the mean loss and gradient norm since the last time, the learning rate
now and at its horizons, and inner products of the trajectory by kind of tensor. It never sees a weight: its size does
not depend on the network's. The divergence monitor sees every step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neat import _native
from neat.config.schema import Config
from neat.train.predict.correct import Residual

CALIBRATED = 30
"""Forecasts that must have come due before their sigma says what is a surprise."""

Basis = Sequence[Sequence[Tensor]]
"""Lists of tensors, one list a direction, all in the order of the kinds given."""


@dataclass(slots=True)
class Since:
    """Sums since the last observation."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)


class Watch:
    """Feeds the dynamics model and the divergence monitor of one run.

    Args:
        config: Of the run.
        kinds: Kind of each parameter that the trajectory holds, in its order.
        basis: Number of directions whose inner products are observed.
    """

    def __init__(self, config: Config, kinds: Sequence[str], basis: int) -> None:
        self.settings = config.dynamics
        self.kinds = list(dict.fromkeys(kinds))
        self._members = {kind: [i for i, k in enumerate(kinds) if k == kind] for kind in self.kinds}
        self._description = _describe(config, self.kinds, basis)
        self.model = _native.Dynamics(self._description) if self.settings.on else None
        self.monitor = _native.DivergenceMonitor()
        self.observations = 0
        self.since = Since()
        self.last_forecast: dict[str, Any] | None = None
        self.last_losses: dict[str, Any] = {}
        self.gap: float | None = None
        self.credit: float | None = None
        self.accepted: bool | None = None

    def note(self, step: int, loss: float, norm: float) -> list[tuple[str, str, str]]:
        """Takes the numbers of a step; returns what the monitor says: (signal, severity, message)."""
        finite = math.isfinite(loss) and math.isfinite(norm)
        if finite:
            self.since.losses.append(loss)
            self.since.norms.append(norm)
        surprise = self._surprise() if self.due(step) else None
        return list(self.monitor.observe(step=step, loss=loss, grad_norm=norm, forecast_error=surprise))

    def due(self, step: int) -> bool:
        """Whether the model observes after this step."""
        return self.model is not None and step % self.settings.every_steps == 0 and bool(self.since.losses)

    def wants_gram(self) -> bool:
        """Whether the next observation takes inner products."""
        return self.observations % self.settings.gram_every == 0

    def observe(
        self, step: int, lr: float, ahead: Sequence[float], gram: Tensor | None, slopes: Mapping[str, Tensor] | None
    ) -> None:
        """One observation, from which the model also learns.

        Args:
            step: Finished steps.
            lr: Learning rate as a share of its peak.
            ahead: The same at each horizon.
            gram: Inner products of the directions, [kinds, basis, basis], or None where they were not taken.
            slopes: Cosine of the prediction and the descent direction by kind, or None.
        """
        assert self.model is not None
        losses, norms = self.since.losses, self.since.norms
        self.last_losses = self.model.observe(
            step=step,
            loss=sum(losses) / len(losses),
            grad_norm=sum(norms) / len(norms),
            lr=lr,
            lr_ahead=list(ahead),
            gram=None if gram is None else np.ascontiguousarray(gram.double().cpu().numpy()),
            slopes=None if slopes is None else [float(slopes[kind]) for kind in self.kinds],
            gap=self.gap,
            credit=self.credit,
            accepted=self.accepted,
        )
        self.gap = self.credit = self.accepted = None
        self.observations += 1
        self.since = Since()
        self.last_forecast = self.model.forecast()

    @torch.no_grad()
    def gram(self, basis: Basis) -> Tensor:
        """Inner products of the directions within each kind, float32 [kinds, basis, basis], on the device."""
        size = len(basis)
        rows = []
        for members in self._members.values():
            products = {
                (i, j): torch.stack(
                    [torch.dot(basis[i][m].flatten().float(), basis[j][m].flatten().float()) for m in members]
                ).sum()
                for i in range(size)
                for j in range(i, size)
            }
            rows.append(torch.stack([products[min(i, j), max(i, j)] for i in range(size) for j in range(size)]))
        return torch.stack(rows).reshape(len(self.kinds), size, size)

    def gains(self) -> dict[str, float]:
        """The model's factor on the gain of each kind; 1 before it knows anything."""
        forecast = self.last_forecast
        if forecast is None or forecast["gain"] is None:
            return dict.fromkeys(self.kinds, 1.0)
        return dict(zip(self.kinds, forecast["gain"], strict=True))

    def confidence(self, step: int, steps_ahead: int) -> float | None:
        """Probability, by the forecast, that the loss falls over `steps_ahead` steps; None before there is a forecast.

        The fall is that of the log-linear fit from now to the horizon, changed by how the model's corrections differ
        between its nearest horizon and this one; sigma is the calibrated one of the horizon.
        """
        forecast = self.last_forecast
        if forecast is None or forecast["mean"] is None:
            return None
        horizons, fit, mean = forecast["horizons"], forecast["fit"], forecast["mean"]
        at = min(range(len(horizons)), key=lambda i: abs(horizons[i] - steps_ahead))
        fall = fitted(forecast, step, 0) - fit[at] + (mean[0] - fit[0]) - (mean[at] - fit[at])
        return 0.5 * (1 + math.erf(fall / (forecast["sigma"][at] * math.sqrt(2))))

    def measured(self, step: int, loss: float) -> None:
        """Takes a loss of the averaged weights on the held-back batches."""
        if self.model is not None:
            self.model.observe_averaged(step, loss)

    def expected(self, step: int) -> dict[str, float] | None:
        """`mean`, `sigma` and `corrected` forecast of that loss at a later step, had there been no jump."""
        return self.model.forecast_averaged(step) if self.model is not None else None

    def residual(self, rest: Residual, horizon: int, forecast_residual: float, credit: float) -> None:
        """Stores what a jump left behind, and its credit for the next observation."""
        self.credit = credit
        if self.model is not None:
            self.model.record_residual(
                horizon=horizon,
                residual_norms=rest.norms,
                cosines=rest.cosines,
                forecast_residual=forecast_residual,
                credit=credit,
            )

    def nats_per_step(self, step: int) -> float:
        """How much the fitted loss falls in one step; 0 before there is a fit."""
        forecast = self.last_forecast
        if forecast is None or forecast["fit"] is None:
            return 0.0
        return fitted(forecast, step, 0) - fitted(forecast, step, 1)

    def event(self) -> dict[str, object]:
        """The data of a `dynamics` event."""
        assert self.model is not None
        found: dict[str, object] = {"kinds": self.kinds, **self.last_losses}
        if (forecast := self.last_forecast) is not None:
            found |= {"horizons": forecast["horizons"], "gain": forecast["gain"]}
            for name in ("mean", "sigma", "epistemic", "fit", "corrected"):
                found[f"forecast/{name}"] = forecast[name]
            found |= {"credit/mean": forecast["credit_mean"], "credit/probability": forecast["credit_probability"]}
        known = self.model.calibration()
        for name in ("mae", "mae_fit", "mae_corrected"):
            found[f"error/{name}"] = known[name]
        return found | {"coverage": known["coverage"], "interval": known["interval"], "count": known["count"]}

    def state(self) -> dict[str, Any]:
        """Plain values of a checkpoint; the model's own bytes are `model_state`."""
        return {
            "observations": self.observations,
            "losses": self.since.losses,
            "norms": self.since.norms,
            "gap": self.gap,
            "credit": self.credit,
            "accepted": self.accepted,
            "monitor": self.monitor.to_bytes().hex(),
        }

    def model_state(self) -> bytes:
        """State of the dynamics model; empty where there is none."""
        return self.model.to_bytes() if self.model is not None else b""

    def load(self, saved: dict[str, Any], model: bytes) -> None:
        """Goes on from a checkpoint.

        Raises:
            NeatError: The bytes belong to another version or other settings of the dynamics model.
        """
        if self.model is not None:
            self.model = _native.Dynamics.from_bytes(self._description, model)
            self.last_forecast = self.model.forecast() if saved["observations"] else None
        self.monitor = _native.DivergenceMonitor.from_bytes("{}", bytes.fromhex(saved["monitor"]))
        self.observations = saved["observations"]
        self.since = Since(list(saved["losses"]), list(saved["norms"]))
        self.gap, self.credit, self.accepted = saved["gap"], saved["credit"], saved["accepted"]

    def _surprise(self) -> float | None:
        """Distance of the mean loss since the last observation from its forecast, in sigmas."""
        forecast = self.last_forecast
        if forecast is None or forecast["mean"] is None:
            return None
        assert self.model is not None
        if self.model.calibration()["count"][0] < CALIBRATED:
            return None
        losses = self.since.losses
        return float((sum(losses) / len(losses) - forecast["mean"][0]) / forecast["sigma"][0])


def fitted(forecast: Mapping[str, Any], step: int, ahead: int) -> float:
    """The log-linear fit of a forecast made after `step` steps, `ahead` steps later: exp(a + b ln t).

    The model hands out its values at the horizons, of which the first and the last give a and b.
    """
    horizons, fit = forecast["horizons"], forecast["fit"]
    if len(horizons) == 1 or fit[0] <= 0 or fit[-1] <= 0:
        return float(fit[0])
    near, far = math.log(step + horizons[0]), math.log(step + horizons[-1])
    slope = (math.log(fit[-1]) - math.log(fit[0])) / (far - near)
    return math.exp(math.log(fit[0]) + slope * (math.log(max(1, step + ahead)) - near))


def _describe(config: Config, kinds: list[str], basis: int) -> str:
    own = config.dynamics
    return json.dumps(
        {
            "seed": config.seed,
            "kinds": kinds,
            "basis": basis,
            "horizons": list(own.horizons),
            "candidates": list(config.predict.shares),
            "hidden": own.hidden,
            "latent": own.latent,
            "members": own.members,
            "learning_rate": own.learning_rate,
            "free_bits": own.free_bits,
            "bptt": own.bptt,
            "interval": own.interval,
            "store": own.store,
            "blend": own.blend,
        }
    )
