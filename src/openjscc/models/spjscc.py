"""SP-JSCC: AR-JSCC trained for what a network at the receiver sees in the image."""

from __future__ import annotations

from typing import ClassVar

from ._registry import ARCHITECTURES, register
from .arjscc import ARJSCC


@register("spjscc", default_tag="cifar10", configs=ARCHITECTURES["arjscc"].configs)
class SPJSCC(ARJSCC):
    """SP-JSCC: the network of AR-JSCC under another loss, which weighs pixels by what they mean to a task.

    Q. Sun, C. Guo, Y. Yang, J. Chen, R. Tang, C. Liu: Deep joint source-channel coding based on semantics of pixels,
    IEEE/CIC Int. Conf. Communications in China (ICCC), 2022.

    ::

        x --[AR-JSCC]--> x'        loss = w' * |x' - x|^2, w' from the gradients of the task's output in x

    Differences from the paper:

    * Those of `ARJSCC`, whose SNR modulation stands for the SNR-adaptive modules that the paper takes from ADJSCC. Equation
      (10)'s sum of selected and other features is read as their concatenation, since the channel uses per pixel that the paper
      counts are those of both.
    """

    arch: ClassVar[str] = "spjscc"
