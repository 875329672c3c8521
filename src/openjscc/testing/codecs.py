"""Does a codec keep the contract of `openjscc.codec`?"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..channels import make_channel
from ..codec import Codec, CodecInfo, Conditions, Frame, Received, Reconstruction
from ..errors import UsageError
from ..header import LAYOUTS, REPEATS
from ..power import mean_power, sent_mask
from ._failure import CheckFailed, require
from ._receiver import CannotFollow, decode_elsewhere

SIZES = ((32, 32), (1, 1), (17, 40), (47, 33))
SNR_DB = 10.0
HEADER = max(REPEATS * layout.uses for layout in LAYOUTS)
"""Most channel uses that a header takes."""


class _Link:
    """A transmitter and a receiver that share nothing but the channel.

    The receiver is a copy that was made before anything was encoded. `far_decode` decodes in another process, where that copy
    can be pickled, so that what a codec keeps in its class or its module does not reach the receiver either.
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.receiver = _said("copying the codec", copy.deepcopy, codec)
        try:
            self._pickled = pickle.dumps(self.receiver)
        except (pickle.PicklingError, AttributeError, TypeError):
            self._pickled = None

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        rule = f"rule C3: encode of {len(x)} images of {x.shape[-1]}x{x.shape[-2]}"
        return _said(rule, self.codec.encode, x, conditions)

    def decode(self, received: Received) -> Reconstruction:
        with torch.set_grad_enabled(isinstance(self.receiver, nn.Module) and self.receiver.training):
            return _said("rule C4: decode from received symbols alone", self.receiver.decode, received)  # pyright: ignore[reportArgumentType]

    def far_decode(self, received: Received) -> Reconstruction | None:
        """`decode` in a fresh process; None where the codec cannot be taken there."""
        if self._pickled is None:
            return None
        try:
            return _said("rule C4: decode in another process", decode_elsewhere, self._pickled, received)
        except CannotFollow:
            return None

    def send(
        self, x: torch.Tensor, ratio: float | torch.Tensor | None, snr_db: torch.Tensor | None = None, first: int = 0,
        task: str = "",
    ) -> tuple[Frame, Reconstruction]:  # fmt: skip
        """Over AWGN, for the codec's first task unless another is named; image i meets the draw of number ``first + i``."""
        frame, received = self.over_the_air(x, ratio, snr_db, first, task)
        return frame, self.decode(received)

    def over_the_air(
        self, x: torch.Tensor, ratio: float | torch.Tensor | None, snr_db: torch.Tensor | None = None, first: int = 0,
        task: str = "",
    ) -> tuple[Frame, Received]:  # fmt: skip
        """The sent frame and what arrives of it, before it is decoded."""
        snr_db = torch.full((len(x),), SNR_DB) if snr_db is None else snr_db
        generators = [torch.Generator().manual_seed(first + i) for i in range(len(x))]
        with torch.set_grad_enabled(isinstance(self.codec, nn.Module) and self.codec.training):
            frame = self.encode(x, Conditions(snr_db=snr_db, ratio=ratio, task=task or self.codec.tasks[0]))
            return frame, make_channel("awgn")(frame, snr_db, generators)


