"""Training of the dispatcher on questions whose answer field names the expert they are for; all else is frozen.

The dispatcher reads the mean latent vector of a prompt, which does not change while it is trained, so each prompt is
read once. D latent width, K experts.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.config.schema import Config
from neat.data.questions import Question, open_questions
from neat.errors import DataError
from neat.model.experts.files import DISPATCHER, ExpertFile, weights_digest
from neat.model.experts.prompts import prompt_vectors
from neat.model.experts.vectors import Dispatcher
from neat.model.text.model import TextModel
from neat.train.device import Placement


class DispatcherTask:
    """What the loop of `adaptation.py` needs to know of a dispatcher.

    Args:
        config: Of its training.
        model: The base.
        placement: Where it computes; always in float32.
    """

    def __init__(self, config: Config, model: TextModel, placement: Placement) -> None:
        del placement
        questions, held_out = open_questions(config)
        self.config = config
        self.names = sorted({question.answer.decode(errors="replace") for question in questions})
        if len(self.names) == 1:
            raise DataError(
                f"every question is for {self.names[0]}: there is nothing to tell apart",
                hint="expert.answer_field names the field that holds the name of the expert",
            )
        self.base = weights_digest(model.network)
        self.train, self.held_out = self._examples(model, questions), self._examples(model, held_out)
        width = self.train[0].shape[1]
        self.dispatcher = Dispatcher(width, config.expert.dispatcher_width, len(self.names)).to(model.device)
        generator = torch.Generator().manual_seed(config.seed)
        for parameter in self.dispatcher.parameters():
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5, generator=generator)
            parameter.requires_grad_(True)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """What is trained, by name."""
        return dict(self.dispatcher.named_parameters())

    def facts(self) -> dict[str, object]:
        """What the `run` event says of the task."""
        return {
            "expert/names": self.names,
            "expert/base": self.base,
            "expert/numbers": sum(parameter.numel() for parameter in self.dispatcher.parameters()),
            "data/questions": len(self.train[0]),
            "data/held_out": len(self.held_out[0]),
        }

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of the names of the questions of a step, in nats."""
        vectors, labels = self.train
        num = min(self.config.expert.questions, len(labels))
        generator = torch.Generator().manual_seed((self.config.seed + step) % 2**63)
        chosen = torch.randperm(len(labels), generator=generator)[:num].to(labels.device)
        scores = self.dispatcher(vectors[chosen])
        loss = F.cross_entropy(scores, labels[chosen])
        shares = scores.detach().softmax(-1).mean(0).tolist()
        mixture = {f"svf/share/{name}": share for name, share in zip(self.names, shares, strict=True)}
        return loss, {"svf/dispatch_entropy": float(_entropy(scores.detach()).mean())} | mixture

    def evaluate(self) -> dict[str, float]:
        """Share of held-out questions that go to the right expert, and the mean entropy of the choice in nats."""
        vectors, labels = self.held_out
        if not len(labels):
            return {}
        with torch.no_grad():
            scores = self.dispatcher(vectors)
        return {
            "eval/accuracy": float((scores.argmax(-1) == labels).float().mean()),
            "eval/questions": len(labels),
            "svf/dispatch_entropy": float(_entropy(scores).mean()),
        }

    def file(self, step: int, metrics: dict[str, float]) -> tuple[str, ExpertFile]:
        """Name and content of the finished file."""
        facts = {"step": str(step)} | {name.rpartition("/")[2]: f"{value:.6g}" for name, value in metrics.items()}
        tensors = {name: tensor.detach() for name, tensor in self.parameters.items()}
        return "dispatcher.safetensors", ExpertFile(DISPATCHER, tuple(self.names), self.base, tensors, facts)

    def published(self, run: Path) -> Path:
        """Where the file stands in the run of the base."""
        return run / "dispatcher.safetensors"

    def _examples(self, model: TextModel, questions: list[Question]) -> tuple[Tensor, Tensor]:
        labels = []
        for question in questions:
            name = question.answer.decode(errors="replace")
            if name not in self.names:
                raise DataError(f"no training question is for {name}", where=f"in {question.where}")
            labels.append(self.names.index(name))
        if not questions:
            return torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64)
        vectors = prompt_vectors(model, [question.prompt for question in questions])
        return vectors.float(), torch.tensor(labels, device=vectors.device)


def _entropy(scores: Tensor) -> Tensor:
    """Entropy of each row's choice, in nats: [.., K] -> [..]."""
    log_probs = F.log_softmax(scores, -1)
    return -(log_probs.exp() * log_probs).sum(-1)
