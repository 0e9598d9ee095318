"""Decoding stored weights in nodes that operator set 7 has and later ones have kept.

Operators of the domain `dtc`, and the nodes that decode a form in few steps, need running sums, ranges and scattering,
which came with operator sets 9 to 12. A model of an older set is not converted for them, as that would change what its
own nodes mean; its weights are decoded by these nodes instead, in front of what reads them. All of it folds at load.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.forms import Form
from dtc.forms.index_fields import field_widths, pack_indices
from dtc.graph.builder import GraphBuilder

OPSET = 7

Decoder: TypeAlias = Callable[[GraphBuilder, Sequence[Form], ir.DataType], ir.Value]
"""Adds nodes for the matrices of a site of the given type, float `[matrices * rows, cols]`, of their forms."""

_SIDE = 128
"""Numbers that one product sums up: the triangle of ones that it takes is folded too, and grows with the square."""

_EXACT_IN_FLOAT = 1 << 24


def store_numbers(e: GraphBuilder, name: str, numbers: npt.NDArray[np.integer], bits: int) -> ir.Value:
    """Store numbers below `2**bits` in that many bits each; return nodes for them, int32 `[count]`.

    They lie in fields (`dtc.forms.index_fields`). The digits of a byte of a field are looked up: with 3 bits a number,
    the four digits of a byte of the first field and the eight of one of the second, times 4.
    """
    flat = numbers.reshape(1, -1)
    count, start, shift = flat.size, 0, 0
    stored = e.op("Cast", [e.initializer(name, pack_indices(flat, bits)[0])], to=ir.DataType.INT32)
    total = None
    for width in field_widths(bits):
        stop = start + -(-count * width // 8)
        field = stored if len(field_widths(bits)) == 1 else e.slice(stored, start, stop)
        digits = field if width == 8 else _flat(e, e.op("Gather", [digits_of_bytes(e, width), field]))
        if (stop - start) * 8 // width != count:
            digits = e.slice(digits, 0, count)
        part = digits if shift == 0 else e.op("Mul", [digits, e.constant(np.int32(1 << shift))])
        total = part if total is None else e.op("Add", [total, part])
        start, shift = stop, shift + width
    assert total is not None
    return total


def spread(
    e: GraphBuilder, name: str, values: ir.Value, kept: npt.NDArray[np.bool_], dtype: ir.DataType = ir.DataType.FLOAT
) -> ir.Value:
    """Return values `[kept]` at their places among all, `[size of kept]`, with a zero everywhere else.

    How many are kept up to a place is the number of its value, where zero is the number 0: of the values a, b and the
    places 0 1 0 1, these are 0 1 0 2 in 0, a, b. The bits of the places are stored under `name`.
    """
    size = kept.size
    padded = np.pad(kept.reshape(-1), (0, -size % _SIDE))
    bits = store_numbers(e, name, padded.astype(np.uint8), 1)
    exact = ir.DataType.FLOAT if size < _EXACT_IN_FLOAT else ir.DataType.DOUBLE
    upto = running_sum(e, e.op("Cast", [bits], to=exact), padded.size, exact)
    numbers = e.op("Mul", [e.op("Cast", [upto], to=ir.DataType.INT32), bits])
    zero = e.constant(np.zeros(1, dtype=dtype.numpy()))
    found = e.op("Gather", [e.op("Concat", [zero, values], axis=0), numbers])
    return found if padded.size == size else e.slice(found, 0, size)


def running_sum(e: GraphBuilder, numbers: ir.Value, count: int, dtype: ir.DataType) -> ir.Value:
    """Return of `count` numbers of a float type, at each place the sum up to it: sums of rows, and of rows before."""
    missing = -count % _SIDE
    if missing:
        zeros = e.constant(np.zeros(missing, dtype=dtype.numpy()))
        whole = e.op("Concat", [numbers, zeros], axis=0)
        return e.slice(running_sum(e, whole, count + missing, dtype), 0, count)
    rows = e.op("Reshape", [numbers, e.constant([-1, _SIDE])])
    sums = e.op("MatMul", [rows, _triangle(e, dtype)])
    if count > _SIDE:
        totals = e.op("Gather", [sums, e.constant(_SIDE - 1)], axis=1)
        before = e.op("Sub", [running_sum(e, totals, count // _SIDE, dtype), totals])
        sums = e.op("Add", [sums, e.op("Reshape", [before, e.constant([-1, 1])])])
    return _flat(e, sums)


def count_up(e: GraphBuilder, count: int) -> ir.Value:
    """Return 0, 1, 2, ... below `count`, int32: of a long row the sum of two short ones."""
    if count <= 2 * _SIDE:
        return e.constant(np.arange(count, dtype=np.int32))
    high = e.constant(_SIDE * np.arange(-(-count // _SIDE), dtype=np.int32)[:, None])
    numbers = _flat(e, e.op("Add", [high, e.constant(np.arange(_SIDE, dtype=np.int32))]))
    return numbers if count % _SIDE == 0 else e.slice(numbers, 0, count)


def digits_of_bytes(e: GraphBuilder, width: int) -> ir.Value:
    """Return the digits of `width` bits of each byte, low ones first, int32 `[256, 8 / width]`."""

    def make(front: GraphBuilder) -> ir.Value:
        base = front.constant(np.int32(1 << width))
        powers = front.constant(2 ** np.arange(0, 8, width, dtype=np.int32))
        numbers = front.op("Reshape", [count_up(front, 256), front.constant([256, 1])])
        shifted = front.op("Div", [numbers, powers])
        return front.op("Sub", [shifted, front.op("Mul", [front.op("Div", [shifted, base]), base])])

    return e.once(("opset 7", "digits", width), make)


def _triangle(e: GraphBuilder, dtype: ir.DataType) -> ir.Value:
    """Return ones on and above the diagonal, and zeros below it."""

    def make(front: GraphBuilder) -> ir.Value:
        row = front.constant(np.arange(_SIDE, dtype=np.float32))
        column = front.op("Reshape", [row, front.constant([_SIDE, 1])])
        upper = front.op("Less", [column, front.op("Add", [row, front.constant(np.float32(0.5))])])
        return front.op("Cast", [upper], to=dtype)

    return e.once(("opset 7", "triangle", dtype), make)


def _flat(e: GraphBuilder, value: ir.Value) -> ir.Value:
    return e.op("Reshape", [value, e.constant([-1])])
