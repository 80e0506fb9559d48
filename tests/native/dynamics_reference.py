"""The dynamics model's network in torch, written from its equations, to hold the Rust one against."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

MIN_SIGMA, MAX_LOG_SIGMA = 0.1, 3.0
GAIN_PENALTY, KL_WEIGHT, REBUILD_WEIGHT = 0.5, 0.1, 0.5


class Reference:
    """Parameters by name, weights [inputs, outputs], in float64."""

    def __init__(
        self,
        parameters: dict[str, np.ndarray[Any, Any]],
        *,
        hidden: int,
        latent: int,
        members: int,
        horizons: int,
        grad: bool = False,
    ) -> None:
        self.parameters = {name: torch.from_numpy(value).requires_grad_(grad) for name, value in parameters.items()}
        self.hidden, self.latent, self.members, self.horizons = hidden, latent, members, horizons
        self.cell = torch.nn.GRUCell(hidden + latent, hidden, dtype=torch.float64)

    def linear(self, name: str, *parts: Tensor) -> Tensor:
        return torch.cat(parts) @ self.parameters[f"{name}.weight"] + self.parameters[f"{name}.bias"]

    def gru(self, x: Tensor, h: Tensor) -> Tensor:
        """torch's own cell with these weights."""
        weights = {
            "weight_ih": self.parameters["gru.input.weight"].T,
            "bias_ih": self.parameters["gru.input.bias"],
            "weight_hh": self.parameters["gru.state.weight"].T,
            "bias_hh": self.parameters["gru.state.bias"],
        }
        result: Tensor = torch.func.functional_call(self.cell, weights, (x[None], h[None]))
        return result[0]

    def step(self, state: Tensor, features: Tensor, noise: Tensor) -> dict[str, Tensor]:
        code = torch.tanh(self.linear("encoder", features))
        normal = torch.distributions.Normal
        mean, raw = self.linear("prior", state).split(self.latent)
        prior = normal(mean, softplus(raw) + MIN_SIGMA)
        mean, raw = self.linear("posterior", state, code).split(self.latent)
        posterior = normal(mean, softplus(raw) + MIN_SIGMA)
        latent = posterior.mean + posterior.stddev * noise
        following = self.gru(torch.cat([code, latent]), state)
        gain = self.linear("gain", following, latent)
        credit = self.linear("credit", following, latent).view(3, -1).T
        credit = torch.stack([credit[:, 0], bounded(credit[:, 1]), credit[:, 2]], 1)
        return {
            "next": following,
            "latent": latent,
            "rebuilt": self.linear("observation", state, latent),
            "kl": torch.distributions.kl_divergence(posterior, prior).sum(),
            "loss": torch.stack([self.member(index, following, latent) for index in range(self.members)]),
            "gain": gain,
            "credit": credit,
        }

    def member(self, index: int, following: Tensor, latent: Tensor) -> Tensor:
        units = torch.tanh(self.linear(f"loss.{index}.hidden", following, latent))
        mean, raw = self.linear(f"loss.{index}.out", units).split(self.horizons)
        return torch.cat([mean, bounded(raw)])

    def objective(self, problem: dict[str, Any]) -> dict[str, Tensor]:
        """Mean objectives of a sequence; free bits are taken for zero."""
        state = torch.from_numpy(problem["state"])
        rows = {name: torch.from_numpy(problem[name]) for name in ("features", "targets", "weights", "slopes", "noise")}
        steps = []
        for features, noise in zip(rows["features"], rows["noise"], strict=True):
            steps.append(self.step(state, features, noise))
            state = steps[-1]["next"]
        stacked = {name: torch.stack([step[name] for step in steps]) for name in steps[0]}
        mean, log_sigma = stacked["loss"].split(self.horizons, -1)
        due = ~rows["targets"].isnan()
        errors = (rows["targets"].nan_to_num()[:, None] - mean) * torch.exp(-log_sigma)
        terms = rows["weights"][:, :, None] * (0.5 * errors**2 + log_sigma)
        nll = terms[due[:, None].expand_as(terms)].mean()
        known = ~rows["slopes"].isnan()
        gain = (0.5 * GAIN_PENALTY * stacked["gain"] ** 2 - rows["slopes"].nan_to_num() * stacked["gain"])[known].mean()
        labels = [self.credit(stacked["credit"][t, c], *label) for t, c, *label in problem["credits"]]
        credit = torch.stack(labels).mean() if labels else torch.zeros((), dtype=torch.float64)
        rebuilt = ((stacked["rebuilt"] - rows["features"]) ** 2).mean()
        kl = stacked["kl"].mean()
        total = nll + gain + credit + REBUILD_WEIGHT * rebuilt + KL_WEIGHT * kl
        return {"total": total, "nll": nll, "kl": kl}

    @staticmethod
    def credit(out: Tensor, value: float, positive: bool, log_odds: float) -> Tensor:
        error = (value - out[0]) * torch.exp(-out[1])
        target = torch.tensor(float(positive), dtype=torch.float64)
        sign = torch.nn.functional.binary_cross_entropy_with_logits(out[2] + log_odds, target)
        return 0.5 * error**2 + out[1] + sign


def bounded(raw: Tensor) -> Tensor:
    return MAX_LOG_SIGMA * torch.tanh(raw / MAX_LOG_SIGMA)
