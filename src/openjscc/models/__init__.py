"""Learned codecs. ``ls`` is the model list: one file per paper, or one package (mtgsc)."""

from . import adjscc, arjscc, deepjscc, deeplab_jscc, ganjscc, hybrid, mtgsc, spjscc, witt
from ._base import CodecConfig, LearnedCodec, PolicyDraw, TrainingOutput
from ._registry import ARCHITECTURES, Architecture, configuration, create, register
from ._weights import WeightInfo, export, list_models, load, read_info, resolve, verify, weight_files

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "CodecConfig",
    "LearnedCodec",
    "PolicyDraw",
    "TrainingOutput",
    "WeightInfo",
    "adjscc",
    "arjscc",
    "configuration",
    "create",
    "deepjscc",
    "deeplab_jscc",
    "export",
    "ganjscc",
    "hybrid",
    "list_models",
    "load",
    "mtgsc",
    "read_info",
    "register",
    "resolve",
    "spjscc",
    "verify",
    "weight_files",
    "witt",
]
