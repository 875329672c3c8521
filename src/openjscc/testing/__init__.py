"""Conformance suites for third-party parts: each raises `CheckFailed`, which says what rule was broken and how."""

from __future__ import annotations

from ._failure import CheckFailed
from .channels import check_channel
from .codecs import check_codec

__all__ = ["CheckFailed", "check_channel", "check_codec"]
