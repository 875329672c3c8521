"""A receiver in a process of its own, which decodes what comes through its standard input."""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys

import torch

from ..codec import Received, Reconstruction


class CannotFollow(Exception):
    """The codec cannot be taken to another process, for reasons that are not its fault."""


def decode_elsewhere(pickled: bytes, received: Received) -> Reconstruction:
    """Decode in the other process.

    Args:
        pickled: the codec.
        received: what arrived.

    Raises:
        CannotFollow: its module cannot be imported there.
        RuntimeError: what the codec raised, or that it ended the process.
    """
    worker = _worker()
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        pickle.dump((pickled, pickle.dumps(received)), worker.stdin)
        worker.stdin.flush()
        outcome, content = pickle.load(worker.stdout)
    except (EOFError, OSError, pickle.UnpicklingError):
        _worker.cache_clear()
        raise RuntimeError("the process ended") from None
    if outcome == "no module":
        raise CannotFollow(content)
    if outcome == "error":
        raise RuntimeError(content)
    return pickle.loads(content)


@functools.cache
def _worker() -> subprocess.Popen[bytes]:
    """One for all checks of this process; it ends with the pipe."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", "from openjscc.testing._receiver import serve; serve()"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def serve() -> None:
    """Answer until the pipe is closed."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a codec prints must not get between the answers
    torch.set_num_threads(1)
    while True:
        try:
            pickled, received = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_answer(pickled, received), out)
        out.flush()


def _answer(pickled: bytes, received: bytes) -> tuple[str, object]:
    try:
        codec = pickle.loads(pickled)
    except (ImportError, AttributeError) as error:
        return "no module", str(error)
    try:
        with torch.no_grad():
            return "result", pickle.dumps(codec.decode(pickle.loads(received)))
    except Exception as error:
        return "error", f"{type(error).__name__}: {error}"
