"""Parts that two or more models share."""

from .attention import ChannelAttention
from .blocks import Bottleneck, Downsample, Residual, Upsample, bottlenecks
from .gdn import GDN
from .shortcut import ShortcutCodec
from .stages import Stages

__all__ = [
    "GDN", "Bottleneck", "ChannelAttention", "Downsample", "Residual", "ShortcutCodec", "Stages", "Upsample", "bottlenecks",
]  # fmt: skip
