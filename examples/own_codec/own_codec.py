"""A system of your own: pixels as symbols, without any coding (analogue). `openjscc bench --systems uncoded` takes it."""

import torch

from openjscc.codec import Conditions, Frame, Received, Reconstruction, Side
from openjscc.errors import UsageError
from openjscc.header import HeaderFormat, identity_of, payload_of, quantize_scale
from openjscc.power import normalize_power


class Uncoded:
    name, ratios, tasks, uses_gain = "uncoded", (0.5,), ("reconstruction",), False
    header = HeaderFormat(identity_of(name), scale=True)

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        if conditions.ratio is not None and abs(float(torch.as_tensor(conditions.ratio).max()) - 0.5) > 0.01:
            raise UsageError(f"bandwidth ratio {conditions.ratio}", "uncoded transmission has 1/2 only")
        values = torch.nn.functional.pad((2 * x - 1).flatten(1), (0, x[0].numel() % 2))  # two values to a symbol
        symbols = torch.view_as_complex(values.unflatten(1, (-1, 2)).contiguous())
        scale = quantize_scale(symbols.abs().square().mean(1).sqrt())
        length = torch.full((len(x),), symbols.shape[1], device=x.device)
        side = Side(*x.shape[-2:], scale=scale)
        return self.header.frame(normalize_power(symbols, length), length, side, conditions)

    def decode(self, received: Received) -> Reconstruction:
        side, ok = self.header.read(received)  # all that the receiver knows is in the symbols
        if side is None:
            return Reconstruction(ok=ok)
        count = 3 * side.height * side.width
        ok = ok & (side.head + (count + 1) // 2 == received.length)  # else it is cut, or not what its header says
        if not ok.any():
            return Reconstruction(ok=ok)
        payload = payload_of(received.symbols, side, (count + 1) // 2) * side.scale[:, None]
        values = torch.view_as_real(payload).flatten(1)[:, :count]
        image = ((values + 1) / 2).clamp(0, 1).reshape(-1, 3, side.height, side.width)
        return Reconstruction(image=image, ok=ok)
