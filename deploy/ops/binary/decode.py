"""Decoding binary codes with standard operators, in a function's body or in a graph.

The levels of a row or group are looked up by the code of a weight, bit `p` being its sign in plane `p`; a mask is
one more plane, above the others, and its level is 0. Codes are looked up and added up as int32 and float: several
runtimes saturate or misread arithmetic on bytes. Valid from opset 12 on, in one form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.graph.builder import Builder, FunctionBuilder

OPSET = 12

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


@dataclass(frozen=True)
class LevelConstants:
    """The tables that turn the code of a weight into its level, besides the alphas.

    Attributes:
        signs: float `[terms, codes there are]`: what each code takes of each alpha, a sign; 1 of a constant term; 0
            where masked.
        starts: int32, where the levels of each column's group start, `[in]` or, transposed, `[in, 1]`; None: at 0.
        rows: int32, where the levels of each row start among those of all rows, `[out, 1]` or, transposed, `[1, out]`;
            None: levels are looked up row by row, by GatherElements, which takes less memory, but is not computed when
            OpenVINO loads a model.
    """

    signs: ir.Value
    starts: ir.Value | None
    rows: ir.Value | None = None


@dataclass(frozen=True)
class Constants:
    """The tables and sizes that decoding needs besides codes and alphas.

    Attributes:
        byte_bits: float `[256, 8]`: the bits of every byte, LSB first.
        powers: float `[1, planes]`: 1, 2, 4, ...
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
    """Return the numbers as an int64 array `[numbers]`."""
    return np.array(numbers, dtype=np.int64)


def decode(
    build: Builder, codes: ir.Value, alphas: ir.Value, given: Constants, *, transposed: bool = False
) -> ir.Value:
    """Return the float matrix `[out, in]`, or `[in, out]` if transposed."""
    code = _weight_codes(build, codes, given)
    if transposed:
        code = build.op("Transpose", [code], perm=[1, 0])
    return look_up(build, code, alphas, given.levels, transposed=transposed)


def look_up(
    build: Builder, code: ir.Value, alphas: ir.Value, given: LevelConstants, *, transposed: bool = False
) -> ir.Value:
    """Return the float matrix `[out, in]`, or `[in, out]` if transposed, of its weights' codes, int32 of that shape."""
    levels = _levels(build, alphas, given)
    # Codes of group g are looked up among levels g * codes ...: column 9 in groups of 8, 4 codes: code + 4.
    index = code if given.starts is None else build.op("Add", [code, given.starts])
    if given.rows is not None:
        flat = build.op("Reshape", [levels, build.constant([-1])])
        return build.op("Gather", [flat, build.op("Add", [index, given.rows])])
    levels = build.op("Flatten", [levels], axis=1)  # of no rows too, unlike Reshape
    if transposed:
        levels = build.op("Transpose", [levels], perm=[1, 0])
    return build.op("GatherElements", [levels, index], axis=0 if transposed else 1)


def row_levels(build: Builder, alphas: ir.Value, given: LevelConstants) -> ir.Value:
    """Return the levels of all codes in each row, group after group, float `[out, groups * codes]`."""
    return build.op("Flatten", [_levels(build, alphas, given)], axis=1)  # of no rows too, unlike Reshape


def _levels(build: Builder, alphas: ir.Value, given: LevelConstants) -> ir.Value:
    # alphas [terms, out, groups] -> scales [out, groups, terms] @ signs [terms, codes] -> [out, groups, codes].
    # Two planes, alphas 2 and 0.5, one group: the codes 0 1 2 3 have the levels -2.5, 1.5, -1.5, 2.5, as bit 0 is the
    # sign of the first plane.
    scales = build.op("Transpose", [build.op("Cast", [alphas], to=ir.DataType.FLOAT)], perm=[1, 2, 0])
    return build.op("MatMul", [scales, given.signs])


def _weight_codes(build: Builder, codes: ir.Value, given: Constants) -> ir.Value:
    """Return the code of each weight, int32 `[out, in]`: planes times powers of two, exact in floats."""
    # codes [planes, out, bytes] -> bits [planes, out, bytes, 8] -> [planes, out * bytes * 8]
    bits = build.op("Gather", [given.byte_bits, build.op("Cast", [codes], to=ir.DataType.INT32)])
    flat = build.op("Reshape", [bits, build.constant([0, -1])])
    # powers [1, planes] @ bits [planes, out * bytes * 8]: bits 1 and 1 of two planes give 1 * 1 + 2 * 1 = 3.
    code = build.op("Cast", [build.op("MatMul", [given.powers, flat])], to=ir.DataType.INT32)
    # [1, out * bytes * 8] -> [out, bytes * 8] -> [out, in]: the pad bits of each row are cut off.
    padded = build.op("Reshape", [code, given.padded])
    if given.cols is None:
        return padded
    return build.op("Slice", [padded, build.constant([0]), given.cols, build.constant([1])])


def byte_bits(build: Builder) -> ir.Value:
    """Return the bits of every byte, int32 `[256, 8]`, LSB first; the nodes take fewer bytes than the table would."""
    # Numbers [256, 1] / [1, 2, 4, ..., 128] -> [256, 8]; modulo 2: byte 6 -> 0 1 1 0 0 0 0 0.
    shifted = build.op("Div", [_bytes(build), build.constant(np.array([2**bit for bit in range(8)], dtype=np.int32))])
    return build.op("Mod", [shifted, build.constant(np.int32(2))])


