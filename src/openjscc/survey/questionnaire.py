"""Questionnaires about pairs of pictures: what is asked (TOML), what participants see (manifest), what they must not (key).

::

    DIR/questions/manifest.json    the pairs in their order: files of original, left and right; says nothing of systems
    DIR/questions/*.png            the patches, 8 bits, without loss
    DIR/key.json                   what is left and what is right, and where it comes from

The folder ``questions`` can be shown to participants as it is; the key stays outside of it. docs/user-study.md has the fields.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..channels import make_channel
from ..configuration import build, packaged, read_json, read_toml
from ..errors import IntegrityError, MissingError, OpenJSCCError, UsageError
from ..units import AUTO, SNR_LIMIT_DB, parse_ratio

QUESTIONS = "questions"
MANIFEST = "manifest.json"
KEY = "key.json"
MANIFEST_FORMAT, KEY_FORMAT = "openjscc pairs", "openjscc pairs key"
VERSION = 1

Choice = Literal["left", "right"]
Document = TypeVar("Document", "Manifest", "Key")


@dataclass(frozen=True)
class PairsSection:
    """Patches of received images, two by two.

    Attributes:
        of: the system that is asked about.
        over: the one that it is compared with.
        ratio: bandwidth ratios of ``of``, as ``"1/48"`` or numbers.
        over_ratio: bandwidth ratios of ``over``; each meets each of ``ratio``.
        question: that the participants are asked.
        snr_db: average SNR in dB.
        channel: spec.
        count: number of pairs.
        size: side of the patches in pixels.
        seed: of noise, patches, and what is left and right.
    """

    of: str
    over: str
    ratio: tuple[Any, ...]
    over_ratio: tuple[Any, ...]
    question: str
    snr_db: float = 10.0
    channel: str = "awgn"
    count: int = 46
    size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        make_channel(self.channel)
        if not abs(self.snr_db) <= SNR_LIMIT_DB:
            raise UsageError(f"SNR of {self.snr_db} dB", f"a finite number of dB within +-{SNR_LIMIT_DB:g}")
        for name in ("count", "size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}", "a whole number from 1 up")
        if not self.ratio or not self.over_ratio or AUTO in (*self.ratio, *self.over_ratio):
            raise UsageError("pairs without bandwidth ratios", 'give ratio and over_ratio, e.g. ["1/48", "1/24"]')
        _ = self.conditions

    @property
    def conditions(self) -> list[tuple[float, float]]:
        """All of (ratio of ``of``, ratio of ``over``)."""
        of, over = (list(dict.fromkeys(parse_ratio(str(value)) for value in some)) for some in (self.ratio, self.over_ratio))
        return [(a, b) for a in of for b in over]


@dataclass(frozen=True)
class Questionnaire:
    """A user study.

    Attributes:
        title: one line.
        data: data set, as ``--data`` takes it.
        pairs: what is compared.
        paper: citation of what it is after.
        names: labels of systems in figures and tables, by name.
    """

    title: str
    data: str
    pairs: PairsSection
    paper: str = ""
    names: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PictureFile:
    """An image of a pair.

    Attributes:
        file: name beside the manifest.
        sha256: of the file.
    """

    file: str
    sha256: str


@dataclass(frozen=True)
class Pair:
    """What a participant sees.

    Attributes:
        id: ``p`` and seven hexadecimal digits that say nothing. (Spreadsheets take it for a text.)
        original, left, right: the images.
    """

    id: str
    original: PictureFile
    left: PictureFile
    right: PictureFile


@dataclass(frozen=True)
class Manifest:
    """All that a page needs to ask, and nothing that gives the systems away.

    Attributes:
        format: `MANIFEST_FORMAT`.
        version: of the schema.
        study: name of the questionnaire.
        title: of it.
        question: that is asked.
        size: width and height of every image in pixels.
        pairs: in the order of their ids, which is a random one.
    """

    format: str
    version: int
    study: str
    title: str
    question: str
    size: tuple[int, int]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Sent:
    """Where one image of a pair comes from. All but ``role`` as in a `openjscc.bench.Record`, for the whole image.

    Attributes:
        role: ``of``: the system that is asked about; ``over``: the other one.
        system, weight, weight_sha256, tool: the system.
        ratio: nominal bandwidth ratio.
        bandwidth_ratio: of what was sent, header included.
        channel_uses: the same in channel uses.
        channel, snr_db, seed: how it was sent.
        arrived: False: lost, and shown as mid-grey.
    """

    role: Literal["of", "over"]
    system: str
    weight: str
    weight_sha256: str | None
    tool: str | None
    ratio: float
    bandwidth_ratio: float
    channel_uses: int
    channel: str
    snr_db: float
    seed: int
    arrived: bool


@dataclass(frozen=True)
class KeyPair:
    """What a pair is.

    Attributes:
        id: as in the manifest.
        picture: of the data set.
        crop: x, y, width and height of the patch in it.
        left, right: where the images come from.
    """

    id: str
    picture: str
    crop: tuple[int, int, int, int]
    left: Sent
    right: Sent

    @property
    def of(self) -> Sent:
        """The image of the system that is asked about."""
        return self.left if self.left.role == "of" else self.right

    @property
    def over(self) -> Sent:
        """The other one's."""
        return self.right if self.left.role == "of" else self.left


