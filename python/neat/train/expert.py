"""Training of one expert vector on questions with answers, the base frozen.

After Transformer² (arXiv 2501.06252, section 3.2). The vector starts at z = 1, the base itself. By reward: answers are
sampled from the adapted model at temperature 1 and made more likely when they are right more often than their siblings;
`loss = -E[A log p(answer)] + kl * KL(adapted || base)`. By cross-entropy: the given answers, ending included, are made
more likely. R numbers are trained.
"""

from __future__ import annotations

from pathlib import Path

import torch
import xxhash
from torch import Tensor

from neat.config.schema import Config
from neat.data.questions import Question, open_questions
from neat.errors import DataError
from neat.model.experts.answers import Written, answer_log_probs, answer_rows, require_room, write_answers
from neat.model.experts.files import EXPERT, ExpertFile, equip, weights_digest
from neat.model.experts.vectors import mixed
from neat.model.text.model import TextModel
from neat.train.device import Placement
from neat.train.expert_loss import divergence, reinforce

EVALUATION_ROWS = 64
"""Questions answered together when accuracy is measured."""


class ExpertTask:
    """What the loop of `adaptation.py` needs to know of an expert.

    Args:
        config: Of the expert.
        model: The base.
        placement: Where and in which precision.
    """

    def __init__(self, config: Config, model: TextModel, placement: Placement) -> None:
        self.config, self.model, self.placement = config, model, placement
        self.expert, self.stop = config.expert, config.expert.stop.encode(errors="surrogatepass")
        self.experts = equip(model.network)
        self.error = self.experts.factorise()
        self.questions, self.held_out = open_questions(config)
        self._check_room()
        # The base could be on any device; the vector is where the matrices are.
        self.vector = torch.zeros(self.experts.size, device=model.device, requires_grad=True)
        self.base = weights_digest(model.network)
        self._base_accuracy: float | None = None

    @property
    def parameters(self) -> dict[str, Tensor]:
        """What is trained, by name."""
        return {"vector": self.vector}

    def facts(self) -> dict[str, object]:
        """What the `run` event says of the task."""
        return {
            "expert/name": self.expert.name,
            "expert/base": self.base,
            "expert/numbers": self.experts.size,
            "expert/reconstruction_error": self.error,
            "data/questions": len(self.questions),
            "data/held_out": len(self.held_out),
        }

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of the step that follows `step` finished ones, and its metrics."""
        questions = self._drawn(step)
        if self.expert.method == "reinforce":
            return self._reward_loss(questions, step)
        loss, kl = self._answers_loss(questions)
        return loss, {"expert/kl": kl}

    def _reward_loss(self, questions: list[Question], step: int) -> tuple[Tensor, dict[str, float]]:
        samples = self.expert.samples
        prompts = [question.prompt for question in questions for _ in range(samples)]
        generator = torch.Generator().manual_seed(self._seed(step, 1))
        with torch.no_grad(), self.placement.autocast():
            written = write_answers(
                self.model,
                mixed(self.model.network, self.vector.detach()),
                prompts,
                max_bytes=self.expert.max_answer_bytes,
                stop=self.stop,
                temperature=1.0,
                generator=generator,
            )
        right = torch.tensor([self.right(w, q) for w, q in zip(written, _repeated(questions, samples), strict=True)])
        rewards = (2.0 * right.float() - 1.0).view(-1, samples).to(self.vector.device)
        documents = [prompt + one.text for prompt, one in zip(prompts, written, strict=True)]
        log_probs, kl = self._read(documents, [len(prompt) for prompt in prompts])
        loss = reinforce(log_probs.view(-1, samples), rewards)
        metrics = {"expert/reward": float(rewards.mean()), "expert/sampled_accuracy": float(right.float().mean())}
        return self._with_divergence(loss, kl, metrics)

    def _answers_loss(self, questions: list[Question]) -> tuple[Tensor, float]:
        documents = [question.prompt + question.answer + self.stop for question in questions]
        log_probs, kl = self._read(documents, [len(question.prompt) for question in questions])
        num_bytes = sum(len(question.answer) + len(self.stop) for question in questions)
        loss, metrics = self._with_divergence(-log_probs.sum() / num_bytes, kl, {})
        return loss, metrics["expert/kl"]

    def _with_divergence(
        self, loss: Tensor, kl: Tensor | None, metrics: dict[str, float]
    ) -> tuple[Tensor, dict[str, float]]:
        if kl is None:
            return loss, metrics | {"expert/kl": 0.0}
        return loss + self.expert.kl * kl.mean(), metrics | {"expert/kl": float(kl.detach().mean())}

    def _read(self, documents: list[bytes], scored: list[int]) -> tuple[Tensor, Tensor | None]:
        """Log-probability of each answer under the adapted model and, where it has a weight, its divergence, [B]."""
        batch = answer_rows(self.model, documents, scored)
        with self.placement.autocast():
            with self.experts.applied(self.vector):
                logits = self.model.network(batch)
            if not self.expert.kl:
                return answer_log_probs(logits, batch.targets), None
            with torch.no_grad():
                base = self.model.network(batch)
        return answer_log_probs(logits, batch.targets), divergence(logits, base, batch.targets)

    def evaluate(self) -> dict[str, float]:
        """Share of held-out questions that the likeliest answer gets right, with the expert and without."""
        if not self.held_out:
            return {}
        if self._base_accuracy is None:
            self._base_accuracy = self._accuracy(torch.zeros_like(self.vector))
        return {
            "eval/accuracy": self._accuracy(self.vector.detach()),
            "eval/base_accuracy": self._base_accuracy,
            "eval/questions": len(self.held_out),
        }

    def _accuracy(self, offsets: Tensor) -> float:
        network, right = mixed(self.model.network, offsets), 0
        for start in range(0, len(self.held_out), EVALUATION_ROWS):
            some = self.held_out[start : start + EVALUATION_ROWS]
            written = write_answers(
                self.model,
                network,
                [question.prompt for question in some],
                max_bytes=self.expert.max_answer_bytes,
                stop=self.stop,
                temperature=0.0,
            )
            right += sum(map(self.right, written, some))
        return right / len(self.held_out)

    def right(self, written: Written, question: Question) -> bool:
        """Whether an answer earns the reward; one that does not end is wrong."""
        if written.answer is None:
            return False
        if self.expert.reward == "contains":
            return question.answer in written.answer
        return written.answer == question.answer

    def file(self, step: int, metrics: dict[str, float]) -> tuple[str, ExpertFile]:
        """Name and content of the finished file."""
        facts = {"method": self.expert.method, "step": str(step)}
        facts |= {name.removeprefix("eval/"): f"{value:.6g}" for name, value in metrics.items()}
        content = ExpertFile(EXPERT, (self.expert.name,), self.base, {"offsets": self.vector.detach()}, facts)
        return f"expert-{self.expert.name}.safetensors", content

    def published(self, run: Path) -> Path:
        """Where the file stands in the run of the base."""
        return run / "experts" / f"{self.expert.name}.safetensors"

    def _drawn(self, step: int) -> list[Question]:
        """The questions of a step: a fresh order of all of them in every pass."""
        num, per_step = len(self.questions), self.expert.questions
        places = range(step * per_step, (step + 1) * per_step)
        orders = {epoch: self._order(epoch) for epoch in {place // num for place in places}}
        return [self.questions[orders[place // num][place % num]] for place in places]

    def _order(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(self._seed(epoch, 0))
        order: list[int] = torch.randperm(len(self.questions), generator=generator).tolist()
        return order

    def _seed(self, number: int, purpose: int) -> int:
        """Another seed for every number and purpose, the same in every attempt."""
        return xxhash.xxh64_intdigest(f"{self.config.seed} {purpose} {number}".encode()) % 2**63

    def _check_room(self) -> None:
        everything = [*self.questions, *self.held_out]
        require_room(self.model, [question.prompt for question in everything], self.expert.max_answer_bytes)
        longest = max(everything, key=lambda question: len(question.answer))
        if len(longest.answer) + len(self.stop) > self.expert.max_answer_bytes:
            raise DataError(
                f"the answer has {len(longest.answer)} bytes, with its ending more than expert.max_answer_bytes "
                f"({self.expert.max_answer_bytes})",
                hint="raise expert.max_answer_bytes",
                where=f"in {longest.where}",
            )


def _repeated(questions: list[Question], times: int) -> list[Question]:
    return [question for question in questions for _ in range(times)]
