"""README's pictures: the bundled photograph sent again, with weights and records as they are committed.

python scripts/pictures.py    # docs/images/send.webp and cliff.webp
"""

from __future__ import annotations

from pathlib import Path

import torch

from openjscc import make_channel, read_image, transmit
from openjscc.bench import Record, read_records
from openjscc.codec import LOST_GREY
from openjscc.data.bundled import sample_photo
from openjscc.data.sheets import side_by_side, stamped
from openjscc.metrics import psnr
from openjscc.systems import load

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
WEIGHT = "adjscc.photo"
RATIO = 1 / 6
SEND_SNR_DB = 10.0
CLIFF_SNR_DB = (12.0, 6.0, 0.0)
FIXED = "bpg-ldpc:mcs=16qam-3/4-n1944"
CLIFF_SYSTEMS = {"bpg-ldpc": "BPG+LDPC, adapted", WEIGHT: "ADJSCC", FIXED: "BPG+LDPC, 16-QAM 3/4"}
"""With their captions."""
STRIP = slice(144, 240)
"""Rows of the photograph that are shown of the fixed scheme."""


def main() -> None:
    draw_send(IMAGES / "send.webp")
    draw_cliff(IMAGES / "cliff.webp")


def places() -> list[tuple[str, float]]:
    return [(system, snr) for system in CLIFF_SYSTEMS for snr in CLIFF_SNR_DB]


def records() -> dict[tuple[str, float], Record]:
    """PSNR of the photograph over AWGN, the SNR known, by system and SNR."""
    chosen = [
        record
        for record in read_records(ROOT / "results" / "cliff-photo.csv")
        if (record.metric, record.channel, record.told_snr_db) == ("psnr", "awgn", None)
        and abs((record.ratio or 0.0) / RATIO - 1) < 0.01
    ]
    return {(record.system, record.snr_db): record for record in chosen}


def alternative() -> str:
    """What is to be seen in cliff.webp, in words."""
    *first, last = (f"{snr:g}" for snr in CLIFF_SNR_DB)
    return (
        f"The same photograph at {', '.join(first)} and {last} dB: an adapted digital link above, {CLIFF_SYSTEMS[WEIGHT]} in the "
        "middle, a strip of a fixed digital link below"
    )


def draw_send(target: Path) -> None:
    """What ``make send`` shows."""
    x = read_image(sample_photo()).pixels[None]
    image, value, _ = sent(WEIGHT, x, SEND_SNR_DB)
    caption = f"received: {WEIGHT}, awgn {SEND_SNR_DB:g} dB, CBR 1/6, {value:.1f} dB"
    sheet = side_by_side([("sent", x[0]), (caption, image)])
    sheet.save(target, quality=88, method=6)


def draw_cliff(target: Path) -> None:
    """The photograph at three SNRs: by an adapted digital link, by the learned codec, and a strip of it by a fixed scheme."""
    x = read_image(sample_photo()).pixels[None]
    cells = []
    for system, snr_db in places():
        image, value, ok = sent(system, x, snr_db)
        record = records()[system, snr_db]
        if ok != (record.outage_rate == 0) or (ok and abs(value - (record.mean or 0.0)) > 0.05):
            raise SystemExit(f"{system} at {snr_db:g} dB: {value:.2f} dB here, {record.mean} in results/cliff-photo.csv")
        caption = f"{CLIFF_SYSTEMS[system]}, {snr_db:g} dB: " + (f"{value:.1f} dB" if ok else "lost")
        shown = STRIP if system == FIXED else slice(None)
        cells.append((caption, image[:, shown] if ok else stamped(x[0, :, shown] * 0 + LOST_GREY, "frame lost")))
    sheet = side_by_side(cells, columns=len(CLIFF_SNR_DB))
    sheet.save(target, quality=80, method=6)


def sent(system: str, x: torch.Tensor, snr_db: float) -> tuple[torch.Tensor, float, bool]:
    """What arrives ``(3, H, W)``, its PSNR in dB, and whether it did arrive."""
    result = transmit(load(system), make_channel("awgn"), x, snr_db, ratio=RATIO)
    ok = result.reconstruction.ok is None or bool(result.reconstruction.ok[0])
    assert result.image is not None
    return result.image[0], psnr(x, result.image).item(), ok


if __name__ == "__main__":
    main()