@dataclass(frozen=True)
class Key:
    """What the participants must not see.

    Attributes:
        format: `KEY_FORMAT`.
        version: of the schema.
        manifest_sha256: of the manifest's file.
        data, data_sha256: the data set, as in a `openjscc.bench.Record`.
        seed: of patches, ids, and what is left and right.
        pairs: as in the manifest.
        device, versions, commit: as in a `openjscc.bench.Record`.
    """

    format: str
    version: int
    manifest_sha256: str
    data: str
    data_sha256: str
    seed: int
    pairs: tuple[KeyPair, ...]
    device: str | None = None
    versions: dict[str, Any] | None = None
    commit: str | None = None


def packaged_questionnaires() -> list[str]:
    """Names of the questionnaires in the package."""
    return packaged("openjscc.survey", "packaged")


def load_questionnaire(name: str) -> Questionnaire:
    """A questionnaire by name or path.

    Raises:
        UsageError: no such one; TOML that does not parse; an unknown key or a value of the wrong type, naming file and key.
    """
    return build(Questionnaire, read_toml(name, "questionnaire", "openjscc.survey", "packaged"), name)


def to_json(document: Manifest | Key) -> bytes:
    """A manifest or key as its file has it."""
    return (json.dumps(dataclasses.asdict(document), indent=1, allow_nan=False) + "\n").encode()


def read_made(folder: Path) -> tuple[Manifest, Key]:
    """Manifest and key of a questionnaire that was made.

    Raises:
        MissingError: there is none.
        IntegrityError: a damaged file, one of another version, or a key of another manifest.
    """
    manifest, digest = _read(folder / QUESTIONS / MANIFEST, Manifest, MANIFEST_FORMAT)
    key, _ = _read(folder / KEY, Key, KEY_FORMAT)
    if key.manifest_sha256 != digest or [pair.id for pair in key.pairs] != [pair.id for pair in manifest.pairs]:
        raise IntegrityError(f"{folder / KEY} is not the key of this manifest", "put back the two files that were made together")
    return manifest, key


def _read(path: Path, cls: type[Document], kind: str) -> tuple[Document, str]:
    """The document, and the sha256 of its file."""
    again = "get the file back from where the questionnaire was made"
    try:
        content = path.read_bytes()
    except OSError:
        raise MissingError(f"no questionnaire in {path.parent}: {path.name} is missing", "make one: without --answers") from None
    try:
        values = read_json(content.decode("utf-8"))
        if not isinstance(values, dict) or values.get("format") != kind:
            raise ValueError(f"its format is not {kind!r}")
        if values.get("version") != VERSION:
            raise ValueError(f"its version is {values.get('version')!r}, this release reads {VERSION}")
        return build(cls, values, str(path)), hashlib.sha256(content).hexdigest()
    except OpenJSCCError as error:
        raise IntegrityError(error.message, again) from None
    except ValueError as error:
        raise IntegrityError(f"{path} cannot be used: {error}", again) from None
