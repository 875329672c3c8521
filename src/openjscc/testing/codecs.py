"""Does a codec keep the contract of `openjscc.codec`?"""

from __future__ import annotations

import copy
import io

import torch
from torch import nn

from ..channels import make_channel
from ..codec import Codec, Conditions, Frame, Received, Reconstruction, adapts_rate, is_bound, takes_any_ratio
from ..errors import UsageError
from ..power import mean_power, sent_mask
from ._failure import CheckFailed, require

SIZES = ((32, 32), (1, 1), (17, 40), (47, 33))
SNR_DB = 10.0


def check_codec(codec: Codec, sizes: tuple[tuple[int, int], ...] = SIZES) -> None:
    """Hold a codec against every rule of the contract.

    Shapes and types, power per image, any picture size, batch independence (an image's symbols and result do not depend
    on its neighbours or on their SNR), determinism, the account of channel uses, refusal of ratios it does not have; of
    a codec that chooses its rate (`openjscc.codec.adapts_rate`), that it tells and counts its choice; of one that is a
    `torch.nn.Module`, also that gradients reach every parameter and that saving and loading its parameters gives the same
    output. All that holds for each of its tasks; ratios are tried on the first one, the others choose their own.

    Args:
        codec: in evaluation mode, if it is a module.
        sizes: (H, W) of the pictures to try.

    Raises:
        CheckFailed: names the rule and what was measured.
    """
    for size in sizes:
        check_shapes_and_power(codec, size)
    for task in codec.tasks:
        check_determinism(codec, task)
        check_batch_independence(codec, task)
    check_ratios(codec)
    if adapts_rate(codec):
        check_policy(codec)
    if isinstance(codec, nn.Module):
        check_gradients(codec)
        check_state(codec)


def check_shapes_and_power(codec: Codec, size: tuple[int, int]) -> None:
    """Types and shapes of frame and reconstruction; mean symbol energy 1 per image to 1e-4, nothing sent after ``length``."""
    x = _pictures(3, size)
    x[1] = 0.25  # a flat picture, beside textured ones
    places = [(codec.tasks[0], ratio) for ratio in codec.ratios] + [(task, None) for task in codec.tasks[1:]]
    for task, ratio in places:
        frame, reconstruction = _send(codec, x, ratio, task=task)
        where = f"{size[1]}x{size[0]}, " + (task if ratio is None else f"ratio {ratio:.4g}")
        require(frame.symbols.dtype == torch.complex64, f"{where}: symbols are {frame.symbols.dtype}, not complex64")
        require(frame.symbols.ndim == 2 and len(frame.symbols) == 3, f"{where}: symbols have shape {tuple(frame.symbols.shape)}")
        k = frame.symbols.shape[1]
        require(
            frame.length.shape == (3,) and bool((frame.length <= k).all()), f"{where}: length {frame.length.tolist()} for k = {k}"
        )
        power = mean_power(frame.symbols, frame.length)
        require(bool(((power - 1).abs() < 1e-4).all()), f"{where}: mean symbol energy per image {power.tolist()}, not 1")
        after = frame.symbols[~sent_mask(frame.length, k)]
        require(bool((after == 0).all()), f"{where}: symbols after `length` are not zero")
        require(
            (frame.side.height, frame.side.width) == size,
            f"{where}: side information says {frame.side.height}x{frame.side.width}",
        )
        require(frame.side.genie is None or is_bound(codec), f"{where}: bits reach the receiver past the channel, in no bound")
        image = reconstruction.image
        if image is not None:
            require(image.shape == x.shape, f"{where}: image comes out as {tuple(image.shape)}")
            require(bool(torch.isfinite(image).all()), f"{where}: image has values that are not finite")
            low, high = image.min().item(), image.max().item()
            require(low >= 0 and high <= 1, f"{where}: image values from {low:g} to {high:g}, not in [0, 1]")
        scores = reconstruction.segmentation
        if scores is not None:
            shape = tuple(scores.shape)
            require(len(shape) == 4 and (shape[0], *shape[2:]) == (3, *size), f"{where}: a segmentation comes out as {shape}")
            require(bool(torch.isfinite(scores).all()), f"{where}: a segmentation has values that are not finite")
        wanted = {"reconstruction": image, "segmentation": scores}
        require(wanted.get(task, image) is not None, f"{where}: nothing comes out for the task {task}")
        require(frame.side.task == task, f"{where}: side information says the task is {frame.side.task}")


def check_determinism(codec: Codec, task: str = "") -> None:
    """The same pictures and the same channel give the same symbols and the same result."""
    x = _pictures(2, (32, 32))
    (first, one), (second, two) = _send(codec, x, None, task=task), _send(codec, x, None, task=task)
    require(torch.equal(first.symbols, second.symbols), "encode gives other symbols the second time")
    require(_same(one, two, 0.0), "decode gives another result the second time")


