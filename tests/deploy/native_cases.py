"""Nodes of the `dtc` operators on random weights: arrays, attributes, and the dense weight that they stand for.

The dense weight is worked out here, in double, from the definition of each operator's arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, require_operator

Array = npt.NDArray[Any]

EXACT = 2e-6
"""Relative L2 of float arithmetic in another order."""

TOLERANCE = {0: EXACT, 1: 5e-5, 4: 2e-2}
"""By accuracy level."""

CODEBOOK_TOLERANCE = {0: EXACT, 1: 2e-4, 4: 4e-2}
"""Likewise, where the weights are rounded too, of rows however short."""


@dataclass(frozen=True, eq=False)
class Case:
    """One node: what it is given at each run, its weight's arrays, and what they mean.

    Attributes:
        operator: Op type.
        given: `x` or `ids`, empty for an operator that has neither.
        arrays: The weight's, in the order of the inputs.
        attributes: The node's.
        dense: The weight `[rows, cols]`, float64.
        tolerance: How far the native kernel may be from the function's body, as `distance` counts it.
    """

    operator: str
    given: dict[str, Array]
    arrays: dict[str, Array]
    attributes: dict[str, int]
    dense: Array
    tolerance: float

    @property
    def feeds(self) -> dict[str, Array]:
        """All inputs, in order."""
        return self.given | self.arrays

    @property
    def rank(self) -> int:
        """Dimensions of the output."""
        return self.given["x"].ndim if "x" in self.given else self.given["ids"].ndim + 1 if "ids" in self.given else 2

    def expected(self) -> Array:
        """Return the output, in double."""
        if "x" in self.given:
            return self.given["x"].astype(np.float64) @ self.dense.T
        return self.dense[self.given["ids"]] if "ids" in self.given else self.dense

    def distance(self, found: Array, wanted: Array) -> float:
        """Return the relative L2 of two outputs.

        Of a product it is relative to what the product would be were the signs of its terms random, where that is more
        than what it is: that terms happen to cancel does not make a kernel worse.
        """
        assert found.shape == wanted.shape, (found.shape, wanted.shape)
        assert found.dtype == np.float32
        size = float(np.linalg.norm(wanted))
        if "x" in self.given:
            terms = np.square(self.given["x"].astype(np.float64)) @ np.square(self.dense).T
            size = max(size, float(np.sqrt(terms.sum())))
        difference = float(np.linalg.norm(found.astype(np.float64) - wanted))
        return difference / size if difference else 0.0


def model_of(
    case: Case, *, constant: Sequence[str] | None = None, dims: dict[str, list[Any]] | None = None
) -> ir.Model:
    """Return a model of that node alone, with its function; for the arguments see `without_function`."""
    model = without_function(case, constant=constant, dims=dims)
    require_operator(model, case.operator)
    return model


def without_function(
    case: Case, *, constant: Sequence[str] | None = None, dims: dict[str, list[Any]] | None = None
) -> ir.Model:
    """Return a model of that node alone, which only the library can run, and which is made and loaded sooner.

    The arrays named in `constant`, all if not said, are initializers, the others inputs. Inputs have no known
    dimensions unless `dims` gives them.
    """
    names = list(case.arrays) if constant is None else list(constant)
    values = {name: _value(name, array, held=name in names, dims=dims or {}) for name, array in case.feeds.items()}
    node = ir.node(case.operator, list(values.values()), case.attributes, domain=DOMAIN, name="node")
    output = node.outputs[0]
    output.name, output.type, output.shape = "out", ir.TensorType(ir.DataType.FLOAT), ir.Shape([None] * case.rank)
    inputs = [value for name, value in values.items() if name not in names]
    graph = ir.Graph(
        inputs, [output], nodes=[node], initializers=[values[n] for n in names], opset_imports={"": 18}, name="g"
    )
    return ir.Model(graph, ir_version=10)


def _value(name: str, array: Array, *, held: bool, dims: dict[str, list[Any]]) -> ir.Value:
    kind = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    shape = ir.Shape(array.shape if held else dims.get(name, [None] * array.ndim))
    words = array.dtype == object
    tensor = ir.StringTensor(array, name=name) if words else ir.tensor(array, name=name)
    return ir.Value(name=name, type=kind, shape=shape, const_value=tensor if held else None)


def with_input(case: Case, kind: str, leading: Sequence[int], seed: int = 0) -> Case:
    """Return the case of an operator of the same form and the given kind: MatMul, Gather or Dequantize."""
    rng = np.random.default_rng(seed)
    rows, cols = case.dense.shape
    given: dict[str, Array] = {}
    if kind == "MatMul":
        given["x"] = rng.standard_normal((*leading, cols)).astype(np.float32)
    elif kind == "Gather":
        given["ids"] = rng.integers(-rows, rows, tuple(leading)).astype((np.int32, np.int64)[seed % 2])
    return replace(case, operator=case.operator + kind, given=given)


def pack(bits: Array) -> Array:
    """Return boolean `[..., n]` as bytes `[..., ceil(n / 8)]`, the first in the lowest bit."""
    return np.packbits(bits, axis=-1, bitorder="little")


def binary(
    rows: int,
    cols: int,
    *,
    kind: str,
    bits: int = 2,
    group: int = 0,
    masked: bool = False,
    constant: bool = False,
    half: bool = False,
    level: int | None = 1,
    seed: int = 0,
) -> Case:
    """Binary codes, in the layout that the operator of the given kind takes."""
    rng = np.random.default_rng(seed)
    group = group or -(-cols // 8) * 8
    groups = -(-cols // group)
    signs = rng.random((bits, rows, cols)) < 0.5
    mask = rng.random((rows, cols)) < 0.4
    alphas = rng.standard_normal((bits + constant, rows, groups)).astype(np.float16 if half else np.float32)
    wide = np.repeat(alphas.astype(np.float64), group, axis=2)[:, :, :cols]
    dense = (np.where(signs, 1.0, -1.0) * wide[:bits]).sum(axis=0)
    if constant:
        dense += wide[bits]
    if masked:
        dense *= mask
    codes = pack(np.concatenate([signs, mask[None]]) if masked else signs)
    attributes = {"bits": bits, "in_features": cols, "group_size": group}
    if kind != "MatMul":
        return Case("Binary", {}, {"codes": codes, "alphas": alphas}, attributes, dense, EXACT)
    arrays = {"codes": blocks_of_32_rows(codes), "alphas": np.ascontiguousarray(alphas.transpose(0, 2, 1))}
    if level is not None:
        attributes["accuracy_level"] = level
    return Case("Binary", {}, arrays, attributes, dense, TOLERANCE[1 if level is None else level])


def blocks_of_32_rows(codes: Array) -> Array:
    """Return codes `[planes, rows, bytes]` as `[planes, rows * bytes]`, byte by byte as the operator's text says."""
    planes, rows, width = codes.shape
    out = np.empty((planes, rows * width), dtype=np.uint8)
    for plane in range(planes):
        at = 0
        for first in range(0, rows, 32):
            for byte in range(width):
                column = codes[plane, first : first + 32, byte]
                out[plane, at : at + len(column)] = column
                at += len(column)
    return out


