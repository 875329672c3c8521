"""What the receiver wants: named by ``--task``, or said in words by ``--request``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ..errors import UsageError, unknown_name
from .console import say

Request = Annotated[
    str | None,
    typer.Option("--request", metavar="TEXT", help="What the receiver wants, in words; the task KB finds the task."),
]
SentenceModelName = Annotated[
    str | None,
    typer.Option(
        "--sentence-model",
        metavar="NAME",
        help="For --request: a folder or a name of sentence-transformers. Default: all-MiniLM-L6-v2.",
    ),
]


@dataclass(frozen=True)
class Wanted:
    """The task, and what the task KB says of the request (for JSON; None without one)."""

    task: str
    report: dict[str, Any] | None = None


def task_of(task: str | None, request: str | None, sentence_model: str | None = None) -> Wanted:
    """The task of the options ``--task``, ``--request`` and ``--sentence-model``.

    Raises:
        UsageError: an unknown task, options that exclude one another, an empty or a refused request.
        MissingError: the sentence model is not at hand. IntegrityError: it is damaged.
    """
    from ..codec import TASKS

    if task is not None and task not in TASKS:
        raise unknown_name("task", task, TASKS)
    if request is None:
        if sentence_model is not None:
            raise UsageError(f"the sentence model {sentence_model!r} without a request", "add --request TEXT")
        return Wanted(task or "reconstruction")
    if task is not None:
        raise UsageError(f"a request and the task {task!r}", "give --request or --task, not both")
    if not request.strip():
        raise UsageError(f"an empty request {request!r}", "say what the receiver wants, e.g. 'show me the photo'")

    from ..tasks.knowledge_base import format_scores, load_task_kb
    from ..tasks.sentences import DEFAULT_SENTENCE_MODEL

    kb = load_task_kb(DEFAULT_SENTENCE_MODEL if sentence_model is None else sentence_model)
    decision = kb.decide(request)
    scores = {name: round(score, 4) for name, score in decision.scores.items()}
    say(f"task: {decision.task}, by the request ({format_scores(decision.scores)})")
    return Wanted(str(decision.task), {"text": request, "sentence_model": kb.model.name, "scores": scores})
