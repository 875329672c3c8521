"""What was found of the systems for two tasks: sentences made from the studies' records, whoever is ahead."""

from __future__ import annotations

import json
import re
from pathlib import Path

from measured import Measured
from multitask_goals import CHAINS, RIVALS
from words import amount, at, single, span, times

from openjscc.studies.comparisons import read_tables
from openjscc.studies.gains import GainTable

FADING = "rayleigh:block"
LEARNED = {name: RIVALS[name] for name in ("adjscc", "witt", "deepjscc")}
MOST = "jpeg-ldpc:mcs=64qam-3/4-n1944"
FIXED = ("jpeg-ldpc:mcs=16qam-3/4-n1944", MOST)
ADAPTED, SMALL, CHAIN = "jpeg-ldpc", "deeplab_jscc.crops", "jpeg-ldpc+fcn"


def found(studies: Path) -> str:
    """A list for each study that was measured."""
    parts = {
        "multitask-psnr-224": _pictures,
        "multitask-psnr-kodak": _kodak,
        "multitask-one-pictures": _one_pictures,
        "multitask-one-segmentations": _one_segmentations,
        "multitask-segmentation": _segmentations,
        "multitask-crops": _crops,
        "multitask-pictures": _overhead,
        "multitask-steps": _steps,
    }
    there = [
        part(Measured(studies / name, "mtgsc")) for name, part in parts.items() if (studies / name / "summary.json").exists()
    ]
    lists = [f"**{title}**\n\n" + "\n".join(f"- {line}" for line in lines) for part in there for title, lines in part.items()]
    return "\n\n".join(lists) + "\n" if lists else ""


def _pictures(study: Measured) -> dict[str, list[str]]:
    jpeg = {ADAPTED: RIVALS[ADAPTED]}
    beside = {name: study.less(name, "psnr") for name in ("adjscc", ADAPTED)}
    least = {name: min(one, key=lambda snr: one[snr].value) for name, one in beside.items()}
    lpips = {system: study.means(system, "lpips") for system in ("mtgsc", *LEARNED)}
    lower = [
        f"of {name} {at([snr for snr in lpips['mtgsc'] if lpips['mtgsc'][snr] < lpips[system][snr]], list(lpips['mtgsc']))}"
        for system, name in LEARNED.items()
    ]
    return {
        "Pictures of 224x224, AWGN.": [
            study.against(LEARNED | jpeg, "psnr"),
            f"The difference is least at {least['adjscc']:g} dB to {LEARNED['adjscc']} and, with "
            f"{amount(beside[ADAPTED][least[ADAPTED]].value, 'psnr')}, at {least[ADAPTED]:g} dB to {RIVALS[ADAPTED]}.",
            study.against({"adjscc": LEARNED["adjscc"]} | jpeg, "lpips"),
            f"Mean LPIPS is lower than that {', '.join(lower)}. At 9 dB it is {lpips['mtgsc'][9.0]:.3f}, that of ADJSCC "
            f"{lpips['adjscc'][9.0]:.3f}.",
            study.against({"adjscc": LEARNED["adjscc"]}, "ms_ssim"),
            f"{_arrival(study)} In the paper they are left out below 12 and 18 dB.",
        ],
        "Pictures of 224x224, block Rayleigh fading, for which no weight was trained.": [
            study.against(LEARNED | jpeg, "psnr", FADING),
            *(study.against({"adjscc": LEARNED["adjscc"]}, metric, FADING) for metric in ("ms_ssim", "lpips")),
            f"{RIVALS[ADAPTED]} loses {study.lost(ADAPTED, 'psnr', FADING)}.",
        ],
    }


def _arrival(study: Measured) -> str:
    """From which SNR on the fixed schemes lose less than half of the pictures."""
    first = []
    for system in FIXED:
        there = [snr for snr, one in study.rows(system, "psnr").items() if (one.outage_rate or 0.0) < 0.5]
        first.append(f"{RIVALS[system]} from {min(there):g} dB on" if there else f"{RIVALS[system]} at no SNR")
    return f"Half of the pictures or more arrive of {', of '.join(first)}."


