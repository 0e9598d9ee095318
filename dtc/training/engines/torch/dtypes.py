"""The types of ONNX as those of torch, and arrays as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from dtc.errors import EngineError

_DTYPES: dict[ir.DataType, torch.dtype] = {
    ir.DataType.FLOAT: torch.float32,
    ir.DataType.DOUBLE: torch.float64,
    ir.DataType.FLOAT16: torch.float16,
    ir.DataType.BFLOAT16: torch.bfloat16,
    ir.DataType.INT8: torch.int8,
    ir.DataType.INT16: torch.int16,
    ir.DataType.INT32: torch.int32,
    ir.DataType.INT64: torch.int64,
    ir.DataType.UINT8: torch.uint8,
    ir.DataType.UINT16: torch.uint16,
    ir.DataType.UINT32: torch.uint32,
    ir.DataType.UINT64: torch.uint64,
    ir.DataType.BOOL: torch.bool,
    ir.DataType.COMPLEX64: torch.complex64,
    ir.DataType.COMPLEX128: torch.complex128,
}


def dtype_of(number: int) -> torch.dtype:
    """Return the torch type of an ONNX type number, as attributes such as `to` hold it.

    Raises:
        EngineError: Torch has no such type.
    """
    kind = ir.DataType(number)
    if kind not in _DTYPES:
        raise EngineError(f"the torch engine has no type {kind.name.lower()}")
    return _DTYPES[kind]


def tensor_of(array: npt.NDArray[Any]) -> torch.Tensor:
    """Return an array as a tensor, of the same memory where that may be written to.

    Raises:
        EngineError: Torch has no such type: strings, for one.
    """
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(np.array(array).view(np.int16)).view(torch.bfloat16)
    if array.dtype.kind not in "biufc":
        raise EngineError(f"the torch engine has no type {array.dtype}")
    writable = array if array.flags.writeable and array.flags.c_contiguous else np.array(array, order="C")
    return torch.from_numpy(writable)


def constant_of(tensor: ir.TensorProtocol) -> torch.Tensor:
    """Return the tensor of an initializer or attribute.

    Raises:
        EngineError: Torch has no such type; names the tensor.
    """
    try:
        dtype = _DTYPES[ir.DataType(tensor.dtype)]
    except KeyError:
        raise EngineError(
            f"initializer {tensor.name!r}: the torch engine has no type {tensor.dtype.name.lower()}"
        ) from None
    if dtype is torch.bfloat16:
        return torch.from_numpy(np.array(tensor.numpy()).view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(tensor.numpy(), order="C"))


def array_of(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """Return a tensor as an array on the host; bfloat16 as float32, which NumPy has not."""
    tensor = tensor.detach()
    return np.asarray((tensor.float() if tensor.dtype is torch.bfloat16 else tensor).cpu().numpy())