def _said(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a part of the codec; whatever it raises by mistake becomes a sentence."""
    try:
        return function(*arguments)
    except (CheckFailed, UsageError, CannotFollow):
        raise
    except Exception as error:
        text = str(error).strip().splitlines()
        raise CheckFailed(f"{what} raised {type(error).__name__}: {text[0] if text else ''}".rstrip(": ")) from error


def check_codec(codec: Codec, sizes: tuple[tuple[int, int], ...] = SIZES) -> None:
    """Hold a codec against every rule of the contract (docs/conventions.md has the rules by number).

    Every frame is decoded by a second instance, a copy that was made before anything was encoded, from symbols alone; one of
    them in another process, where the codec can be pickled. Checked are shapes and types, power per image, any image size,
    batch independence (an image's symbols and result do not depend on its neighbours or on their SNR), determinism, the account
    of channel uses, refusal of ratios it does not have, and that nothing but the symbols tells the receiver about the image: the
    length says nothing, and noise gives no image. Of a codec that chooses its rate (`CodecInfo.has_policy`): that it counts
    its choice. Of a `torch.nn.Module`: that gradients reach every parameter and that saved parameters give the same
    result. All that holds for each of its tasks; ratios are tried on the first one, the others choose their own.

    Args:
        codec: in evaluation mode, if it is a module.
        sizes: (H, W) of the images to try.

    Raises:
        CheckFailed: one sentence: the rule, and what was measured.
    """
    link = _Link(codec)
    for size in sizes:
        check_shapes_and_power(link, size)
    for task in codec.tasks:
        check_determinism(link, task)
        check_batch_independence(link, task)
        check_receiver(link, task)
    check_ratios(link)
    if CodecInfo(codec).has_policy:
        check_policy(link)
    if isinstance(codec, nn.Module):
        check_gradients(codec)
        check_state(codec)


def check_shapes_and_power(link: _Link, size: tuple[int, int]) -> None:
    """Types and shapes of frame and reconstruction; mean symbol energy 1 per image to 1e-4, nothing sent after ``length``."""
    codec = link.codec
    x = _images(3, size)
    x[1] = 0.25  # a flat image, beside textured ones
    places = [(codec.tasks[0], ratio) for ratio in codec.ratios] + [(task, None) for task in codec.tasks[1:]]
    for task, ratio in places:
        frame, received = link.over_the_air(x, ratio, task=task)
        where = f"{size[1]}x{size[0]}, " + (task if ratio is None else f"ratio {ratio:.4g}")
        symbols, length = frame.symbols, frame.length
        require(symbols.dtype == torch.complex64, f"rule C3: {where}: symbols are {symbols.dtype}, not complex64")
        require(
            symbols.ndim == 2 and len(symbols) == 3, f"rule C3: {where}: symbols have shape {tuple(symbols.shape)}, not (3, k)"
        )
        k = symbols.shape[1]
        kept = length.shape == (3,) and bool(((length >= 1) & (length <= k)).all())
        require(kept, f"rule C3: {where}: length {length.tolist()} for k = {k}")
        if ratio is not None or not CodecInfo(codec).has_policy:
            told = len(set(length.tolist())) == 1
            require(told, f"rule C4: {where}: the length differs between images of one size and ratio", length.tolist())
        power = mean_power(symbols, length)
        kept = bool(((power - 1).abs() < 1e-4).all())
        require(kept, f"rule C6: {where}: mean symbol energy per image is {power.tolist()}, not 1")
        after = symbols[~sent_mask(length, k)]
        require(bool((after == 0).all()), f"rule C6: {where}: symbols after `length` are not zero")
        ours = (frame.side.height, frame.side.width, frame.side.task)
        require(ours == (*size, task), f"rule C4: {where}: `Frame.side` says {ours[1]}x{ours[0]}, {ours[2]}")
        past = frame.genie is None or CodecInfo(codec).bound
        require(past, f"rule C4: {where}: something reaches the receiver past the channel, in no bound")
        _check_result(where, link.decode(received), x, task)


def _check_result(where: str, reconstruction: Reconstruction, x: torch.Tensor, task: str) -> None:
    """Shapes and values of what came out, unless every frame was lost."""
    ok, image, scores = reconstruction.ok, reconstruction.image, reconstruction.segmentation
    if ok is not None:
        kept = ok.shape == (len(x),) and ok.dtype == torch.bool
        require(kept, f"rule C4: {where}: `ok` has shape {tuple(ok.shape)} and type {ok.dtype}, not ({len(x)},) bool")
        if not bool(ok.any()):
            return
    if image is not None:
        require(image.shape == x.shape, f"rule C1: {where}: the image comes out with shape {tuple(image.shape)}")
        require(bool(torch.isfinite(image).all()), f"rule C1: {where}: the image has values that are not finite")
        low, high = image.min().item(), image.max().item()
        require(low >= 0 and high <= 1, f"rule C1: {where}: the image has values from {low:g} to {high:g}, not in [0, 1]")
    if scores is not None:
        shape = tuple(scores.shape)
        kept = len(shape) == 4 and (shape[0], *shape[2:]) == (len(x), *x.shape[-2:])
        require(kept, f"rule C1: {where}: the segmentation comes out with shape {shape}")
        require(bool(torch.isfinite(scores).all()), f"rule C1: {where}: the segmentation has values that are not finite")
    wanted = {"reconstruction": image, "segmentation": scores}
    require(wanted.get(task, image) is not None, f"rule C1: {where}: nothing comes out for the task {task}")


def check_determinism(link: _Link, task: str = "") -> None:
    """The same images and the same channel give the same symbols and the same result."""
    x = _images(2, (32, 32))
    (first, one), (second, two) = link.send(x, None, task=task), link.send(x, None, task=task)
    require(torch.equal(first.symbols, second.symbols), "rule C12: encode gives other symbols the second time")
    require(_same(one, two, 0.0), "rule C12: decode gives another result the second time")


def check_batch_independence(link: _Link, task: str = "") -> None:
    """What is sent of an image, and what comes out, is the same alone and in any company, at any SNR of the others."""
    x = _images(3, (32, 40))
    x[0] *= 0.05  # if power is shared in the batch, dark and bright images borrow from each other
    snr_db = torch.tensor([0.0, 20.0, 10.0])
    together, result = link.send(x, None, snr_db, task=task)
    for i in range(3):
        alone, single = link.send(x[i : i + 1], None, snr_db[i : i + 1], first=i, task=task)
        k = int(alone.length[0])
        sent = int(together.length[i])
        require(sent == k, f"rule C6: image {i} sends {k} symbols alone and {sent} in a batch")
        error = (together.symbols[i, :k] - alone.symbols[0, :k]).abs().max().item()
        require(error < 1e-3, f"rule C6: the symbols of image {i} differ by {error:.3g} between a batch and alone")
        if result.image is not None and single.image is not None:
            error = (result.image[i] - single.image[0]).abs().max().item()
            require(error < 5e-3, f"rule C12: the result of image {i} differs by {error:.3g} between a batch and alone")
        if result.segmentation is not None and single.segmentation is not None:
            largest = single.segmentation.abs().max().item()
            error = (result.segmentation[i] - single.segmentation[0]).abs().max().item()
            limit = 5e-3 * max(1, largest)
            require(error < limit, f"rule C12: the scores of image {i} differ by {error:.3g} between a batch and alone")


def check_receiver(link: _Link, task: str = "") -> None:
    """All that the receiver knows of an image came in the symbols: another process decodes the same, and noise gives nothing."""
    if CodecInfo(link.codec).bound:
        return
    x = _images(6, (32, 40))
    frame, received = link.over_the_air(x, None, task=task)
    near, far = link.decode(received), link.far_decode(received)
    if far is not None:
        require(_same(near, far, 5e-3), "rule C4: another process decodes another result from the same symbols")
    noise = torch.view_as_complex(torch.randn(*frame.symbols.shape, 2, generator=torch.Generator().manual_seed(4)) * 0.5**0.5)
    noise = torch.where(sent_mask(frame.length, noise.shape[1]), noise.to(frame.symbols.device), 0)
    trials = {"noise": noise}
    if frame.side.head is not None:
        front = sent_mask(frame.side.head, noise.shape[1])
        trials["a header and noise"] = torch.where(front, frame.symbols, noise)
    for what, symbols in trials.items():
        result = link.decode(received.replace(symbols=symbols))
        if result.image is None or (result.ok is not None and not bool(result.ok.all())):
            continue
        error = (result.image[:, None] - x[None]).square().mean((2, 3, 4))  # of every result to every image
        found = error.argmin(1).tolist()
        require(found != list(range(6)), f"rule C4: an image comes out of {what} alone")


def check_ratios(link: _Link) -> None:
    """A higher ratio sends more, each is what it says (within padding and header), and an unknown one is refused."""
    codec = link.codec
    x = _images(1, (64, 64))
    lengths = [int(link.over_the_air(x, ratio)[0].length[0]) for ratio in codec.ratios]
    rising = lengths == sorted(set(lengths))
    require(rising, f"rule C5: channel uses {lengths} do not rise with the ratios {codec.ratios}")
    for ratio, length in zip(codec.ratios, lengths, strict=True):
        payload = ratio * 3 * 64 * 64
        kept = payload <= length <= payload + 64 + HEADER / REPEATS
        require(kept, f"rule C5: ratio {ratio:.4g} of 64x64 is {payload:.0f} uses and a header, sent are {length}")
    refused = -1.0 if CodecInfo(codec).any_ratio else 7.77
    try:
        link.over_the_air(x, refused)
    except UsageError:
        return
    raise CheckFailed(f"rule C5: a ratio that the codec does not have ({refused}) is not refused with UsageError")


def check_policy(link: _Link) -> None:
    """Without a ratio each image is sent at one of the ratios, which the header says, just as if it had been asked for."""
    x = _images(4, (32, 40))
    x[1] = 0.25
    x[2] *= 0.05
    snr_db = torch.tensor([0.0, 20.0, 10.0, 5.0])
    free, result = link.send(x, None, snr_db)
    require(free.side.rate is not None, "rule C4: the header does not say the rate that was chosen")
    assert free.side.rate is not None
    chosen = torch.tensor(link.codec.ratios)[free.side.rate.cpu()]
    forced, asked = link.send(x, chosen, snr_db)
    lengths = (free.length.tolist(), forced.length.tolist())
    same = lengths[0] == lengths[1]
    require(same, f"rule C3: channel uses {lengths[0]}, but {lengths[1]} when the chosen ratios are asked for")
    require(
        torch.equal(free.symbols, forced.symbols), "rule C4: other symbols are sent than when the chosen ratios are asked for"
    )
    require(_same(result, asked, 0.0), "rule C4: another image comes out than when the chosen ratios are asked for")


def check_gradients(codec: nn.Module) -> None:
    """A loss on what comes out moves every parameter (each first moved a little, off any start at zero)."""
    model = copy.deepcopy(codec).train().requires_grad_(True)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    link = _Link(model)  # pyright: ignore[reportArgumentType]
    link.receiver = link.codec  # one network: both halves' parameters get their gradient from one loss
    ratios = torch.tensor([*model.ratios] * 2)  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
    x = _images(len(ratios), (32, 32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)  # a policy may draw
        first, *others = model.tasks  # pyright: ignore[reportGeneralTypeIssues]
        ways = [(ratios, first), *((None, task) for task in others)]
        if CodecInfo(model).has_policy:  # pyright: ignore[reportArgumentType]
            ways.append((None, first))
        for asked, task in ways:
            reconstruction = _learning(link, x, asked, torch.linspace(0, 20, len(ratios)), task)
            if reconstruction.image is not None:
                (reconstruction.image - x).square().mean().backward()
            elif reconstruction.segmentation is not None:
                reconstruction.segmentation.square().mean().backward()
            else:
                return
    missed = [name for name, parameter in model.named_parameters() if parameter.grad is None or not bool(parameter.grad.any())]
    require(not missed, f"training: no gradient reaches {', '.join(missed)}")


def _learning(link: _Link, x: torch.Tensor, ratio: torch.Tensor | None, snr_db: torch.Tensor, task: str) -> Reconstruction:
    """One transmission in training: by the codec's ``forward_training``, where it has one."""
    forward = getattr(link.codec, "forward_training", None)
    if forward is None:
        return link.send(x, ratio, snr_db, task=task)[1]
    generators = [torch.Generator().manual_seed(i) for i in range(len(x))]
    conditions = Conditions(snr_db, ratio, task)
    return forward(x, conditions, lambda frame: make_channel("awgn")(frame, snr_db, generators)).reconstruction


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
    x = _images(1, (32, 32))
    before, after = (_Link(one).send(x, None)[1] for one in (codec, other))  # pyright: ignore[reportArgumentType]
    require(_same(before, after, 0.0), "weights: the result changes when parameters are saved and loaded")


def _images(batch: int, size: tuple[int, int]) -> torch.Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def _same(one: Reconstruction, two: Reconstruction, tolerance: float) -> bool:
    pairs = ((one.image, two.image), (one.segmentation, two.segmentation))
    if (one.ok is None) != (two.ok is None) or (one.ok is not None and not torch.equal(one.ok, two.ok)):  # pyright: ignore[reportArgumentType]
        return False
    return all(a is b or (a is not None and b is not None and bool(((a - b).abs() <= tolerance).all())) for a, b in pairs)
