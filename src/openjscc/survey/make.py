"""Making a questionnaire about pairs of images (`openjscc.survey.questionnaire`): which patches, sent how, shown where.

Whole images are sent, and patches are cut out of what arrived. Everything follows from the seed, by hashes: the same seed,
weights and images give the same files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from ..bench.measure import nominal_ratio
from ..bench.provenance import commit, device_name, versions
from ..channels import make_channel
from ..codec import Codec, CodecInfo, resolved_name
from ..data.datasets import DATASETS, PictureDataset, open_dataset
from ..data.images import to_uint8, write_png
from ..errors import MissingError, UsageError
from ..files import write_atomically
from ..link import transmit
from ..systems import load_all
from ..units import bandwidth_ratio
from .questionnaire import (
    KEY,
    KEY_FORMAT,
    MANIFEST,
    MANIFEST_FORMAT,
    QUESTIONS,
    VERSION,
    Key,
    KeyPair,
    Manifest,
    Pair,
    PairsSection,
    PictureFile,
    Questionnaire,
    Sent,
    to_json,
)

Role = Literal["of", "over"]


@dataclass(frozen=True)
class Patch:
    """One pair before anything is sent.

    Attributes:
        id: of the pair.
        picture: number in the data set.
        x, y: of the patch's left upper corner, in pixels.
        ratios: nominal bandwidth ratios of ``of`` and ``over``.
        of_left: whether ``of`` is shown on the left.
    """

    id: str
    picture: int
    x: int
    y: int
    ratios: tuple[float, float]
    of_left: bool

    @property
    def transmissions(self) -> list[tuple[int, Role, float]]:
        """(image, role, ratio) of its two images."""
        return [(self.picture, "of", self.ratios[0]), (self.picture, "over", self.ratios[1])]


@dataclass(frozen=True)
class PairsPlan:
    """All work of a questionnaire.

    Attributes:
        questionnaire: which.
        dataset: the images.
        codecs: system and codec by role and nominal ratio.
        patches: in the order of their ids.
    """

    questionnaire: Questionnaire
    dataset: PictureDataset
    codecs: Mapping[tuple[Role, float], tuple[str, Codec]]
    patches: tuple[Patch, ...]

    @property
    def transmissions(self) -> list[tuple[int, Role, float]]:
        """(image, role, ratio), each once."""
        return list(dict.fromkeys(item for patch in self.patches for item in patch.transmissions))


def plan_pairs(questionnaire: Questionnaire, data_dir: str | None = None, limit: int | None = None) -> PairsPlan:
    """Open everything that a questionnaire needs.

    Args:
        questionnaire: which.
        data_dir: where named data sets are kept.
        limit: only so many pairs: the same ones, at the same sides, that all of them would begin with.

    Raises:
        MissingError: data, weights or a library. UsageError: a system or ratio that does not exist, too few patches.
    """
    section = questionnaire.pairs
    data = questionnaire.data if questionnaire.data in DATASETS else None
    codecs: dict[tuple[Role, float], tuple[str, Codec]] = {}
    asked: tuple[tuple[Role, str], ...] = (("of", section.of), ("over", section.over))
    for (role, name), ratios in zip(asked, zip(*section.conditions, strict=True), strict=True):
        try:
            loaded = load_all([name], list(dict.fromkeys(ratios)), data)
        except MissingError as error:
            other = "; or ask about another system with --model" if role == "of" else ""
            raise MissingError(error.message, error.hint + other) from None
        codecs.update({(role, ratio): (name, codec) for _, codec, served in loaded for ratio in served if ratio is not None})
    dataset = open_dataset(questionnaire.data, data_dir, split="test", cache_mib=1024)
    patches = design(section, [tuple(dataset.shared(number).shape[1:]) for number in range(len(dataset))], limit)
    return PairsPlan(questionnaire, dataset, codecs, patches)


def design(section: PairsSection, sizes: Sequence[tuple[int, ...]], limit: int | None = None) -> tuple[Patch, ...]:
    """Which patches are asked about, at which ratios and sides; in the order of their ids.

    The patches are squares side by side from the left upper corner on, each asked about at most once. The images take turns,
    and so do the conditions (pairs of ratios): all of either come up equally often, to one. ``of`` is on the left in half of the
    pairs of each condition, to one.

    Args:
        section: the settings.
        sizes: height and width of the images.
        limit: only so many.

    Raises:
        UsageError: there are fewer patches than pairs.
    """
    size, conditions = section.size, section.conditions

    def drawn(*words: object) -> str:
        return hashlib.sha256(repr((section.seed, *words)).encode()).hexdigest()

    free = {}
    for number, (height, width) in enumerate(sizes):
        corners = [(x, y) for y in range(0, height - size + 1, size) for x in range(0, width - size + 1, size)]
        free[number] = sorted(corners, key=lambda corner: drawn("corner", number, corner))
    if (there := sum(map(len, free.values()))) < section.count:
        hint = f"ask for fewer pairs (count) or smaller patches (size): there are {there} of {size}x{size} pixels"
        raise UsageError(f"{section.count} pairs of {there} patches", hint)
    turns, order = [], sorted(free, key=lambda number: drawn("picture", number))
    while len(turns) < section.count:
        turns += [(number, free[number].pop()) for number in order if free[number]]
        order = [*order[1:], order[0]]  # so that an image meets another condition next time
    patches = []
    for turn, (number, (x, y)) in enumerate(turns[: section.count][:limit]):
        round_, place = divmod(turn, len(conditions))
        left = (round_ + int(drawn("side", place), 16)) % 2 == 0
        patches.append(Patch("p" + drawn("id", turn)[:7], number, x, y, conditions[place], left))
    if len({patch.id for patch in patches}) < len(patches):
        raise UsageError(f"seed {section.seed} gives two pairs one id", "take another seed")
    return tuple(sorted(patches, key=lambda patch: patch.id))


def make_pairs(
    folder: Path, name: str, plan: PairsPlan, *, jobs: int = 1, advance: Callable[[int], None] = lambda count: None
) -> tuple[Manifest, Key]:
    """Send the images and write questions and key; the manifest last of all.

    Args:
        folder: that the files go to.
        name: of the questionnaire.
        plan: see `plan_pairs`.
        jobs: images at work at the same time, in threads; what comes out does not depend on it.
        advance: told 1 after each image.

    Raises:
        UsageError: there is a questionnaire already, a system that makes no images, or a folder that cannot be written.
    """
    questions, section = folder / QUESTIONS, plan.questionnaire.pairs
    if (questions / MANIFEST).exists():
        raise UsageError(f"{folder} already holds a questionnaire", "name another folder with -o: answers go with their own")
    questions.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        done = pool.map(lambda item: _sent(plan, item, advance), plan.transmissions)
        sent = dict(zip(plan.transmissions, done, strict=True))
    pairs, answers = [], []
    for patch in plan.patches:
        of, over = (sent[item] for item in patch.transmissions)
        sides = {"left": of, "right": over} if patch.of_left else {"left": over, "right": of}
        pictures = {"original": plan.dataset[patch.picture], **{side: pixels for side, (pixels, _) in sides.items()}}
        files = {
            what: _write(questions / f"{patch.id}-{what}.png", _patch(pixels, patch, section.size))
            for what, pixels in pictures.items()
        }
        pairs.append(Pair(patch.id, **files))
        crop = (patch.x, patch.y, section.size, section.size)
        answers.append(KeyPair(patch.id, plan.dataset.ids[patch.picture], crop, sides["left"][1], sides["right"][1]))
    size = (section.size, section.size)
    manifest = Manifest(MANIFEST_FORMAT, VERSION, name, plan.questionnaire.title, section.question, size, tuple(pairs))
    content = to_json(manifest)
    key = Key(
        KEY_FORMAT, VERSION, hashlib.sha256(content).hexdigest(), plan.dataset.name, plan.dataset.fingerprint(), section.seed,
        tuple(answers), device_name(), versions(), commit(),
    )  # fmt: skip
    write_atomically(folder / KEY, to_json(key))
    write_atomically(questions / MANIFEST, content)
    return manifest, key


def _sent(plan: PairsPlan, item: tuple[int, Role, float], advance: Callable[[int], None]) -> tuple[torch.Tensor, Sent]:
    """A whole image as it arrived, uint8 ``(3, H, W)``, and what there is to say of it."""
    section, (picture, role, ratio) = plan.questionnaire.pairs, item
    name, codec = plan.codecs[role, ratio]
    x = plan.dataset.shared(picture).float()[None] / 255
    result = transmit(codec, section.channel, x, section.snr_db, ratio=ratio, seed=section.seed)
    if result.image is None:
        raise UsageError(f"{name} gives no picture", "choose a system whose task is reconstruction")
    weight, ok, uses = CodecInfo(codec).weight, result.reconstruction.ok, int(result.frame.length[0])
    advance(1)
    return to_uint8(result.image[0].cpu()), Sent(
        role=role,
        system=name,
        weight=resolved_name(codec),
        weight_sha256=weight.sha256 if weight is not None else None,
        tool=CodecInfo(codec).tool,
        ratio=nominal_ratio(codec, ratio) or ratio,
        bandwidth_ratio=bandwidth_ratio(uses, *x.shape[-2:]),
        channel_uses=uses,
        channel=make_channel(section.channel).name,
        snr_db=section.snr_db,
        seed=section.seed,
        arrived=ok is None or bool(ok[0]),
    )


def _patch(pixels: torch.Tensor, patch: Patch, size: int) -> torch.Tensor:
    return pixels[:, patch.y : patch.y + size, patch.x : patch.x + size]


def _write(path: Path, pixels: torch.Tensor) -> PictureFile:
    write_png(path, pixels, overwrite=True)
    return PictureFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
