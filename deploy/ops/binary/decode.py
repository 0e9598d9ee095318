"""Decoding binary codes with standard operators, in a function's body or in a graph.

Cheap where a runtime folds it at load: everything stays in bytes until the last two nodes, an index and a lookup.
The levels of a row or group are looked up by the code of a weight, bit `p` being its sign in plane `p`; a mask is
one more plane, above the others, and its level is 0. Valid from opset 13 on, in one form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

OPSET = 13

INPUTS = {
    "codes": "uint8 [bits (+ 1), out, ceil(in / 8)]: sign planes, input 8 b + i in bit i of byte b, bit 1 is +1; "
    "where there is one plane more than `bits`, it is the mask, bit 0 is a weight of 0",
    "alphas": "float or float16 [bits (+ 1), out, groups]: a coefficient for each plane; where there is one more, "
    "it is the constant term of the row or group",
}
ATTRIBUTES = {
    "bits": "int: sign planes, 1 to 8; with a mask at most 7",
    "in_features": "int: inputs a row",
    "group_size": "int, a multiple of 8: inputs that share coefficients; for one group a row, `in_features` rounded "
    "up to a multiple of 8",
}


class Emitter(Protocol):
    """What nodes are added to: `dtc.deploy.ops.Body`, or a builder of graph nodes."""

    def constant(self, array: npt.NDArray[Any] | np.generic) -> ir.Value:
        """Add a constant."""
        ...

    def op(self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        """Add a node of one output."""
        ...


@dataclass(frozen=True)
class LevelConstants:
    """What looking up levels needs besides codes and alphas.

    Attributes:
        signs: float `[terms, codes there are]`: what each code takes of each alpha, a sign; 1 of a constant term; 0
            where masked.
        starts: int32, where the levels of each column's group start, `[in]` or, transposed, `[in, 1]`; None: at 0.
    """

    signs: ir.Value
    starts: ir.Value | None


@dataclass(frozen=True)
class Constants:
    """What decoding needs besides codes and alphas.

    Attributes:
        byte_bits: uint8 `[256, 8]`: the bits of every byte, LSB first.
        powers: uint8 `[1, planes]`: 1, 2, 4, ...
        padded: int64 `[2]`: shape `[-1, 8 * bytes]` of the codes, one a weight, with their padding.
        cols: int64 `[1]`, where the padding is cut off; None: there is none.
        levels: What their lookup needs.
    """

    byte_bits: ir.Value
    powers: ir.Value
    padded: ir.Value
    cols: ir.Value | None
    levels: LevelConstants


def integers(*numbers: int) -> npt.NDArray[np.int64]:
    """Return an int64 array."""
    return np.array(numbers, dtype=np.int64)


def decode(e: Emitter, codes: ir.Value, alphas: ir.Value, given: Constants, *, transposed: bool = False) -> ir.Value:
    """Return the float matrix `[out, in]`, or `[in, out]` if transposed."""
    code = _weight_codes(e, codes, given)
    if transposed:
        code = e.op("Transpose", [code], perm=[1, 0])
    return look_up(e, code, alphas, given.levels, transposed=transposed)


def look_up(
    e: Emitter, code: ir.Value, alphas: ir.Value, given: LevelConstants, *, transposed: bool = False
) -> ir.Value:
    """Return the float matrix `[out, in]`, or `[in, out]` if transposed, of its weights' codes, uint8 of that shape."""
    scales = e.op("Transpose", [e.op("Cast", [alphas], to=ir.DataType.FLOAT)], perm=[1, 2, 0])
    levels = e.op("Flatten", [e.op("MatMul", [scales, given.signs])], axis=1)  # of no rows too, unlike Reshape
    if transposed:
        levels = e.op("Transpose", [levels], perm=[1, 0])
    index = e.op("Cast", [code], to=ir.DataType.INT32)
    if given.starts is not None:
        index = e.op("Add", [index, given.starts])
    return e.op("GatherElements", [levels, index], axis=0 if transposed else 1)


def _weight_codes(e: Emitter, codes: ir.Value, given: Constants) -> ir.Value:
    """Return the code of each weight, uint8 `[out, in]`: planes times powers of two, by an integer product."""
    bits = e.op("Gather", [given.byte_bits, e.op("Cast", [codes], to=ir.DataType.INT32)])
    flat = e.op("Reshape", [bits, e.constant(integers(0, -1))])
    one, zero = e.constant(np.float32(1)), e.constant(np.uint8(0))
    code = e.op("QLinearMatMul", [given.powers, one, zero, flat, one, zero, one, zero])
    padded = e.op("Reshape", [code, given.padded])
    if given.cols is None:
        return padded
    return e.op("Slice", [padded, e.constant(integers(0)), given.cols, e.constant(integers(1))])


