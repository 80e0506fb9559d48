"""Halting: a position stops as soon as the prediction made from it is likely right.

B rows, N byte positions, P latent positions, D width, R recursion depth, H hidden units. After each application a head
with one hidden layer gives the logit q of being right, output weights zero and bias -5 at first, as arXiv 2510.04871
starts its linear one. A linear head does not do beside states that are detached: most of a state is common to all
positions, the way along that common part is the shortest to the share of right predictions, and what it leaves in the
weights ranks positions backwards for long. The head is trained by the cross-entropy between sigmoid(q) and what came
true, byte by byte: every scored byte that reads a patch is one outcome for it, so sigmoid(q) is the share of its bytes
that the patch gets right (without patches a byte has one outcome, its own). The head sees the state detached: its
losses train the head and nothing else, and the decision to stop has no gradient. Image codes are no outcomes: a patch
that one follows stops by what the head learned from bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.config.schema import Config, Recursion
from neat.model.batch import IGNORED_TARGET, Batch
from neat.model.layers import rms_norm
from neat.model.outputs import Outputs

HIDDEN = 64
"""Units of the hidden layer; 16 learn as late as a linear head."""
NEVER_SURE = 1e-4
"""Running means are held this far from 0 and 1 before their logits are taken."""
ALIKE = 100
"""Logged steps in a row with one depth for all positions after which halting is not adapting to anything."""


class Verdict(NamedTuple):
    """What the head said of the predictions after one application, and what came true.

    Attributes:
        logit: q of the latent position that each byte reads, [B, N].
        right: Whether the most likely byte was the next one, [B, N].
        counted: Scored bytes whose latent position got this application, [B, N].
    """

    logit: Tensor
    right: Tensor
    counted: Tensor


def verdicts(outputs: Outputs, batch: Batch, *, patches: bool) -> Iterator[Verdict]:
    """One verdict per application, the first application first."""
    assert outputs.depth is not None
    predictions = (*outputs.earlier, outputs.logits)
    scored = batch.targets != IGNORED_TARGET
    depth = _at_bytes(outputs.depth, batch, patches=patches)
    for application, (logits, said) in enumerate(zip(predictions, outputs.halting, strict=True)):
        right = logits.detach().argmax(-1) == batch.targets
        yield Verdict(_at_bytes(said, batch, patches=patches), right, scored & (depth > application))


def _at_bytes(x: Tensor, batch: Batch, *, patches: bool) -> Tensor:
    return x.gather(1, batch.read) if patches else x


class Halting(nn.Module):
    """Logits of being right, and when they suffice.

    A head that is trained beside a network that changes is late, and it is sure too early or too rarely. Running means
    of what it said and of what came true, one pair per application, correct its logits by the difference of theirs.

    Attributes:
        means: What was said and what came true, float32 [2, R]; saved with the weights. None when not calibrated.
    """

    means: Tensor | None

    def __init__(self, config: Config) -> None:
        super().__init__()
        recursion = config.recursion
        self.recursion, self.patches = recursion, config.network.patches
        self.hidden = nn.Linear(config.network.width, HIDDEN, bias=False)
        self.weight = nn.Parameter(torch.empty(HIDDEN))
        self.bias = nn.Parameter(torch.empty(1))
        calibrated = recursion.calibration_decay > 0
        self.register_buffer("means", torch.full((2, recursion.depth), 0.5) if calibrated else None)
        self._sums: Tensor | None = None
        self._last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Logit of being right, before correction, [B, P, D] -> [B, P]."""
        with torch.autocast(x.device.type, enabled=False):
            seen = rms_norm(x.detach().to(self.weight.dtype))
            logit: Tensor = F.silu(self.hidden(seen)) @ self.weight + self.bias
        return logit

    def shift(self, application: int) -> Tensor | float:
        """What calibration adds to the logits after an application, counted from 0."""
        if self.means is None:
            return 0.0
        logits = torch.logit(self.means[:, application], NEVER_SURE)
        return logits[1] - logits[0]

    def stops(self, logit: Tensor, application: int) -> Tensor:
        """Whether a position with this logit [B, P] after an application, counted from 0, needs no further one."""
        if application + 1 < self.recursion.min_depth:
            return torch.zeros_like(logit, dtype=torch.bool)
        sure = torch.sigmoid(logit.detach() + self.shift(application))
        return sure > self.recursion.halt_threshold

    @torch.no_grad()
    def observe(self, outputs: Outputs, batch: Batch) -> None:
        """Takes note of what was said of a micro-batch and of what came true, for `calibrate` and `metrics`."""
        if outputs.depth is None:
            return
        sums = torch.stack([self._summed(*one) for one in enumerate(verdicts(outputs, batch, patches=self.patches))], 1)
        self._sums = sums if self._sums is None else self._sums + sums

    def _summed(self, application: int, verdict: Verdict) -> Tensor:
        """Over the counted bytes: their number, what was said, its square, the same corrected, what came true."""
        said = torch.sigmoid(verdict.logit)
        corrected = torch.sigmoid(verdict.logit + self.shift(application))
        columns = (torch.ones_like(said), said, said.square(), corrected, verdict.right.to(said.dtype))
        return torch.stack([(column * verdict.counted).sum() for column in columns])

    @torch.no_grad()
    def calibrate(self, *, accept: bool = True) -> None:
        """Moves the running means by one step, from all that was observed since the last one.

        Args:
            accept: false forgets the observations: the step was skipped because its numbers were not finite.
        """
        if self._sums is not None and accept:
            self._last = self._sums
            if self.means is not None:
                count, said, _, _, right = self._sums
                seen = torch.stack((said, right)) / count.clamp(min=1)
                share = (1 - self.recursion.calibration_decay) * (count > 0).to(seen.dtype)
                self.means.lerp_(seen.to(self.means.dtype), share.to(self.means.dtype).expand_as(self.means))
        self._sums = None

    def metrics(self) -> dict[str, float]:
        """Figures of the last step, over its scored bytes; empty before the first. Waits for the device."""
        if self._last is None:
            return {}
        count, said, squares, corrected, right = self._last.double().cpu()
        if not count[0]:
            return {}
        stopped = torch.cat((count[:-1] - count[1:], count[-1:])) / count[0]
        some = count.clamp(min=1)
        weight = count / count.sum()
        figures = {
            "halting/depth": count.sum() / count[0],
            "halting/entropy": torch.special.entr(stopped).sum(),
            "halting/variance": (weight * (squares / some - (said / some).square())).sum(),
            "halting/calibration_error": (weight * (corrected - right).abs() / some).sum(),
            "halting/right": (weight * right / some).sum(),
        } | {f"halting/depth_{depth}": share for depth, share in enumerate(stopped, start=1)}
        return {name: float(figure) for name, figure in figures.items()}