def check_batch_independence(codec: Codec, task: str = "") -> None:
    """What is sent of an image, and what comes out, is the same alone and in any company, at any SNR of the others."""
    x = _pictures(3, (32, 40))
    x[0] *= 0.05  # if power is shared in the batch, dark and bright pictures borrow from each other
    snr_db = torch.tensor([0.0, 20.0, 10.0])
    together, result = _send(codec, x, None, snr_db, task=task)
    for i in range(3):
        alone, single = _send(codec, x[i : i + 1], None, snr_db[i : i + 1], first=i, task=task)
        k = int(alone.length[0])
        require(int(together.length[i]) == k, f"image {i} sends {k} symbols alone and {int(together.length[i])} in a batch")
        error = (together.symbols[i, :k] - alone.symbols[0, :k]).abs().max().item()
        require(error < 1e-3, f"image {i}: symbols differ by {error:.3g} between a batch and alone")
        if result.image is not None and single.image is not None:
            error = (result.image[i] - single.image[0]).abs().max().item()
            require(error < 5e-3, f"image {i}: the result differs by {error:.3g} between a batch and alone")
        if result.segmentation is not None and single.segmentation is not None:
            largest = single.segmentation.abs().max().item()
            error = (result.segmentation[i] - single.segmentation[0]).abs().max().item()
            require(error < 5e-3 * max(1, largest), f"image {i}: its scores differ by {error:.3g} between a batch and alone")


def check_ratios(codec: Codec) -> None:
    """A higher ratio sends more, each is what it says (within padding and header), and an unknown one is refused."""
    x = _pictures(1, (64, 64))
    lengths = [int(_send(codec, x, ratio)[0].length[0]) for ratio in codec.ratios]
    require(lengths == sorted(set(lengths)), f"channel uses {lengths} do not rise with the ratios {codec.ratios}")
    for ratio, length in zip(codec.ratios, lengths, strict=True):
        payload = ratio * 3 * 64 * 64
        require(payload <= length <= payload + 64, f"ratio {ratio:.4g} of 64x64 is {payload:.0f} uses, sent are {length}")
    refused = -1.0 if takes_any_ratio(codec) else 7.77
    try:
        _send(codec, x, refused)
    except UsageError:
        return
    raise CheckFailed(f"a ratio that the codec does not have ({refused}) is not refused with UsageError")


def check_policy(codec: Codec) -> None:
    """Without a ratio each picture is sent at one of the ratios, which the receiver is told, just as if it had been asked for."""
    x = _pictures(4, (32, 40))
    x[1] = 0.25
    x[2] *= 0.05
    snr_db = torch.tensor([0.0, 20.0, 10.0, 5.0])
    free, result = _send(codec, x, None, snr_db)
    require(free.side.rate is not None, "the receiver is not told the rate that was chosen")
    assert free.side.rate is not None
    chosen = torch.tensor(codec.ratios)[free.side.rate.cpu()]
    forced, asked = _send(codec, x, chosen, snr_db)
    lengths = (free.length.tolist(), forced.length.tolist())
    require(lengths[0] == lengths[1], f"channel uses {lengths[0]}, but {lengths[1]} when the chosen ratios are asked for")
    require(torch.equal(free.symbols, forced.symbols), "other symbols are sent than when the chosen ratios are asked for")
    require(_same(result, asked, 0.0), "another picture comes out than when the chosen ratios are asked for")


def check_gradients(codec: nn.Module) -> None:
    """A loss on what comes out moves every parameter (each first moved a little, off any start at zero)."""
    model = copy.deepcopy(codec).train().requires_grad_(True)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    ratios = torch.tensor([*model.ratios] * 2)  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
    x = _pictures(len(ratios), (32, 32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)  # a policy may draw
        first, *others = model.tasks  # pyright: ignore[reportGeneralTypeIssues]
        ways = [(ratios, first), *((None, task) for task in others)]
        if adapts_rate(model):  # pyright: ignore[reportArgumentType]
            ways.append((None, first))
        for asked, task in ways:
            _, reconstruction = _send(model, x, asked, torch.linspace(0, 20, len(ratios)), task=task)  # pyright: ignore[reportArgumentType]
            if reconstruction.image is not None:
                (reconstruction.image - x).square().mean().backward()
            elif reconstruction.segmentation is not None:
                reconstruction.segmentation.square().mean().backward()
            else:
                return
    missed = [name for name, parameter in model.named_parameters() if parameter.grad is None or not bool(parameter.grad.any())]
    require(not missed, f"no gradient reaches {', '.join(missed)}")


def check_state(codec: nn.Module) -> None:
    """Parameters that are written and read again give the same result."""
    buffer = io.BytesIO()
    torch.save(codec.state_dict(), buffer)
    buffer.seek(0)
    other = copy.deepcopy(codec)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    x = _pictures(1, (32, 32))
    before, after = _send(codec, x, None)[1], _send(other, x, None)[1]  # pyright: ignore[reportArgumentType]
    require(_same(before, after, 0.0), "the result changes when parameters are saved and loaded")


def _pictures(batch: int, size: tuple[int, int]) -> torch.Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def _send(
    codec: Codec, x: torch.Tensor, ratio: float | torch.Tensor | None, snr_db: torch.Tensor | None = None, first: int = 0,
    task: str = "",
) -> tuple[Frame, Reconstruction]:  # fmt: skip
    """Over AWGN, for the codec's first task unless another is named; image i meets the draw of number ``first + i``."""
    snr_db = torch.full((len(x),), SNR_DB) if snr_db is None else snr_db
    generators = [torch.Generator().manual_seed(first + i) for i in range(len(x))]
    with torch.set_grad_enabled(isinstance(codec, nn.Module) and codec.training):
        frame = codec.encode(x, Conditions(snr_db=snr_db, ratio=ratio, task=task or codec.tasks[0]))
        received: Received = make_channel("awgn")(frame, snr_db, generators)
        return frame, codec.decode(received)


def _same(one: Reconstruction, two: Reconstruction, tolerance: float) -> bool:
    pairs = ((one.image, two.image), (one.segmentation, two.segmentation))
    return all(a is b or (a is not None and b is not None and bool(((a - b).abs() <= tolerance).all())) for a, b in pairs)
