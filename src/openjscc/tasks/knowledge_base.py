"""The task knowledge base (task KB): a request in words to one of the tasks that the link can do.

W. Yuan, J. Ren, C. Wang, R. Zhang, J. Wei, D. I. Kim, S. Cui: Generative semantic communication for joint image transmission and
segmentation, section III-A and eq. (4).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from ..errors import UsageError
from .sentences import DEFAULT_SENTENCE_MODEL, SentenceModel, load_sentence_model

OTHER = "other"
"""The part of the memory that has what is no task here. It is never decided for."""

NEAREST = 2
"""A task's score is the mean over so many of its instructions, the nearest ones."""

THRESHOLD = 0.25
"""Lowest score that is taken for a task; set with the default sentence model on tests/data/requests_dev.csv, as `MARGIN` is."""

MARGIN = 0.02
"""Smallest distance between the scores of the two best tasks."""


@dataclass(frozen=True)
class Decision:
    """What the task KB makes of a request.

    Attributes:
        task: the task; None where the request is refused.
        scores: of every task, and of `OTHER` where the memory has it; -1 to 1.
        reason: why it is refused, in words; empty for a task.
    """

    task: str | None
    scores: Mapping[str, float]
    reason: str = ""


class RequestRefused(UsageError):
    """A request that is none of the tasks, or could be several. ``decision`` has the scores."""

    def __init__(self, message: str, hint: str, decision: Decision) -> None:
        super().__init__(message, hint)
        self.decision = decision


class TaskKB:
    """Memory and computing module of the task KB.

    ::

        request --[Sentence-BERT]--> v(r) --[cosine to the instructions of each task]--> scores --> task, or refusal

    The **memory** has several instructions t_i of every task. The **computing module** turns them and the request r into vectors;
    a task's score is the mean of the two highest ``Sim(r, t_i) = v(r) . v(t_i) / (|v(r)| |v(t_i)|)`` among its instructions.

    A request is refused if no score of a task reaches the threshold, if `OTHER` scores higher than every task, or if the two best
    tasks are closer than the margin.

    Differences from the paper: it has one instruction per task, always takes the best one, and its eq. (4) writes
    the cosine of what is a cosine already.

    Args:
        model: sentence model.
        memory: instructions by task; default `read_memory`.
        threshold: lowest score that is taken.
        margin: smallest distance between the two best tasks that is taken.

    Raises:
        UsageError: a memory without a task, or a task without instructions.
    """

    def __init__(
        self,
        model: SentenceModel,
        memory: Mapping[str, Sequence[str]] | None = None,
        threshold: float = THRESHOLD,
        margin: float = MARGIN,
    ) -> None:
        memory = read_memory() if memory is None else memory
        self.tasks = tuple(task for task in memory if task != OTHER)
        if not self.tasks or not all(memory.values()):
            filled = ", ".join(task for task, sentences in memory.items() if sentences)
            raise UsageError(f"a memory with instructions for {filled or 'nothing'}", "give every task at least one instruction")
        self.model, self.threshold, self.margin = model, threshold, margin
        self._instructions = {task: model.encode(sentences) for task, sentences in memory.items()}

    def weigh(self, request: str) -> Decision:
        """The decision on a request; a refusal is one, too.

        Raises:
            UsageError: an empty request.
        """
        text = " ".join(request.split())
        if not text:
            raise UsageError(f"an empty request {request!r}", "say what the receiver wants, e.g. 'show me the photo'")
        (vector,) = self.model.encode([text])
        scores = {
            task: float((known @ vector).topk(min(NEAREST, len(known))).values.mean())
            for task, known in self._instructions.items()
        }
        first, *others = sorted(self.tasks, key=lambda task: -scores[task])
        if scores[first] < self.threshold:
            return Decision(None, scores, f"is like none of the tasks (below {self.threshold:g})")
        if scores.get(OTHER, -1.0) > scores[first]:
            return Decision(None, scores, "is more like what is no task here")
        if others and scores[first] - scores[others[0]] < self.margin:
            return Decision(None, scores, f"could mean {first} or {others[0]} (closer than {self.margin:g})")
        return Decision(first, scores)

    def decide(self, request: str) -> Decision:
        """The decision on a request, for a task.

        Raises:
            RequestRefused: with the scores and the tasks that are known.
            UsageError: an empty request.
        """
        decision = self.weigh(request)
        if decision.task is None:
            shown = request if len(request) <= 60 else request[:57] + "..."
            raise RequestRefused(
                f"the request {shown!r} {decision.reason}: {format_scores(decision.scores)}",
                f"the tasks are {' and '.join(self.tasks)}: say it in other words, or name one with --task",
                decision,
            )
        return decision


def format_scores(scores: Mapping[str, float]) -> str:
    """``reconstruction 0.71, segmentation 0.30, other 0.12``."""
    return ", ".join(f"{task} {score:.2f}" for task, score in scores.items())


def read_memory() -> dict[str, list[str]]:
    """The instructions that come with the package (``instructions.toml``): by task, and of `OTHER`."""
    return tomllib.loads(resources.files("openjscc.tasks").joinpath("instructions.toml").read_text(encoding="utf-8"))


def load_task_kb(model: str = DEFAULT_SENTENCE_MODEL) -> TaskKB:
    """The task KB with the instructions of the package.

    The threshold and the margin were set with the default model; another one has other scores.

    Args:
        model: as in `openjscc.tasks.sentences.load_sentence_model`.

    Raises:
        MissingError, IntegrityError: see there.
    """
    return TaskKB(load_sentence_model(model))