class SameDepth:
    """Notices halting that has stopped to adapt: every position at one depth, `ALIKE` logged steps in a row."""

    def __init__(self) -> None:
        self._row = 0

    def note(self, metrics: Mapping[str, object]) -> bool:
        """Takes in the metrics of a reported step; true at the step that completes the row."""
        shares = [share for name, share in metrics.items() if name.startswith("halting/depth_")]
        self._row = self._row + 1 if 1.0 in shares else 0
        return self._row == ALIKE


def halting_losses(outputs: Outputs, batch: Batch, halting: Recursion, *, patches: bool) -> dict[str, Tensor]:
    """The losses of the head by name, each summed over scored bytes; those of weight zero are left out.

    `halting` is the cross-entropy in nats, averaged over the applications of a byte. `ponder` is the expected number of
    applications after the first. `diversity` is what the variance of sigmoid(q) over the bytes of the micro-batch lacks
    to `recursion.diversity_target`, averaged over applications.
    """
    found = list(verdicts(outputs, batch, patches=patches))
    applications = sum(verdict.counted.to(torch.float32) for verdict in found)
    share = 1 / torch.as_tensor(applications).clamp(min=1)
    zero = outputs.logits.new_zeros(())
    losses = {"halting": sum((_cross_entropy(verdict, share) for verdict in found), zero)}
    if halting.ponder_weight:
        losses["ponder"] = _expected_depth(found, halting)
    if halting.diversity_weight:
        lacking = sum((_lacking_variance(verdict, halting.diversity_target) for verdict in found), zero)
        losses["diversity"] = lacking / len(found)
    return losses


def _cross_entropy(verdict: Verdict, share: Tensor) -> Tensor:
    nats = F.binary_cross_entropy_with_logits(verdict.logit, verdict.right.to(verdict.logit.dtype), reduction="none")
    return (nats * verdict.counted * share).sum()


def _expected_depth(found: list[Verdict], halting: Recursion) -> Tensor:
    """Applications after the first if each byte stopped with the probability that its verdicts give."""
    going_on = torch.ones_like(found[0].logit)
    total = going_on.new_zeros(())
    for application, verdict in enumerate(found[:-1], start=1):
        if application >= halting.min_depth:
            going_on = going_on * torch.sigmoid(-verdict.logit)
        total = total + (going_on * verdict.counted).sum()
    return total


def _lacking_variance(verdict: Verdict, target: float) -> Tensor:
    said, counted = torch.sigmoid(verdict.logit), verdict.counted.to(verdict.logit.dtype)
    count = counted.sum()
    mean = (said * counted).sum() / count.clamp(min=1)
    variance = ((said - mean).square() * counted).sum() / count.clamp(min=1)
    return count * (target - variance).clamp(min=0)
