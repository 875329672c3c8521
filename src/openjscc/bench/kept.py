"""Received images and segmentations that a benchmark keeps: PNG files and an index of where each comes from."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath

from ..configuration import build, read_objects
from ..errors import IntegrityError, MissingError, OpenJSCCError
from ..files import claimed, write_atomically
from .task_metrics import RECONSTRUCTION

INDEX = "index.json"


@dataclass(frozen=True)
class KeptPicture:
    """One received image, or segmentation.

    Attributes:
        file: PNG, relative to the index; of a segmentation class numbers in VOC's colours.
        system: as the user asked for it.
        channel: canonical spec.
        snr_db: average SNR in dB.
        ratio: nominal bandwidth ratio.
        picture: which one of the data set.
        psnr: in dB; None for identical images, and segmentations.
        ok: whether it arrived; what is in the file otherwise is the grey image.
        told_snr_db: what the transmitter took the SNR for; None: the truth.
        bandwidth_ratio: what was really sent, header included; None where an older version did not note it.
        uses: channel uses, header included; None: nobody noted them.
        task: what was asked for.
        miou: of a segmentation, over the classes of this image and its mask; None where there are none.
        sha256: of the file (hex); None where an older version did not note it.
    """

    file: str
    system: str
    channel: str
    snr_db: float
    ratio: float | None
    picture: str
    psnr: float | None
    ok: bool
    told_snr_db: float | None = None
    bandwidth_ratio: float | None = None
    uses: int | None = None
    task: str = RECONSTRUCTION
    miou: float | None = None
    sha256: str | None = None

    def intact(self, folder: Path) -> bool:
        """Whether the file is there, in the folder of the index, as it was kept."""
        try:
            return self.sha256 in (None, sha256((folder / self.file).read_bytes()).hexdigest())
        except OSError:
            return False


def picture_files(ids: Sequence[str]) -> dict[str, str]:
    """PNG file of each picture: its name without folder and suffix, after its number where several have that name."""
    stems = [PurePosixPath(name).stem for name in ids]
    counts = Counter(stems)
    pairs = zip(ids, stems, strict=True)
    return {name: f"{stem}.png" if counts[stem] == 1 else f"{n:05d}-{stem}.png" for n, (name, stem) in enumerate(pairs)}


def kept_files(folder: Path) -> set[str]:
    """Files of the folder's index that are there as they were kept; none without index. Raises as `read_kept`."""
    if not (folder / INDEX).exists():
        return set()
    return {picture.file for picture in read_kept(folder) if picture.intact(folder)}


def add_kept(folder: Path, pictures: Iterable[KeptPicture]) -> None:
    """Note images in the folder's index; one of the same file takes the place of the old entry.

    Raises:
        UsageError: the folder cannot be written. IntegrityError: the index that is there is damaged.
    """
    pictures = sorted(pictures, key=lambda picture: picture.file)
    if not pictures:
        return
    with claimed(folder / f".{INDEX}.lock", wait=True):  # other commands note theirs
        known = {picture.file: picture for picture in (read_kept(folder) if (folder / INDEX).exists() else [])}
        for picture in pictures:
            infinite = picture.psnr is not None and not math.isfinite(picture.psnr)
            known[picture.file] = replace(picture, psnr=None) if infinite else picture
        content = json.dumps([asdict(picture) for picture in known.values()], indent=1)
        write_atomically(folder / INDEX, f"{content}\n".encode())


def read_kept(folder: Path) -> list[KeptPicture]:
    """The folder's index.

    Raises:
        MissingError: there is none. IntegrityError: it is damaged, or names files outside the folder.
    """
    path = folder / INDEX
    try:
        content = read_objects(path.read_text("utf-8"))
        pictures = [build(KeptPicture, item, f"{path}: picture {number}") for number, item in enumerate(content)]
    except OSError:
        raise MissingError(f"no kept pictures in {folder}", "openjscc bench --keep N keeps those of the first N") from None
    except (OpenJSCCError, ValueError) as error:
        message = getattr(error, "message", f"{path} is no index of pictures: {error}")
        raise IntegrityError(message, "remove it and run openjscc bench --keep N again") from None
    for picture in pictures:
        inside = PurePosixPath(picture.file)
        if inside.is_absolute() or ".." in inside.parts:
            raise IntegrityError(
                f"{path} names a file outside its folder: {picture.file}", "remove it and run openjscc bench --keep N again"
            )
    return pictures
