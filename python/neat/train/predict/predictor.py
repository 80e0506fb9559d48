"""Hybrid prediction in a training run: what happens before, inside and between its real steps.

A step: `begin_step` adds the predicted delta (micro), the gradient is taken there, `on_gradients` reads it, `end_step`
takes the displacement into the averages. Between two steps `advance` lets the dynamics model observe, moves through
the phases, tries jumps (PREDICT, no backward pass) and closes corrections. Steps, bytes, learning-rate schedule and
checkpoints count real steps only, and a jump leaves the optimizer's state as it is.

Every decision depends on counted values, never on a clock: a run that was killed decides as one that was not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neat.config.schema import Config
from neat.optim import schedule
from neat.optim.build import Optimizers
from neat.optim.groups import kind_of
from neat.optim.lookahead import Lookahead
from neat.train.phases import Lengths, Move, Observation, Phase, State, decide
from neat.train.predict import jump as jumps
from neat.train.predict import saved
from neat.train.predict.correct import Correction, residual
from neat.train.predict.factors import Factors, Told
from neat.train.predict.ledger import Ledger
from neat.train.predict.probe import Probe, paired
from neat.train.predict.recovery import recover, weights
from neat.train.predict.snapshot import Snapshot, digest
from neat.train.predict.trajectory import Trajectory, norm
from neat.train.predict.veto import Situation, vetoes
from neat.train.predict.watch import Watch

if TYPE_CHECKING:
    from neat.train.state import Trainer

ROLLBACK_SIGMAS = 3.0
"""Standard errors above its forecast at which the loss after CORRECT undoes the jump."""
MIN_WINDOW = 50
WINDOW_SHARE = 0.15
"""A window of `predict.window = 0` grows with the run: displacements stay predictable for longer later on."""
NEVER = 10**18
"""Steps that no FULL phase lasts: without jumps PREDICT is not tried."""
PERSISTENT = 3
"""Steps in a row with a critical loss or gradient that make a divergence; one batch is no divergence."""
POISONED = 2
"""Updates with numbers that are not finite, in a row, after which the weights themselves are suspected."""


class Predictor:
    """Prediction of one run. Made by `make_predictor` where the configuration asks for any.

    Args:
        config: Of the run.
        optimizers: Say which parameters are dense and trained.
    """

    def __init__(self, config: Config, optimizers: Optimizers) -> None:
        self.settings, self.config = config.predict, config
        parameters = list(optimizers.dense())
        self._parameters = [parameter for _, parameter in parameters]
        self._kinds = [kind_of(name) for name, _ in parameters]
        dtype = torch.bfloat16 if self.settings.buffer_dtype == "bfloat16" else torch.float32
        self.lookahead = Lookahead(parameters, self._kinds, self.settings.decay, dtype) if self.settings.micro else None
        mode = self.settings.jumps
        self.path = Trajectory(parameters, smoothed=mode == "macro") if mode != "off" else None
        self.watch = Watch(config, self._kinds, 1 + (self.lookahead is not None) + (self.path is not None))
        self.probe = Probe(self.settings.probe_batches)
        self.snapshot = Snapshot()
        self.ledger = Ledger()
        self.factors = Factors()
        self.state = State()
        self.correction: Correction | None = None
        self.realised = 1.0
        self.alarm_step = -1
        self.critical_in_a_row = 0
        self.stage = 0
        self.told = Told()
        self.delta_norm: Tensor | None = None
        self._slopes: dict[str, Tensor] | None = None
        self._alarm: tuple[str, str, str] | None = None

    @property
    def phase(self) -> Phase:
        """Where the cycle stands."""
        return self.state.phase

    # What happens inside a step

    def begin_step(self, step: int, scale: float) -> None:
        """Adds the predicted delta: `gain * scale * g_kind * d`, with `scale` the learning rate as a share of its
        peak.
        """
        if self.lookahead is None:
            return
        on = self.phase is Phase.FULL
        factors = self.watch.gains() if self.settings.learn_gain else dict.fromkeys(self._kinds, 1.0)
        scales = {kind: self.settings.gain * scale * factor if on else 0.0 for kind, factor in factors.items()}
        if self._observes_after(step):
            lengths = self.lookahead.norms()
            self.delta_norm = torch.linalg.vector_norm(torch.stack([scales[k] * v for k, v in lengths.items()]))
        self.lookahead.predict(scales)

    def on_gradients(self, step: int) -> None:
        """Reads the gradients of the moment: slopes along the prediction and along a jump."""
        if self.lookahead is not None and self._observes_after(step):
            self._slopes = self.lookahead.slopes()
        if self.correction is not None:
            self.correction.take_slope([parameter.grad for parameter in self._parameters])

    def before_update(self) -> None:
        """The optimizer is about to change the weights."""
        if self.lookahead is not None:
            self.lookahead.before_update()

    def end_step(self, trainer: Trainer, loss: float, norm: float) -> None:
        """The step is finished: averages take it in, the divergence monitor sees its numbers."""
        if self.lookahead is not None:
            self.lookahead.observe()
        if self.path is not None:
            self.path.update(trainer.step, self.window(trainer.step))
        if trainer.horizon.stage != self.stage:
            # Rows of another length: what was a usual loss no longer is one.
            self.stage = trainer.horizon.stage
            self.watch.monitor.reset()
        signals = self.watch.note(trainer.step, loss, norm)
        if any(severity != "info" for _, severity, _ in signals):
            self.alarm_step = trainer.step
        self._alarm = self._divergence(signals, trainer.guard.in_a_row)

    def _divergence(self, signals: list[tuple[str, str, str]], broken_in_a_row: int) -> tuple[str, str, str] | None:
        """The signal that asks for a rollback, None while a single batch may explain what was seen.

        A surprising forecast alone is a warning about the forecast.
        """
        critical = [s for s in signals if s[1] == "critical"]
        broken = [s for s in critical if s[0] == "nonfinite"]
        if broken:
            return broken[0] if broken_in_a_row >= (1 if self.correction is not None else POISONED) else None
        diverging = [s for s in critical if s[0] != "forecast"]
        self.critical_in_a_row = self.critical_in_a_row + 1 if diverging else 0
        return diverging[0] if self.critical_in_a_row >= PERSISTENT else None

    # What happens between two steps

    def advance(self, trainer: Trainer) -> None:
        """Observation, phases, jumps, corrections; called after every real step."""
        self.observe(trainer)
        recovery = recover(self, trainer, *self._alarm) if self._alarm is not None else ""
        self._alarm = None
        if (
            not recovery
            and self.correction is not None
            and trainer.step - self.state.since >= self.settings.correct_steps
        ):
            recovery = self._close_correction(trainer)
        if self.path is not None and self.phase is Phase.FULL:
            self._renew_anchor(trainer.step, self.path)
        move = decide(self.state, self._seen(trainer, recovery), self._lengths(trainer))
        if move is None:
            return
        self._enter(trainer, move)
        if self.phase is Phase.PREDICT:
            outcome = self._predict(trainer)
            after = decide(self.state, Observation(trainer.step, outcome=outcome), self._lengths(trainer))
            assert after is not None
            self._enter(trainer, after)

    def _renew_anchor(self, step: int, path: Trajectory) -> None:
        """Keeps the displacement that a jump would take at most two windows old, however long jumps are vetoed."""
        if step - path.anchor_step >= 2 * self.window(step):
            path.mark(step)

    def window(self, step: int) -> int:
        """Steps over which a displacement is taken."""
        if self.settings.window:
            return self.settings.window
        if self.settings.jumps == "literal":
            return self.settings.full_steps
        return max(MIN_WINDOW, round(WINDOW_SHARE * step))

    def keep_healthy(self, trainer: Trainer) -> None:
        """Takes the moment as the one that a rollback returns to, unless a jump is being corrected or numbers are
        bad.
        """
        if self.settings.max_rollbacks and self.correction is None and not trainer.guard.in_a_row:
            self.snapshot.take(self.live(trainer), trainer.step)

    def metrics(self) -> dict[str, object]:
        """Metrics of a `step` event."""
        found: dict[str, object] = {"train/phase": self.phase.value}
        if self.delta_norm is not None:
            found["predict/delta_norm"] = float(self.delta_norm)
        return found

    def _observes_after(self, step: int) -> bool:
        return self.watch.model is not None and (step + 1) % self.watch.settings.every_steps == 0

    def observe(self, trainer: Trainer) -> None:
        """Hands the dynamics model its observation, where one is due, and tells of it every so often."""
        if not self.watch.due(trainer.step):
            return
        gram = self.watch.gram(self._basis()) if self.watch.wants_gram() else None
        now, *ahead = (self._lr(trainer, trainer.step + h) for h in (-1, *self.watch.settings.horizons))
        self.watch.observe(trainer.step, now, ahead, gram, self._slopes)
        self._slopes = None
        if self.watch.observations % self.watch.settings.event_every == 0:
            self.told.add("dynamics", **self.watch.event())

    def _lr(self, trainer: Trainer, step: int) -> float:
        """Learning rate of the update that follows `step` finished ones, as a share of its peak."""
        total = trainer.horizon.total
        return self.factors.lr * schedule.lr_scale(trainer.config.optim, min(step, total - 1), total)

    def _basis(self) -> list[list[Tensor]]:
        found = []
        if self.lookahead is not None:
            found.append([d for *_, d in self.lookahead.buffers()])
        if self.path is not None:
            found.append(self.path.displacement())
        return [*found, [parameter.detach() for parameter in self._parameters]]

    def _lengths(self, trainer: Trainer) -> Lengths:
        rise = round(trainer.config.optim.warmup_share * trainer.horizon.total)
        warmup = max(self.settings.warmup_steps, rise)
        full = self.settings.full_steps if self.path is not None else NEVER
        return Lengths(warmup, full, self.settings.correct_steps)

    def _seen(self, trainer: Trainer, recovery: str) -> Observation:
        wanted = self.phase is Phase.FULL and self.path is not None and not recovery
        return Observation(trainer.step, vetoes(self._situation(trainer)) if wanted else (), recovery=recovery)

    def _situation(self, trainer: Trainer) -> Situation:
        assert self.path is not None
        step, window = trainer.step, self.window(trainer.step)
        confidence = self.watch.confidence(step, self.settings.predict_steps)
        per_call = self.probe.cost(trainer)
        return Situation(
            off=self.ledger.off,
            lr=self._lr(trainer, step) / self.factors.lr,
            covered=step - self.path.anchor_step,
            window=window,
            since_alarm=step - self.alarm_step if self.alarm_step >= 0 else None,
            left=trainer.horizon.total - step,
            correct=self.settings.correct_steps,
            watched=self.watch.model is not None,
            confidence=confidence,
            min_confidence=self.settings.min_confidence,
            max_steps=self._max_steps(confidence),
            spent=self.ledger.spent_steps,
            # The search tries at least one share beside the point itself, and CORRECT measures once more.
            expected=per_call * (len(self.settings.shares) + 2),
            allowed=self.settings.cost_cap * step if self.settings.jumps == "macro" else float("inf"),
        )

    def _max_steps(self, confidence: float | None) -> float:
        return self.settings.predict_steps * self.factors.horizon * (confidence or 0.0) ** 2

    def _enter(self, trainer: Trainer, move: Move) -> None:
        self.state = move.state
        self.told.add(
            "phase",
            **{"from": move.origin.value, "to": move.target.value},
            accepted=move.accepted,
            reason=move.reason,
            length=move.length,
        )
        if move.origin is Phase.WARMUP and move.accepted:
            if self.path is not None:
                self.path.restart(trainer.step)
                self.probe.prepare(trainer)
            self.keep_healthy(trainer)

    def _predict(self, trainer: Trainer) -> tuple[bool, str]:
        """Tries one jump; returns whether it was accepted, and why."""
        assert self.path is not None
        self.probe.prepare(trainer)
        self.keep_healthy(trainer)
        confidence = self.watch.confidence(trainer.step, self.settings.predict_steps)
        longest = self._max_steps(confidence)
        before = digest(weights(trainer))
        tried = self.try_jump(trainer, longest)
        after = digest(weights(trainer))
        self.ledger.spend(tried.spent * self.probe.cost(trainer), self.watch.nats_per_step(trainer.step))
        self.watch.measured(trainer.step, sum(tried.before) / len(tried.before))
        self.watch.gap = trainer.guard.loss - sum(tried.before) / len(tried.before)
        self.watch.accepted = tried.accepted
        for index, (share, gain, _) in enumerate(tried.candidates):
            if self.watch.model is not None and share in self.settings.shares:
                self.watch.model.record_credit(index, gain)
        self._tell_jump(tried, confidence, before, after, trainer)
        self.path.mark(trainer.step)
        if not tried.accepted:
            self.ledger.refused += 1
            return False, tried.reason
        self.ledger.accepted += 1
        forecast = self.watch.expected(trainer.step + self.settings.correct_steps)
        self.correction = Correction(tried, trainer.step, forecast)
        return True, tried.reason

    def try_jump(self, trainer: Trainer, longest: float) -> jumps.Jump:
        """One jump of at most `longest` predicted steps, as the mode makes it."""
        assert self.path is not None
        if self.settings.jumps == "macro":
            return jumps.macro(trainer, self.path, self.probe, self.settings.shares, longest)
        forecast = self.watch.last_forecast
        assert forecast is not None
        limit = forecast["mean"][-1] + jumps.LITERAL_SIGMAS * forecast["sigma"][-1]
        return jumps.literal(
            trainer, self.path, self.probe,
            max_steps=longest, damping=self.settings.damping, scale=self.realised, limit=limit,
        )  # fmt: skip

    def _tell_jump(
        self, tried: jumps.Jump, confidence: float | None, before: str, after: str, trainer: Trainer
    ) -> None:
        forecast = self.watch.last_forecast or {}
        expected = forecast.get("credit_mean")
        self.told.add(
            "jump",
            mode=self.settings.jumps,
            accepted=tried.accepted,
            reason=tried.reason,
            horizon=tried.horizon,
            share=tried.share,
            delta_norm=jumps.size(tried),
            keys=len(tried.delta) if tried.accepted else 0,
            candidates=[list(row) for row in tried.candidates],
            **{
                "forecast/loss": forecast["mean"][-1] if forecast.get("mean") else None,
                "forecast/sigma": forecast["sigma"][-1] if forecast.get("mean") else None,
                "phase/confidence": confidence,
                "credit/expected": expected,
                "credit/spent_steps": self.ledger.spent_steps,
                "credit/cap_steps": self.settings.cost_cap * trainer.step,
                "weights/before": before,
                "weights/after": after,
            },
        )

    def _close_correction(self, trainer: Trainer) -> str:
        """Ends CORRECT: residual, pull-back, credit. Returns why the jump was rolled back, or nothing."""
        assert self.path is not None and self.correction is not None
        correction, self.correction = self.correction, None
        steps = trainer.step - correction.step
        members = {kind: [i for i, k in enumerate(self._kinds) if k == kind] for kind in self.watch.kinds}
        rest = residual(correction, self.path, steps, members)
        back, slope, statistic = correction.share_to_take_back()
        back = back if self.settings.pull_back else 0.0
        if back:
            self.path.move(correction.jump.delta, -back)
        self.path.mark(trainer.step)
        measured = self._point_losses(trainer)
        self.ledger.spend(self.probe.cost(trainer), self.watch.nats_per_step(trainer.step))
        loss, forecast = sum(measured) / len(measured), correction.forecast
        credit = None if forecast is None else forecast["corrected"] - loss
        if forecast is not None and credit is not None:
            self.ledger.credit(credit)
            self.watch.residual(rest, correction.jump.horizon, loss - forecast["mean"], credit)
        self.watch.measured(trainer.step, loss)
        self.realised = min(1.0, max(0.1, 0.5 * (self.realised + rest.cosine)))
        self.told.add("correct", **self._correct_event(steps, rest, back, correction, credit, slope, statistic, loss))
        _, error = paired(measured, correction.jump.before)
        if forecast is not None and credit is not None and credit < -ROLLBACK_SIGMAS * max(error, forecast["sigma"]):
            reason = f"loss {loss:.4f} of the averaged weights after CORRECT, {forecast['corrected']:.4f} was forecast"
            self.ledger.rolled_back += 1
            return recover(self, trainer, "forecast", "critical", reason)
        return ""

    def _correct_event(
        self, steps: int, rest: Any, back: float, correction: Correction, credit: float | None, slope: float,
        statistic: float, loss: float,
    ) -> dict[str, object]:  # fmt: skip
        forecast = correction.forecast
        return {
            "steps": steps,
            "loss": loss,
            "forecast/loss": forecast["mean"] if forecast is not None else None,
            "forecast/corrected": forecast["corrected"] if forecast is not None else None,
            "forecast/sigma": forecast["sigma"] if forecast is not None else None,
            "slope": slope,
            "slope_t": statistic,
            "residual_norm": rest.norm,
            "residual_cosine": rest.cosine,
            "correction": back,
            "correction_norm": back * float(norm(correction.jump.delta)),
            "credit": credit,
            "credit/total": sum(self.ledger.credits),
            "error/before": abs(loss - forecast["mean"]) if forecast is not None else None,
            "error/after": abs(loss - forecast["corrected"]) if forecast is not None else None,
            "store": self.watch.model.residuals() if self.watch.model is not None else 0,
        }

    @torch.no_grad()
    def _point_losses(self, trainer: Trainer) -> list[float]:
        """Loss of the held-back batches at the point of the trajectory."""
        assert self.path is not None
        if not self.path.smoothed:
            return self.probe.losses(trainer)
        kept = [weight.clone() for weight in self.path.weights]
        torch._foreach_copy_(self.path.weights, self.path.point)
        try:
            return self.probe.losses(trainer)
        finally:
            torch._foreach_copy_(self.path.weights, kept)

    # What a checkpoint holds

    def live(self, trainer: Trainer) -> dict[str, Tensor]:
        """Everything that a rollback brings back, by name."""
        live = weights(trainer) | {f"optimizer.{k}": v for k, v in trainer.optimizers.state().items()}
        if trainer.average is not None:
            live |= {f"average.{k}": v for k, v in trainer.average.state().items()}
        return live | self.buffers()

    def buffers(self) -> dict[str, Tensor]:
        """The averages of prediction, by name."""
        found: dict[str, Tensor] = {}
        if self.lookahead is not None:
            found |= self.lookahead.state()
        if self.path is not None:
            found |= self.path.state()
        return found

    def tensors(self, step: int) -> dict[str, Tensor]:
        """Tensors of a checkpoint after `step` steps, see `saved.tensors`."""
        return saved.tensors(self, step)

    def values(self) -> dict[str, Any]:
        """Plain values of a checkpoint, see `saved.values`."""
        return saved.values(self)

    def load(self, trainer: Trainer, values: dict[str, Any], tensors: dict[str, Tensor], model: bytes) -> None:
        """Goes on from a checkpoint, see `saved.load`."""
        saved.load(self, trainer, values, tensors, model)


def make_predictor(config: Config, optimizers: Optimizers) -> Predictor | None:
    """The predictor of a run, None where nothing is predicted."""
    return Predictor(config, optimizers) if config.predict.on else None
