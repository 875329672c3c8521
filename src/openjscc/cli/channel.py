"""``openjscc channel``: a recording through a simulated channel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import frames_in_words, say
from .options import ChannelName, Force, Recording, Seed, Snr, one_snr, whole


def channel(
    recording: Annotated[Path, typer.Argument(metavar="IN", help="What tx wrote; - for standard input.")],
    output: Recording = Path("-"),
    name: ChannelName = "awgn",
    snr: Snr = "10",
    seed: Seed = 0,
    trial: Annotated[int, typer.Option("--trial", metavar="N", parser=whole(0), help="Number of the repetition.")] = 0,
    tell_noise: Annotated[
        bool,
        typer.Option("--tell-noise/--hide-noise", help="Whether the receiver is told the noise variance, or estimates it."),
    ] = True,
    force: Force = False,
) -> None:
    """Put the frames of a recording through a channel.

    A frame meets the noise and the fading that its image meets in send, eval and bench, with the same seed.

    \b
    openjscc channel frame.sigmf-meta --channel rayleigh:block --snr 7 -o received.sigmf-meta
    """
    from ..channels import make_channel
    from ..radio import pass_channel
    from ..recording import PIPE, check_recording, check_writable, load_frames, save_frames

    check_recording(recording)
    check_writable(output, force)
    law, snr_db = make_channel(name), one_snr(snr)
    bursts = (pass_channel(burst, law, snr_db, seed=seed, trial=trial, tell_noise=tell_noise) for burst in load_frames(recording))
    count = save_frames(output, bursts, overwrite=force)
    say(f"{frames_in_words(count)} through {law.name} at {snr_db:g} dB, seed {seed}")
    if str(output) != PIPE:
        print(output)
