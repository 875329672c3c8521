"""A system of your own: pixels as symbols, without any coding (analogue). `openjscc bench --systems uncoded` takes it."""

import torch

from openjscc.codec import Conditions, Frame, Received, Reconstruction, Side
from openjscc.errors import UsageError
from openjscc.header import HeaderFormat, header_symbols, quantize_scale
from openjscc.power import normalize_power


class Uncoded:
    name, ratios, tasks, uses_gain = "uncoded", (0.5,), ("reconstruction",), False
    header = HeaderFormat(scale=True)

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        if conditions.ratio is not None and abs(float(torch.as_tensor(conditions.ratio).max()) - 0.5) > 0.01:
            raise UsageError(f"bandwidth ratio {conditions.ratio}", "uncoded transmission has 1/2 only")
        values = torch.nn.functional.pad((2 * x - 1).flatten(1), (0, x[0].numel() % 2))  # two values to a symbol
        symbols = torch.view_as_complex(values.unflatten(1, (-1, 2)).contiguous())
        scale = quantize_scale(symbols.abs().square().mean(1).sqrt())
        side = Side(*x.shape[-2:], scale=scale)
        head = header_symbols(self.header.bits(side, len(x))).to(x.device)
        length = torch.full((len(x),), symbols.shape[1], device=x.device)
        return Frame(torch.cat([head, normalize_power(symbols, length)], 1), length + head.shape[1], side)

    def decode(self, received: Received) -> Reconstruction:
        side = received.side
        payload = received.symbols[:, self.header.uses(side.height, side.width) :] * side.scale[:, None]
        values = torch.view_as_real(payload).flatten(1)[:, : 3 * side.height * side.width]
        return Reconstruction(image=((values + 1) / 2).clamp(0, 1).reshape(-1, 3, side.height, side.width))
