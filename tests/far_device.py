"""A second device for machines without one: its tensors compute on the CPU, and meet those of the CPU nowhere but in copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

FAR = torch.device("meta", 0)  # a type that needs no driver; meta tensors have no values, these do
aten = torch.ops.aten


class Far(torch.Tensor):
    """Says that it is on `FAR`; its values are in ``near``."""

    near: torch.Tensor

    @staticmethod
    def __new__(cls, near: torch.Tensor) -> Far:
        layout = {"strides": near.stride(), "storage_offset": near.storage_offset(), "dtype": near.dtype, "device": FAR}
        made = torch.Tensor._make_wrapper_subclass(cls, near.size(), **layout)  # pyright: ignore[reportAttributeAccessIssue]
        made.near = near
        return made

    def tolist(self) -> list:
        return self.near.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return compute(func, args, kwargs or {})


def compute(func: Any, args: tuple, kwargs: dict) -> Any:
    """An operation, where it has to be done.

    Raises:
        RuntimeError: tensors of two devices, as on a real one (single numbers may meet any).
    """
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    asked, packet = kwargs.get("device"), func.overloadpacket
    far = any(isinstance(tensor, Far) for tensor in tensors)
    if far and packet not in (aten._to_copy, aten.copy_) and any(t.ndim and not isinstance(t, Far) for t in tensors):
        raise RuntimeError(f"{func}: tensors of two devices")
    there = far if asked is None else torch.device(asked) == FAR  # "meta" alone is that of PyTorch
    if there and kwargs.get("generator") is not None:
        raise RuntimeError(f"{func}: a generator of another device")
    if asked is not None and there:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    inner_args, inner_kwargs = tree_map_only(Far, lambda tensor: tensor.near, (args, kwargs))
    found = func(*inner_args, **inner_kwargs)
    if packet.__name__.endswith("_"):  # in place
        return args[0]
    return tree_map_only(torch.Tensor, Far, found) if there else found


class _Computed(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return compute(func, args, kwargs or {})


class _Made(TorchFunctionMode):
    """Tensors from numbers are made on the CPU and moved."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.as_tensor, torch.tensor) and (device := kwargs.pop("device", None)) is not None:
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


@contextmanager
def far_device() -> Iterator[torch.device]:
    """`FAR` works inside, in this thread."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with _Made(), _Computed(), torch.no_grad():
            yield FAR
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
