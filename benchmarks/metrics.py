"""Time of the metrics of single pictures, for a new source and for one whose features are remembered.

OMP_NUM_THREADS=1 python benchmarks/metrics.py
OMP_NUM_THREADS=1 python benchmarks/metrics.py --size 256x256 --metrics psnr,lpips --repeats 5
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from openjscc.metrics import get_metric


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="768x512", help="width x height in pixels")
    parser.add_argument("--metrics", default="psnr,ssim,ms_ssim,lpips,lpips_vgg,dists")
    parser.add_argument("--repeats", type=int, default=3, help="the median of so many")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    generator = torch.Generator().manual_seed(0)
    print(f"{options.size}, {torch.get_num_threads()} threads, seconds")
    for name in options.metrics.split(","):
        function = get_metric(name).function
        seconds: dict[str, list[float]] = {"new source": [], "remembered": []}
        for _ in range(options.repeats + 1):  # the first one opens the network
            source, received = (torch.rand(1, 3, height, width, generator=generator) for _ in range(2))
            for times in seconds.values():
                start = time.perf_counter()
                function(source, received)
                times.append(time.perf_counter() - start)
        print(f"  {name:10s}", ", ".join(f"{kind} {median(times[1:]):.2f}" for kind, times in seconds.items()), flush=True)


if __name__ == "__main__":
    main()
