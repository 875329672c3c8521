"""Time to encode and decode one picture, 256x256 pixels unless said otherwise, beside one plain 3x3 convolution with 64 channels
at that size; and the time of a whole `openjscc send` of a 768x512 picture (reading, loading and checking the weight, link,
metrics, writing), once Python and torch are loaded.

    python benchmarks/latency.py [--model adjscc.photo] [--size 256x256] [--ratio 1/6] [--threads 2] [--repeats 20] [--json]

The ratio of the two survives another machine; the milliseconds do not. Medians over the repeats.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable

import torch

import openjscc
from openjscc.codec import Conditions, Received
from openjscc.units import noise_var_from_snr, parse_ratio

SNR_DB = 10.0


def median_ms(run: Callable[[], object], repeats: int) -> float:
    """Median time of ``run`` in milliseconds, after three runs that do not count."""
    times = []
    for repeat in range(repeats + 3):
        start = time.perf_counter()
        run()
        if repeat >= 3:
            times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def size(text: str) -> tuple[int, int]:
    """Width and height."""
    width, _, height = text.partition("x")
    return int(width), int(height)


def measure(name: str, ratio: float | None, repeats: int, shape: tuple[int, int]) -> dict[str, object]:
    """Encode, decode and reference times of one model, for a picture of some width and height."""
    codec = openjscc.load(name)
    width, height = shape
    x = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    conditions = Conditions(snr_db=torch.tensor([SNR_DB]), ratio=ratio)
    noise_var = noise_var_from_snr(torch.tensor([SNR_DB]))
    plain = torch.nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    features = torch.rand(1, 64, height, width).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        frame = codec.encode(x, conditions)
        received = Received(frame.symbols, noise_var, None, frame.length)
        encode = median_ms(lambda: codec.encode(x, conditions), repeats)
        decode = median_ms(lambda: codec.decode(received), repeats)
        convolution = median_ms(lambda: plain(features), repeats)
    return {
        "model": codec.name,
        "size": f"{width}x{height}",
        "threads": torch.get_num_threads(),
        "gmac": round(codec.macs_per_pixel() * width * height / 1e9, 3),
        "encode_ms": round(encode, 2),
        "decode_ms": round(decode, 2),
        "convolution_ms": round(convolution, 2),
        "ratio": round((encode + decode) / convolution, 2),
        "torch": torch.__version__,
    }


def whole_send_ms(name: str, repeats: int) -> float:
    """Median time of ``openjscc send`` on a 768x512 picture within this process."""
    from openjscc.cli import main as command
    from openjscc.data.images import write_png

    with tempfile.TemporaryDirectory() as folder:
        picture, received = f"{folder}/picture.png", f"{folder}/received.png"
        smooth = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
        write_png(picture, torch.nn.functional.interpolate(smooth, size=(512, 768), mode="bicubic")[0].clamp(0, 1))
        arguments = ["send", picture, "--model", name, "-o", received, "-f"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return median_ms(lambda: command(arguments), repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to encode and decode, and to send.")
    parser.add_argument("--model", default="adjscc.photo")
    parser.add_argument("--size", type=size, default=(256, 256), help="width and height of the picture (default 256x256)")
    parser.add_argument("--ratio", type=parse_ratio)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = measure(options.model, options.ratio, options.repeats, options.size)
    result["send_768x512_ms"] = round(whole_send_ms(options.model, max(options.repeats // 4, 1)), 1)
    if options.json:
        print(json.dumps(result))
        return
    total = result["encode_ms"] + result["decode_ms"]  # pyright: ignore[reportOperatorIssue]
    print(f"{result['model']}, {result['size']}, {result['threads']} threads, {result['gmac']} GMAC, torch {result['torch']}")
    print(f"encode {result['encode_ms']} ms + decode {result['decode_ms']} ms = {total:.1f} ms")
    print(f"whole `openjscc send` of a 768x512 picture, after imports: {result['send_768x512_ms']} ms")
    print(f"one 64-channel 3x3 convolution: {result['convolution_ms']} ms; encode + decode take {result['ratio']} times that")


if __name__ == "__main__":
    main()