def _kodak(study: Measured) -> dict[str, list[str]]:
    beside = study.less("adjscc", "psnr")
    steps = ", ".join(f"{beside[snr].value:+.2f}" for snr in sorted(beside))
    snrs = ", ".join(f"{snr:g}" for snr in sorted(beside))
    ours = study.means("mtgsc", "psnr")
    ends = [f"{RIVALS[name]} {study.means(name, 'psnr')[18.0]:.2f} dB ({single(study.less(name, 'psnr')[18.0], 'psnr')})"
            for name in (MOST, ADAPTED)]  # fmt: skip
    return {
        "Kodak, 768x512, AWGN.": [
            study.against(LEARNED | {name: RIVALS[name] for name in (*FIXED, ADAPTED)}, "psnr"),
            f"The difference to ADJSCC is {steps} dB at {snrs} dB. In the paper the lead grows with the SNR.",
            f"At 18 dB MTGSC has {ours[18.0]:.2f} dB, {', '.join(ends)}.",
            study.against({name: RIVALS[name] for name in ("adjscc", ADAPTED)}, "lpips"),
        ]
    }


def _one_pictures(study: Measured) -> dict[str, list[str]]:
    lines = []
    for metric in ("psnr", "lpips", "ms_ssim"):
        change = study.less("mtgsc.picture", metric)
        ends = ", ".join(f"{amount(change[snr].value, metric)} at {snr:g} dB" for snr in (min(change), max(change)))
        lines.append(f"{study.against({'mtgsc.picture': 'the same network for pictures alone'}, metric)[:-1]}: {ends}.")
    return {"The second task, pictures.": lines}


def _one_segmentations(study: Measured) -> dict[str, list[str]]:
    alone = {"mtgsc.segmentation": "the same network for segmentations alone"}
    single_task = study.against({"deeplab_jscc": "`deeplab_jscc.photo`"}, "miou_nine", of="mtgsc.segmentation")
    return {
        "The second task, segmentations.": [
            *(study.against(alone, metric) for metric in ("miou_nine", "miou")),
            f"The network for segmentations alone: {single_task}",
        ]
    }


def _segmentations(study: Measured) -> dict[str, list[str]]:
    deeplab = {"deeplab_jscc": "`deeplab_jscc.photo`"}
    moves = [
        " and ".join(f"{100 * (max(values) - min(values)):.1f}" for values in
                     (study.means(system, "miou_nine", channel).values() for system in ("mtgsc", "deeplab_jscc")))
        for channel in ("awgn", FADING)
    ]  # fmt: skip
    accuracy = [
        f"{min(values):.3f} to {max(values):.3f}"
        for values in (study.means(system, "pixel_accuracy").values() for system in ("mtgsc", "deeplab_jscc"))
    ]
    uses = {
        name: {f"{one.channel_uses:,.0f}" for one in study.records if name in one.system and one.channel_uses is not None}
        for name in ("jpeg", "mtgsc")
    }
    return {
        "Segmentations, at most 5,000 channel uses, AWGN.": [
            *(study.against(deeplab | CHAINS, metric) for metric in ("miou_nine", "miou")),
            f"{CHAINS[CHAIN]} loses {study.lost(CHAIN, 'miou_nine')}.",
            f"From 0 to 18 dB the mIoU of nine classes of MTGSC and of `deeplab_jscc.photo` moves by {moves[0]} points.",
            f"{study.against(deeplab, 'pixel_accuracy')} MTGSC has {accuracy[0]}, `deeplab_jscc.photo` {accuracy[1]}, "
            f"and background everywhere {_background(study):.3f}.",
            f"Channel uses on average: JPEG {' or '.join(sorted(uses['jpeg']))}, MTGSC {' or '.join(sorted(uses['mtgsc']))}.",
        ],
        "The same, block Rayleigh fading.": [
            *(study.against(deeplab | {CHAIN: CHAINS[CHAIN]}, metric, FADING) for metric in ("miou_nine", "miou")),
            f"{CHAINS[CHAIN]} loses {study.lost(CHAIN, 'miou_nine', FADING)}.",
            f"The mIoU of nine classes of MTGSC and of `deeplab_jscc.photo` moves by {moves[1]} points.",
            study.against(deeplab, "pixel_accuracy", FADING),
        ],
    }


