"""Blocks shared by two or more models."""

from .attention import ChannelAttention
from .blocks import Bottleneck, Downsample, Upsample
from .gdn import GDN
from .generator import ChannelNorm, GeneratorBlock

__all__ = ["GDN", "Bottleneck", "ChannelAttention", "ChannelNorm", "Downsample", "GeneratorBlock", "Upsample"]
