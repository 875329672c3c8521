"""The cells of a study in one file, ``DIR/cells.zip``: small enough to be committed, so that no new machine measures them again.

It holds the files of ``DIR/cells`` as they are (`openjscc.bench.cells.store`), the values of every image included.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

from ..errors import IntegrityError
from ..files import write_atomically
from .cells import cell_path
from .point import Cell

NAME = "cells.zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every entry: equal cells make an equal file."""


def unpack_cells(folder: Path, cells: Iterable[Cell]) -> int:
    """Write those of the cells that the archive has and the folder has not; returns how many.

    Raises:
        IntegrityError: the archive is damaged.
    """
    path = folder / NAME
    if not path.exists():
        return 0
    written = 0
    try:
        with zipfile.ZipFile(path) as archive:
            there = set(archive.namelist())
            for cell in dict.fromkeys(cells):
                place = cell_path(folder, cell)
                if place.name in there and not place.exists():
                    content = archive.read(place.name)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    write_atomically(place, content)
                    written += 1
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{path} is damaged: {error}", "get it again, or remove it: its cells are measured again") from None
    return written


def pack_cells(folder: Path, cells: Iterable[Cell]) -> Path | None:
    """Write ``DIR/cells.zip`` with those of the cells that are stored; None where there are none."""
    places = sorted({place for cell in cells if (place := cell_path(folder, cell)).exists()})
    if not places:
        return None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for place in places:
            archive.writestr(zipfile.ZipInfo(place.name, _EPOCH), place.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    path = folder / NAME
    if not path.exists() or path.read_bytes() != buffer.getvalue():
        write_atomically(path, buffer.getvalue())
    return path
