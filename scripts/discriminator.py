"""Whether the discriminator of a perceptual training looks at the codeword that it is told.

    python scripts/discriminator.py runs/ganjscc-photo --data-dir DATA

Takes the opponents of a run as they stand at its end (not the codec's average), sends crops of DIV2K and shows each, as sent
and as received, to the discriminator: beside the codeword that was received for it, and beside that of the next crop. The
shares of patches that it tells right go to results/discriminator.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from openjscc.data.datasets import open_dataset
from openjscc.files import write_atomically
from openjscc.link import transmit
from openjscc.models import configuration, create
from openjscc.models.ganjscc import GANJSCC
from openjscc.report.markdown import table_row
from openjscc.training.checkpoint import load_checkpoint
from openjscc.training.discriminator import PatchDiscriminator
from openjscc.training.recipe import recipe_from_dict
from openjscc.units import format_ratio

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "results" / "discriminator.json"
DATA, SNR_DB = "div2k", 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run, with last.ckpt")
    parser.add_argument("--data-dir", help="where the data sets lie; else OPENJSCC_DATA")
    parser.add_argument("--limit", type=int, help="only the first crops, to try it out: writes nothing")
    options = parser.parse_args()
    state = load_checkpoint(options.run)
    recipe = recipe_from_dict(state.recipe, str(options.run))
    codec = create("ganjscc", configuration("ganjscc", recipe.model.config, recipe.model.rates))
    assert isinstance(codec, GANJSCC)
    codec.load_state_dict(state.part("model"))
    opponent = PatchDiscriminator(codec.config.rates[-1], codec.stride, recipe.gan.codeword, recipe.gan.channels).eval()
    opponent.load_state_dict(state.part("discriminator"))
    pictures = open_dataset(DATA, options.data_dir, split="test", limit=options.limit)
    sent = [pictures[number][None].float() / 255 for number in range(len(pictures))]
    found = [{"ratio": format_ratio(ratio), **shares(codec, opponent, sent, ratio)} for ratio in codec.ratios]
    facts = {"recipe": recipe.note, "step": state.step, "data": DATA, "images": len(sent), "snr_db": SNR_DB, "found": found}
    print(json.dumps(facts, indent=1))
    if options.limit is None:
        write_atomically(RESULT, (json.dumps(facts, indent=1) + "\n").encode())


def shares(codec: GANJSCC, opponent: PatchDiscriminator, sent: list[torch.Tensor], ratio: float) -> dict[str, Any]:
    """Mean shares of the patches that are told right: of sent and of received pictures, each beside its own codeword and beside
    that of the next crop."""
    codec.train()  # an image is not clipped then, as the discriminator had it in training
    received, codewords = [], []
    for picture in sent:
        result = transmit(codec, "awgn", picture, SNR_DB, ratio=ratio)
        assert result.image is not None
        received.append(result.image)
        codewords.append(codec.arrived(result.received, result.frame.side).unscaled)
    strange = codewords[1:] + codewords[:1]
    right = {
        "sent": [told(opponent, picture, codeword) for picture, codeword in zip(sent, codewords, strict=True)],
        "sent, codeword of another": [told(opponent, picture, other) for picture, other in zip(sent, strange, strict=True)],
        "received": [1 - told(opponent, picture, codeword) for picture, codeword in zip(received, codewords, strict=True)],
        "received, codeword of another": [
            1 - told(opponent, picture, other) for picture, other in zip(received, strange, strict=True)
        ],
    }
    return {name: round(sum(values) / len(values), 4) for name, values in right.items()}


def table(facts: dict[str, Any]) -> str:
    """A row a ratio, shares in per cent."""
    names = [name for name in facts["found"][0] if name != "ratio"]
    lines = [table_row(["CBR", *names]), "|---" * (len(names) + 1) + "|"]
    lines += [table_row([found["ratio"], *(f"{100 * found[name]:.1f} %" for name in names)]) for found in facts["found"]]
    return "\n".join(lines)


def told(opponent: PatchDiscriminator, picture: torch.Tensor, codeword: torch.Tensor) -> float:
    """Share of the picture's patches that are taken for sent ones."""
    with torch.no_grad():
        return (opponent(picture, codeword) > 0).float().mean().item()


if __name__ == "__main__":
    main()