def _background(study: Measured) -> float:
    floors = json.loads((study.folder.parents[1] / "multitask-floor.json").read_text())
    (value,) = [one["pixel_accuracy"] for one in floors if one["data"] == "voc-224"]
    return value


def _crops(study: Measured) -> dict[str, list[str]]:
    small = {SMALL: "DeepLab JSCC, small crops"}
    chain = {"jpeg-ldpc+fcn.crops": "JPEG+LDPC+FCN, adapted, small crops"}
    accuracy = [study.means(system, "pixel_accuracy")[18.0] for system in ("mtgsc", SMALL)]
    nine = [study.means(system, "miou_nine") for system in ("jpeg-ldpc+fcn.crops", CHAIN)]
    gained = [nine[0][snr] - nine[1][snr] for snr in nine[1]]
    logs = [(study.folder.parents[1] / "training" / f"{name}.csv").read_text() for name in ("mtgsc.photo", "mtgsc.more")]
    ends = [float(re.findall(r"CBR 1/16 ([\d.]+) dB", log)[-1]) for log in logs]
    after = {"deeplab_jscc.more": "DeepLab JSCC, small crops and a third more", "jpeg-ldpc+fcn.more": "JPEG with FCN, so trained"}
    return {
        "All trained on crops of 112x112, as MTGSC is.": [
            f"DeepLab JSCC: {study.against({'deeplab_jscc': 'itself with larger crops'}, 'miou_nine', of=SMALL)}",
            f"FCN gains {span(gained, 'miou_nine')} of nine classes, from 6 to 18 dB.",
            *(f"MTGSC: {study.against(small | chain, metric)}" for metric in ("miou_nine", "miou")),
            f"Pixel accuracy at 18 dB: MTGSC {accuracy[0]:.3f}, DeepLab JSCC {accuracy[1]:.3f}, background everywhere "
            f"{_background(study):.3f}.",
        ],
        "All with a third more crops.": [
            f"MTGSC: {study.against({'mtgsc': 'itself before'}, 'miou_nine', of='mtgsc.more')} PSNR in the validation: "
            f"{ends[1] - ends[0]:+.2f} dB.",
            study.against({CHAIN: "JPEG with `fcn.voc`"} | after, "miou_nine", of="mtgsc.more"),
        ],
    }


def _overhead(study: Measured) -> dict[str, list[str]]:
    (table,) = read_tables(study.folder / "gains.json", GainTable)
    lines = []
    for under in (16, 32):
        needs = [
            f"{RIVALS[row.system]} {times(row.gain)}"
            for row in sorted(table.rows, key=lambda row: list(RIVALS).index(row.system))
            if row.at is not None and abs(row.at * under - 1) < 0.01
        ]
        lines.append(f"For the PSNR of MTGSC at CBR 1/{under}, times its channel uses: {', '.join(needs)}.")
    return {"Overhead at 18 dB, Kodak; below 1, the other system needs less.": lines}


def _steps(study: Measured) -> dict[str, list[str]]:
    lines = []
    for weight, start in (("mtgsc", "the signal"), ("mtgsc.noise", "noise")):
        systems = {one.system for one in study.records if one.system.partition(":")[0] == weight}
        psnr, lpips = ({system: study.means(system, metric) for system in systems} for metric in ("psnr", "lpips"))
        best = [snr for snr in psnr[weight] if max(systems, key=lambda system: psnr[system][snr]) == weight]
        lowest = [snr for snr in lpips[weight] if min(systems, key=lambda system: lpips[system][snr]) == weight]
        lines.append(
            f"From {start}, one step has the best PSNR {at(best, list(psnr[weight]))} and the best LPIPS "
            f"{at(lowest, list(lpips[weight]))}. At 9 dB LPIPS is {lpips[weight][9.0]:.3f} with one step and "
            f"{lpips[f'{weight}:steps=50'][9.0]:.3f} with 50."
        )
    two = study.means("mtgsc:steps=2", "lpips")[18.0]
    one = study.means("mtgsc", "lpips")[18.0]
    return {
        "Steps of the diffusion decoder (16 pictures; no intervals).": [
            *lines,
            f"At 18 dB LPIPS is {one:.4f} with one step from the signal and {two:.4f} with two.",
        ]
    }
