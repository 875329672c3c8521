"""What the page about two tasks on one link says of the released weight, against the records of its studies."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from openjscc.bench.differences import Difference
from openjscc.bench.packing import unpack
from openjscc.bench.study_differences import DifferenceTable
from openjscc.bench.study_gains import GainTable
from openjscc.bench.study_places import read_tables
from openjscc.composite import CompositeCodec
from openjscc.models import read_info
from openjscc.systems import load
from openjscc.weightfile import SUFFIX

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "results" / "studies"
PAGE = ROOT / "docs" / "papers" / "generative-multitask.md"
WEIGHTS = ROOT / "src" / "openjscc" / "weights"
NAMES = sorted(path.name for path in STUDIES.glob("multitask-*"))
TRAINED_FOR_STUDIES = (
    "mtgsc.picture",
    "mtgsc.segmentation",
    "mtgsc.noise",
    "deeplab_jscc.crops",
    "jpeg-ldpc+fcn.crops",
    "mtgsc.more",
    "deeplab_jscc.more",
    "jpeg-ldpc+fcn.more",
)
"""Not in the package."""
pytestmark = pytest.mark.skipif(not NAMES, reason="needs the source tree")


def means(study: str, metric: str, channel: str = "awgn", system: str | None = None) -> dict[tuple[str, float], float]:
    """By system and SNR; of one system, where it is named."""
    records = unpack((STUDIES / study / "summary.json").read_text())
    return {
        (one["system"], one["snr_db"]): one["mean"]
        for one in records
        if (one["metric"], one["channel"]) == (metric, channel) and system in (None, one["system"])
    }


def differences(study: str, metric: str, over: str, channel: str = "awgn", of: str = "mtgsc") -> dict[float, Difference]:
    """By SNR."""
    tables = read_tables(STUDIES / study / "differences.json", DifferenceTable)
    (table,) = [one for one in tables if (one.section.metric, one.section.over) == (metric, over) and of in one.section.of]
    rows = [row for row in table.rows if row.system == of and row.place.channel == channel]
    return {row.at: row.difference for row in rows if row.at is not None and row.difference is not None}


def sign(one: Difference) -> int:
    """1 or -1 where the interval is above or below 0, 0 where it holds it."""
    assert one.low is not None
    assert one.high is not None
    return (one.low > 0) - (one.high < 0)


def signs(found: dict[float, Difference]) -> list[int]:
    """By SNR, from the lowest."""
    return [sign(found[snr]) for snr in sorted(found)]


def span(values: list[float], form: str = "{:.2f}") -> str:
    return f"{form.format(min(values))} to {form.format(max(values))}"


def said() -> list[str]:
    """What the page has to say, made from the records."""
    ahead = {over: differences("multitask-psnr-224", "psnr", over) for over in ("adjscc", "witt", "deepjscc")}
    assert all(one.low is not None and one.low > 0 for found in ahead.values() for one in found.values())
    leads = {over: span([one.value for one in found.values()]) for over, found in ahead.items()}
    psnr, lpips = (means("multitask-psnr-224", metric) for metric in ("psnr", "lpips"))
    assert min(ahead["adjscc"], key=lambda snr: ahead["adjscc"][snr].value) == 9.0
    assert all(lpips["mtgsc", snr] < lpips[other, snr] for snr in ahead["adjscc"] for other in ahead)
    jpeg = {metric: differences("multitask-psnr-224", metric, "jpeg-ldpc") for metric in ("psnr", "lpips")}
    assert all(sign(one) == 1 for one in jpeg["psnr"].values())
    assert min(jpeg["psnr"], key=lambda snr: jpeg["psnr"][snr].value) == 18.0
    assert sign(jpeg["lpips"][18.0]) == 0
    assert signs(differences("multitask-psnr-224", "ms_ssim", "adjscc")) == [1, 1, 1, 0, 0, 0, 0]
    assert signs(differences("multitask-psnr-224", "ms_ssim", "adjscc", "rayleigh:block"))[0] == -1
    assert signs(differences("multitask-psnr-224", "lpips", "adjscc", "rayleigh:block"))[0] == 1
    arrives = {
        bits: min(snr for (system, snr), value in psnr.items() if f"{bits}qam" in system and value > 20) for bits in (16, 64)
    }
    assert arrives == {16: 12.0, 64: 18.0}
    faded = {over: differences("multitask-psnr-224", "psnr", over, "rayleigh:block") for over in ("adjscc", "deepjscc", "witt")}
    assert all(one.low is not None and one.low > 0 for found in faded.values() for snr, one in found.items() if snr >= 6)
    alone, costs = (
        {snr: abs(one.value) for snr, one in differences("multitask-one-pictures", metric, "mtgsc.picture").items()}
        for metric in ("psnr", "lpips")
    )
    assert all(sign(one) == -1 for one in differences("multitask-one-pictures", "psnr", "mtgsc.picture").values())
    assert all(sign(one) == 1 for one in differences("multitask-one-pictures", "lpips", "mtgsc.picture").values())
    structure = [-one.value for one in differences("multitask-one-pictures", "ms_ssim", "mtgsc.picture").values()]
    assert min(alone) == 0.0
    assert sorted(alone.values()) == [alone[snr] for snr in sorted(alone)], "it costs more, the higher the SNR"
    nine, all_classes = (differences("multitask-one-segmentations", name, "mtgsc.segmentation") for name in ("miou_nine", "miou"))
    single = differences("multitask-one-segmentations", "miou_nine", "deeplab_jscc", of="mtgsc.segmentation")
    assert set(signs(single)) == {0}
    assert all(one.low is not None and one.low > 0 for found in (nine, all_classes) for one in found.values())
    return [
        *_segmentations(),
        *_small_crops(),
        *_overhead(),
        *_kodak(),
        *_steps(),
        f"ADJSCC by {leads['adjscc']} dB, WITT by {leads['witt']}, Deep JSCC by {leads['deepjscc']}",
        f"adapted JPEG+LDPC by {psnr['mtgsc', 18.0] - psnr['jpeg-ldpc', 18.0]:.2f} dB at 18 dB",
        f"{lpips['mtgsc', 9.0]:.3f} at 9 dB where ADJSCC has {lpips['adjscc', 9.0]:.3f}",
        f"Adapted JPEG has {lpips['jpeg-ldpc', 18.0]:.3f} at 18 dB and MTGSC {lpips['mtgsc', 18.0]:.3f}",
        f"LPIPS, too, {costs[0.0]:.4f} at 0 dB and {span([costs[snr] for snr in (6.0, 12.0, 18.0)], '{:.3f}')} above, "
        f"and {span(structure, '{:.3f}')} of MS-SSIM",
        f"{-faded['adjscc'][0.0].value:.2f} dB behind ADJSCC and {-faded['deepjscc'][0.0].value:.2f} behind Deep JSCC",
        f"{alone[0.0]:.2f} dB of PSNR at 0 dB and {alone[18.0]:.2f} at 18 dB",
        f"{span([100 * one.value for one in nine.values()], '{:.1f}')} points of mIoU of nine classes "
        f"and {span([100 * one.value for one in all_classes.values()], '{:.1f}')} of 21",
        f"above `deeplab_jscc.photo` by {span([100 * one.value for one in single.values()], '{:.1f}')} points of nine classes",
    ]


def _segmentations() -> list[str]:
    study, fixed, adapted, most = (
        "multitask-segmentation",
        "jpeg-ldpc:mcs=16qam-3/4-n1944+fcn",
        "jpeg-ldpc+fcn",
        "jpeg-ldpc:mcs=64qam-3/4-n1944+fcn",
    )
    beside = [
        differences(study, metric, "deeplab_jscc", channel)
        for channel in ("awgn", "rayleigh:block")
        for metric in ("miou_nine", "miou")
    ]
    assert all(one.low is not None and one.low > 0 for found in beside for one in found.values())
    nine, all_classes = ([100 * one.value for one in found.values()] for found in beside[:2])
    found = means(study, "miou_nine")
    ours, deeplab = ([value for (one, _), value in found.items() if one == system] for system in ("mtgsc", "deeplab_jscc"))
    over = {system: differences(study, "miou_nine", system) for system in (fixed, adapted, most)}
    assert signs(over[adapted]) == [1, 1, 1, 0, 0, -1, -1]
    assert signs(over[fixed]) == [1, 1, 1, 1, 0, 0, 0]
    assert signs(over[most]) == [1, 1, 1, 1, 1, 1, -1]
    assert signs(differences(study, "miou_nine", adapted, "rayleigh:block")) == [1, 1, 1, 0]
    below = {system: {snr: f"{-100 * one.value:.1f}" for snr, one in values.items()} for system, values in over.items()}
    fades = {system: list(means(study, "miou_nine", "rayleigh:block", system).values()) for system in ("mtgsc", "deeplab_jscc")}
    moves = [f"{100 * (max(values) - min(values)):.1f}" for values in fades.values()]
    assert set(signs(differences(study, "pixel_accuracy", "deeplab_jscc"))) == {0}
    assert signs(differences(study, "pixel_accuracy", "deeplab_jscc", "rayleigh:block"))[0] == -1
    accuracy, faded = means(study, "pixel_accuracy"), means(study, "pixel_accuracy", "rayleigh:block")
    of_ours, of_deeplab = (
        {f"{value:.3f}" for (one, _), value in accuracy.items() if one == system} for system in ("mtgsc", "deeplab_jscc")
    )
    assert len(of_deeplab) == 1
    records = unpack((STUDIES / study / "summary.json").read_text())
    uses = {f"{one['channel_uses']:,.0f}" for one in records if "jpeg" in one["system"]}
    of_mtgsc = {f"{one['channel_uses']:,.0f}" for one in records if one["system"] == "mtgsc"}
    text = (STUDIES / study / f"{study}.md").read_text()
    (row, *_) = [line for line in text.splitlines() if line.startswith("| JPEG+LDPC, adapted, FCN, CBR")]
    assert row.split(" | ")[1:3] == ["all lost", "all lost"]
    assert "(54 % lost)" in row.split(" | ")[3]
    return [
        f"by {span(nine, '{:.1f}')} points of mIoU of nine classes and {span(all_classes, '{:.1f}')} of 21",
        f"its mIoU of nine classes moves by only {100 * (max(ours) - min(ours)):.1f} points, "
        f"and that of `deeplab_jscc.photo` by {100 * (max(deeplab) - min(deeplab)):.1f}; "
        f"under block fading by {' and '.join(moves)}",
        f"open over AWGN, {min(of_ours)} to {max(of_ours)} to {min(of_deeplab)}, with",
        f"MTGSC is behind, {faded['mtgsc', 0.0]:.3f} to {faded['deeplab_jscc', 0.0]:.3f}",
        f"it is {100 * over[adapted][9.0].value:.1f} points of nine classes above "
        f"and at 12 dB {below[adapted][12.0]} below, both open",
        f"at 15 dB it is {below[adapted][15.0]} behind and at 18 dB {below[adapted][18.0]}",
        f"JPEG is {' to '.join(sorted({below[fixed][snr] for snr in (12.0, 15.0, 18.0)}))} points above MTGSC "
        f"from 12 dB up, open; with 64-QAM at 18 dB {below[most][18.0]} ahead",
        f"({min(uses)} or {max(uses)} on average, where MTGSC has {min(of_mtgsc)})",
    ]


def _small_crops() -> list[str]:
    study, small, fcn = "multitask-crops", "deeplab_jscc.crops", "jpeg-ldpc+fcn.crops"
    gained = differences(study, "miou_nine", "deeplab_jscc", of=small)
    assert set(signs(gained)) == {1}
    (gain,) = {f"{100 * one.value:.1f}" for one in gained.values()}
    level = {metric: differences(study, metric, small) for metric in ("miou_nine", "miou")}
    assert {sign(one) for found in level.values() for one in found.values()} == {0}
    within = [f"{max(abs(100 * one.value) for one in found.values()):.1f}" for found in level.values()]
    chain, found = differences(study, "miou_nine", fcn), means(study, "miou_nine")
    assert signs(chain) == [1, 0, -1, -1, -1]
    more = [f"{100 * (found[fcn, snr] - found['jpeg-ldpc+fcn', snr]):.1f}" for snr in (12.0, 18.0)]
    longer = differences(study, "miou_nine", "mtgsc", of="mtgsc.more")
    assert set(signs(longer)) == {1}
    assert signs(differences(study, "miou_nine", "jpeg-ldpc+fcn", of="mtgsc.more")) == [1, 1, 1, 0, 0]
    rival = differences(study, "miou_nine", "deeplab_jscc.more", of="mtgsc.more")
    assert set(signs(rival)) == {0}
    after = differences(study, "miou_nine", "jpeg-ldpc+fcn.more", of="mtgsc.more")[18.0]
    assert sign(after) == -1
    logs = [(ROOT / "results" / "training" / f"{name}.csv").read_text() for name in ("mtgsc.photo", "mtgsc.more")]
    ends = [float(re.findall(r"CBR 1/16 ([\d.]+) dB", log)[-1]) for log in logs]
    accuracy = means(study, "pixel_accuracy")
    floors = json.loads((ROOT / "results" / "multitask-floor.json").read_text())
    (background,) = [one["pixel_accuracy"] for one in floors if one["data"] == "voc-224"]
    assert max(value for (system, _), value in accuracy.items() if system == small) < background
    return [
        f"DeepLab JSCC gains {gain} points of nine classes, and is level with MTGSC: within {within[0]} points of nine classes "
        f"and {within[1]} of 21",
        f"MTGSC has {accuracy['mtgsc', 18.0]:.3f} and DeepLab JSCC then {accuracy[small, 18.0]:.3f}",
        f"MTGSC gains {100 * longer[18.0].value:.1f} points of nine classes at 18 dB (and {ends[1] - ends[0]:.2f} dB of PSNR",
        f"stays level with it (within {max(abs(100 * one.value) for one in rival.values()):.1f} points of nine classes",
        f"is ahead by {-100 * after.value:.1f} points at 18 dB",
        f"the chain gains {more[0]} points of nine classes at 12 dB and {more[1]} at 18 dB, "
        f"and MTGSC is behind from 12 dB up, by {-100 * chain[18.0].value:.1f} points at 18 dB",
    ]


def _kodak() -> list[str]:
    study = "multitask-psnr-kodak"
    ahead = [differences(study, "psnr", over) for over in ("adjscc", "witt", "deepjscc")]
    assert all(one.low is not None and one.low > 0 for found in ahead for one in found.values())
    (over, *_), psnr = ahead, means(study, "psnr")
    assert [over[snr].value for snr in sorted(over)][2:] == sorted(over[snr].value for snr in sorted(over) if snr >= 6)
    digital = [differences(study, "psnr", system) for system in ("jpeg-ldpc", "jpeg-ldpc:mcs=64qam-3/4-n1944")]
    assert [sign(digital[0][snr]) for snr in sorted(digital[0])] == [1, 1, 1, 1, 1, 0, 0]
    assert signs(differences(study, "lpips", "adjscc")) == [-1, -1, -1, -1, 0, -1, -1]
    assert signs(differences(study, "lpips", "jpeg-ldpc")) == [-1, -1, -1, -1, -1, 0, 0]
    assert f"{over[3.0].value:.2f}" == f"{over[6.0].value:.2f}"
    last = digital[1][18.0]
    assert last == digital[0][18.0]
    assert last.low is not None
    assert last.high is not None
    return [
        f"of ADJSCC by {over[0.0].value:.2f} dB at 0 dB, {over[3.0].value:.2f} at 3 and 6 dB, and from there it grows "
        f"with the SNR, as in the paper, to {over[18.0].value:.2f} at 18 dB",
        f"there, {psnr['jpeg-ldpc', 18.0]:.2f} dB where MTGSC has {psnr['mtgsc', 18.0]:.2f}: "
        f"by {-last.value:.2f} dB ({-last.high:.2f} to {-last.low:.2f}), open",
        f"at 15 dB it is {-digital[0][15.0].value:.2f} dB above MTGSC, open",
    ]


def _overhead() -> list[str]:
    (table,) = read_tables(STUDIES / "multitask-pictures" / "gains.json", GainTable)
    gains, half = (
        {row.system: row.gain for row in table.rows if row.at is not None and abs(row.at * under - 1) < 0.01}
        for under in (16, 32)
    )
    most = "jpeg-ldpc:mcs=64qam-3/4-n1944"
    times = {system: f"{1 / gain.value:.2f}" for system, gain in gains.items() if gain.value}
    assert (gains[most].low or 2) < 1 < (gains[most].high or 0)
    assert (half["jpeg-ldpc"].low or 0) > 1
    ends = [
        " to ".join(f"{1 / end:.2f}" for end in (one.high, one.low) if end)
        for one in (gains[most], half[most], half["jpeg-ldpc"])
    ]
    return [
        f"ADJSCC needs {times['adjscc']} times its channel uses, Deep JSCC {times['deepjscc']}, WITT {times['witt']}, "
        f"JPEG with 16-QAM {times['jpeg-ldpc:mcs=16qam-3/4-n1944']}",
        f"needs {times[most]} times as many ({ends[0]}, ",
        f"64-QAM needs {1 / (half[most].value or 1):.2f} times as many ({ends[1]}), "
        f"the adapted link {1 / (half['jpeg-ldpc'].value or 1):.2f} ({ends[2]})",
    ]


def _steps() -> list[str]:
    lpips, psnr = means("multitask-steps", "lpips"), means("multitask-steps", "psnr")
    for weight in ("mtgsc", "mtgsc.noise"):
        for snr in (0.0, 9.0, 18.0):
            assert max((value, system) for (system, at), value in psnr.items() if at == snr and _of(weight, system))[1] == weight
    return [
        f"from {lpips['mtgsc', 9.0]:.3f} to {lpips['mtgsc:steps=50', 9.0]:.3f} with 50 steps from the signal, and from "
        f"{lpips['mtgsc.noise', 9.0]:.3f} to {lpips['mtgsc.noise:steps=50', 9.0]:.3f} from noise",
        f"two steps from the signal have {lpips['mtgsc:steps=2', 18.0]:.4f} and one has {lpips['mtgsc', 18.0]:.4f}",
    ]


def _of(weight: str, system: str) -> bool:
    return system.partition(":")[0] == weight


def test_the_page_says_what_the_records_say() -> None:
    text = " ".join(PAGE.read_text("utf-8").split())
    assert [words for words in said() if words not in text] == []


@pytest.mark.parametrize("study", NAMES)
def test_the_studies_are_of_the_released_weights(study: str) -> None:
    records = unpack((STUDIES / study / "summary.json").read_text())
    learned = {(one["weight"], one["weight_sha256"]) for one in records if one["weight_sha256"]}
    assert any(name == "mtgsc.photo" for name, _ in learned)
    for whole, sha256 in learned:
        name = whole if "+" in whole else whole.partition(":")[0]
        if name in TRAINED_FOR_STUDIES:
            continue
        if "+" in name:
            system = load(name)
            assert isinstance(system, CompositeCodec)
            assert system.weight.sha256 == sha256, name
        else:
            assert read_info(WEIGHTS / f"{name}{SUFFIX}").sha256 == sha256, name