def _pruned(rng: np.random.Generator, rows: int, cols: int, kept: float, half: bool) -> tuple[Array, Array]:
    """Return a mask that keeps one weight at least, and the values of the kept ones."""
    mask = rng.random((rows, cols)) < kept
    mask[rng.integers(rows), rng.integers(cols)] = True
    return mask, rng.standard_normal(int(mask.sum())).astype(np.float16 if half else np.float32)


def csr(
    rows: int, cols: int, *, kept: float = 0.2, half: bool = False, columns: str = "", pointers: str = "", seed: int = 0
) -> Case:
    """Compressed sparse rows, with indices of the given dtypes, else of the smallest that fit."""
    mask, values = _pruned(np.random.default_rng(seed), rows, cols, kept, half)
    dense = np.zeros((rows, cols))
    dense[mask] = values
    ends = np.concatenate([[0], mask.sum(axis=1).cumsum()])
    arrays = {
        "values": values,
        "columns": np.nonzero(mask)[1].astype(columns or _smallest(cols - 1)),
        "row_pointers": ends.astype(pointers or _smallest(len(values))),
    }
    return Case("Sparse", {}, arrays, {"cols": cols}, dense, EXACT)


def _smallest(largest: int) -> str:
    return "uint8" if largest < 2**8 else "uint16" if largest < 2**16 else "uint32"


def bitmap(rows: int, cols: int, *, kept: float = 0.2, half: bool = False, seed: int = 0) -> Case:
    """A bit for each place, and values."""
    mask, values = _pruned(np.random.default_rng(seed), rows, cols, kept, half)
    dense = np.zeros((rows, cols))
    dense[mask] = values
    return Case("Bitmap", {}, {"values": values, "bitmap": pack(mask)}, {"cols": cols}, dense, EXACT)


def codebook(
    rows: int,
    cols: int,
    *,
    bits: int = 4,
    block: int = 1,
    count: int | None = None,
    level: int | None = None,
    seed: int = 0,
) -> Case:
    """Indices of codewords; with fewer codewords than indices, an index beyond stands for the last one."""
    rng = np.random.default_rng(seed)
    count = count or 2**bits
    blocks = -(-cols // block)
    indices = rng.integers(0, 2**bits, (rows, blocks))
    words = rng.standard_normal((count, block)).astype(np.float32)
    dense = words[np.minimum(indices, count - 1)].reshape(rows, blocks * block)[:, :cols].astype(np.float64)
    # Every index as its bits, the lowest first, one after another; a row ends with a whole byte.
    packed = pack((indices[:, :, None] >> np.arange(bits) & 1).astype(bool).reshape(rows, blocks * bits))
    attributes = {"bits": bits, "columns": cols} | ({} if level is None else {"accuracy_level": level})
    tolerance = CODEBOOK_TOLERANCE[level or 0]
    return Case("Codebook", {}, {"indices": packed, "codewords": words}, attributes, dense, tolerance)