def byte_bits(e: Emitter) -> ir.Value:
    """Return the bits of every byte, uint8 `[256, 8]`, LSB first; computed, as it is larger than what computes it."""
    scalars = [e.constant(np.int32(number)) for number in (0, 256, 1)]
    numbers = e.op("Reshape", [e.op("Range", scalars), e.constant(integers(256, 1))])
    shifted = e.op("Div", [numbers, e.constant(np.array([2**bit for bit in range(8)], dtype=np.int32))])
    return e.op("Cast", [e.op("Mod", [shifted, e.constant(np.int32(2))])], to=ir.DataType.UINT8)


def computed_constants(
    e: Emitter,
    codes: ir.Value,
    alphas: ir.Value,
    *,
    transposed: bool = False,
    sizes: tuple[ir.Value, ir.Value, ir.Value] | None = None,
) -> Constants:
    """Return what decoding needs, computed from the shapes of codes and alphas, and from the weight's sizes.

    The sizes are bits, inputs a row and group size, int64 `[1]` each; where they are not given, they are the
    attributes of the function.
    """
    bits, cols, group_size = sizes or tuple(integer_attribute(e, name) for name in ATTRIBUTES)
    planes = _dimension(e, codes, 0)
    size = e.op("Gather", [e.constant(2 ** np.arange(9)), planes])
    powers = np.array([2**plane for plane in range(8)], dtype=np.uint8)
    own_powers = e.op("Slice", [e.constant(powers), e.constant(integers(0)), planes])
    width = e.op("Mul", [_dimension(e, codes, 2), e.constant(integers(8))])
    levels = LevelConstants(
        signs=_signs(e, planes, size, bits, _dimension(e, alphas, 0)),
        starts=_starts(e, cols, group_size, size, transposed=transposed),
    )
    return Constants(
        byte_bits=byte_bits(e),
        powers=e.op("Reshape", [own_powers, e.constant(integers(1, -1))]),
        padded=e.op("Concat", [e.constant(integers(-1)), width], axis=0),
        cols=cols,
        levels=levels,
    )


def integer_attribute(e: Emitter, name: str) -> ir.Value:
    """Return the integer attribute of the function as a tensor `[1]`."""
    value = e.op("Constant", [], value_int=ir.RefAttr("value_int", name, ir.AttributeType.INT))
    return e.op("Reshape", [value, e.constant(integers(1))])


def _dimension(e: Emitter, value: ir.Value, axis: int) -> ir.Value:
    return e.op("Gather", [e.op("Shape", [value]), e.constant(integers(axis))])


def _scalar(e: Emitter, value: ir.Value) -> ir.Value:
    return e.op("Reshape", [value, e.constant(integers())])


def _signs(e: Emitter, planes: ir.Value, size: ir.Value, bits: ir.Value, terms: ir.Value) -> ir.Value:
    one = e.constant(integers(1))
    numbers = e.op("Range", [e.constant(np.int64(0)), _scalar(e, size), e.constant(np.int64(1))])
    powers = e.constant(2 ** np.arange(8).reshape(8, 1))
    digits = e.op("Mod", [e.op("Div", [numbers, powers]), e.constant(integers(2))])
    signs = e.op("Sub", [e.op("Mul", [digits, e.constant(integers(2))]), one])
    own = e.op("Slice", [signs, e.constant(integers(0)), bits, e.constant(integers(0))])
    constant = e.op("Concat", [e.op("Sub", [terms, bits]), size], axis=0)
    ones = e.op("ConstantOfShape", [constant], value=ir.tensor(integers(1)))
    # Without a mask every code lies below 2^bits and is kept; with one, those from 2^bits on are.
    above = e.op("Div", [numbers, e.op("Gather", [e.constant(2 ** np.arange(9)), bits])])
    kept = e.op("Add", [above, e.op("Sub", [one, e.op("Sub", [planes, bits])])])
    taken = e.op("Mul", [e.op("Concat", [own, ones], axis=0), kept])
    return e.op("Cast", [taken], to=ir.DataType.FLOAT)


def _starts(e: Emitter, cols: ir.Value, group_size: ir.Value, size: ir.Value, *, transposed: bool) -> ir.Value:
    columns = e.op("Range", [e.constant(np.int64(0)), _scalar(e, cols), e.constant(np.int64(1))])
    starts = e.op("Mul", [e.op("Div", [columns, group_size]), size])
    if transposed:
        starts = e.op("Reshape", [starts, e.constant(integers(-1, 1))])
    return e.op("Cast", [starts], to=ir.DataType.INT32)


def attributes() -> list[ir.Attr]:
    """Return the attributes that all operators on binary codes have; every node gives them."""
    return [ir.AttrInt64(name, default) for name, default in (("bits", 1), ("in_features", 1), ("group_size", 8))]
