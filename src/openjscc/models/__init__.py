"""Learned codecs. ``ls`` is the model list: one file a paper."""

from . import adjscc, deepjscc
from ._base import CodecConfig, LearnedCodec
from ._registry import ARCHITECTURES, Architecture, create, register
from ._weights import WeightInfo, export, list_models, load, read_info, resolve, verify, weight_files

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "CodecConfig",
    "LearnedCodec",
    "WeightInfo",
    "adjscc",
    "create",
    "deepjscc",
    "export",
    "list_models",
    "load",
    "read_info",
    "register",
    "resolve",
    "verify",
    "weight_files",
]
