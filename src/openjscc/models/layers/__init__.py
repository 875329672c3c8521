"""Blocks shared by two or more models."""

from .attention import ChannelAttention
from .blocks import Bottleneck, Downsample, Upsample
from .gdn import GDN

__all__ = ["GDN", "Bottleneck", "ChannelAttention", "Downsample", "Upsample"]