def float_bits(build: Builder) -> ir.Value:
    """Return the bits of every byte, float `[256, 8]`, LSB first."""
    # Numbers [256, 1] modulo [2, 4, 8, ...]: of byte 6 0 2 6 ..., of which 0 is less than 1, and 2 and 6 are not less
    # than 2 and 4: 0 1 1 0 0 0 0 0.
    powers = 2 ** np.arange(8, dtype=np.int32)
    rest = build.op("Mod", [_bytes(build), build.constant(2 * powers)])
    missing = build.op("Less", [rest, build.constant(powers)])
    return build.op("Where", [missing, *(build.constant(np.float32(bit)) for bit in (0, 1))])


def _bytes(build: Builder) -> ir.Value:
    """Return all bytes, int32 `[256, 1]`."""
    ends = [build.constant(np.int32(number)) for number in (0, 256, 1)]
    return build.op("Reshape", [build.op("Range", ends), build.constant([256, 1])])


def computed_constants(
    build: FunctionBuilder,
    codes: ir.Value,
    alphas: ir.Value,
    *,
    transposed: bool = False,
    sizes: tuple[ir.Value, ir.Value, ir.Value] | None = None,
) -> Constants:
    """Return the constants of decoding, computed from the shapes of codes and alphas and from the weight's sizes.

    The sizes are bits, inputs a row and group size, int64 `[1]` each; where they are not given, they are the
    attributes of the function.
    """
    bits, cols, group_size = sizes or tuple(integer_attribute(build, name) for name in ATTRIBUTES)
    # planes = bits, or bits + 1 with a mask; 2^planes codes. terms = bits, or bits + 1 with a constant term.
    planes = _dimension(build, codes, 0)
    size = build.op("Gather", [build.constant(2 ** np.arange(9)), planes])
    powers = np.array([2**plane for plane in range(8)], dtype=np.float32)
    own_powers = build.op("Slice", [build.constant(powers), build.constant([0]), planes])
    width = build.op("Mul", [_dimension(build, codes, 2), build.constant([8])])
    levels = LevelConstants(
        signs=_signs(build, planes, size, bits, _dimension(build, alphas, 0)),
        starts=_starts(build, cols, group_size, size, transposed=transposed),
    )
    return Constants(
        byte_bits=float_bits(build),
        powers=build.op("Reshape", [own_powers, build.constant([1, -1])]),
        padded=build.op("Concat", [build.constant([-1]), width], axis=0),
        cols=cols,
        levels=levels,
    )


def integer_attribute(build: FunctionBuilder, name: str) -> ir.Value:
    """Return the integer attribute of the function as a tensor `[1]`."""
    return build.op("Reshape", [build.integer(name), build.constant([1])])


def _dimension(build: Builder, value: ir.Value, axis: int) -> ir.Value:
    return build.op("Gather", [build.op("Shape", [value]), build.constant([axis])])


def _scalar(build: Builder, value: ir.Value) -> ir.Value:
    return build.op("Reshape", [value, build.constant([])])


def _signs(build: Builder, planes: ir.Value, size: ir.Value, bits: ir.Value, terms: ir.Value) -> ir.Value:
    # Two planes, a mask (planes 3, codes 0 to 7) and a constant term (terms 3):
    #     own    -1  1 -1  1 -1  1 -1  1      bit 0 of the code as a sign
    #            -1 -1  1  1 -1 -1  1  1      bit 1
    #     ones    1  1  1  1  1  1  1  1      the constant term
    #     kept    0  0  0  0  1  1  1  1      bit 2, the mask; signs and ones are multiplied by it
    one = build.constant([1])
    numbers = build.op("Range", [build.constant(0), _scalar(build, size), build.constant(1)])
    powers = build.constant(2 ** np.arange(8).reshape(8, 1))
    digits = build.op("Mod", [build.op("Div", [numbers, powers]), build.constant([2])])
    signs = build.op("Sub", [build.op("Mul", [digits, build.constant([2])]), one])
    own = build.op("Slice", [signs, build.constant([0]), bits, build.constant([0])])
    # [terms - bits, codes]: one row of ones, or none.
    constant = build.op("Concat", [build.op("Sub", [terms, bits]), size], axis=0)
    ones = build.op("ConstantOfShape", [constant], value=ir.tensor(integers(1)))
    # Without a mask every code lies below 2^bits and is kept; with one, those from 2^bits on are.
    above = build.op("Div", [numbers, build.op("Gather", [build.constant(2 ** np.arange(9)), bits])])
    kept = build.op("Add", [above, build.op("Sub", [one, build.op("Sub", [planes, bits])])])
    taken = build.op("Mul", [build.op("Concat", [own, ones], axis=0), kept])
    return build.op("Cast", [taken], to=ir.DataType.FLOAT)


def _starts(build: Builder, cols: ir.Value, group_size: ir.Value, size: ir.Value, *, transposed: bool) -> ir.Value:
    # 12 columns in groups of 8, 4 codes: 0 eight times, then 4 four times.
    columns = build.op("Range", [build.constant(0), _scalar(build, cols), build.constant(1)])
    starts = build.op("Mul", [build.op("Div", [columns, group_size]), size])
    if transposed:
        starts = build.op("Reshape", [starts, build.constant([-1, 1])])
    return build.op("Cast", [starts], to=ir.DataType.INT32)


def attributes() -> list[ir.Attr]:
    """Return the attributes that all operators on binary codes have; every node gives them."""
    return [ir.AttrInt64(name, default) for name, default in (("bits", 1), ("in_features", 1), ("group_size", 8))]
