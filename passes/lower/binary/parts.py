"""Arrays that the lowering of binary codes puts into a graph: planes, and constants for decoding them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops.binary.decode import Constants, LevelConstants, integers
from dtc.forms import BinaryCode, Form
from dtc.forms.binary import Packed, unpack_bits
from dtc.forms.even_levels import EvenLevels
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.decode import float_bits_of_bytes
from dtc.passes.lower.opset7 import digits_of_bytes

_STORED_SIGNS = 256
"""Signs of a table that the file holds: more are computed by nodes, which take some 300 bytes."""


@dataclass(frozen=True, eq=False)
class Planes:
    """The forms of a site as one matrix `[count * out, in]`, in the arrays that operators take.

    Attributes:
        codes: uint8 `[bits (+ 1), rows, bytes]`, a mask being the last plane.
        alphas: float16 or float32 `[bits (+ 1), rows, groups]`, an offset being the last.
        survivors: uint8 `[bits, bytes]`, where codes are stored as those of the kept weights alone, and `mask` then.
        form: The matrix as a form.
    """

    codes: Packed
    alphas: npt.NDArray[np.floating]
    bits: int
    cols: int
    group_size: int
    form: BinaryCode
    survivors: Packed | None = None

    @classmethod
    def of(cls, given: Sequence[Form]) -> Planes:
        """Join the forms of a site, one under the other."""
        forms = [form for form in given if isinstance(form, BinaryCode)]
        whole = BinaryCode(
            np.concatenate([form.codes for form in forms], axis=1),
            np.concatenate([form.alphas for form in forms], axis=1),
            forms[0].cols,
            forms[0].group_size,
            None if forms[0].offset is None else np.concatenate([f.offset for f in forms if f.offset is not None]),
            None if forms[0].mask is None else np.concatenate([f.mask for f in forms if f.mask is not None]),
        )
        # The mask is one plane more, the offset one coefficient more: what decodes planes decodes both.
        codes = whole.codes if whole.mask is None else np.concatenate([whole.codes, whole.mask[None]])
        alphas, offset = (whole.alphas, whole.offset) if whole.even is None else whole.even.coefficients()
        alphas = alphas if offset is None else np.concatenate([alphas, offset[None]])
        survivors = None
        if whole.coded_survivors:
            survivors = whole.survivors
            if not int(whole.kept.sum()) % 8:  # `unmask` looks one bit past the last
                survivors = np.pad(survivors, ((0, 0), (0, 1)))
        return cls(codes, alphas, whole.bits, whole.cols, whole.group_size, whole, survivors)

    @property
    def even(self) -> EvenLevels | None:
        """The evenly spaced levels that the codes are, or None."""
        return self.form.even

    @property
    def code(self) -> Packed:
        """The code of each weight, uint8 `[rows, cols]`: bit `p` is its sign in plane `p`."""
        code = np.zeros((self.codes.shape[1], self.cols), dtype=np.uint8)
        # A mask is the highest bit, as it is the last plane.
        for plane, codes in enumerate(self.codes):
            code |= unpack_bits(codes, self.cols).view(np.uint8) << plane
        return code

    @property
    def attributes(self) -> dict[str, int]:
        """Attributes of the operators."""
        return {
            "bits": self.bits,
            "in_features": self.cols,
            "group_size": self.group_size or 8 * self.codes.shape[2],
        }

    @property
    def signs(self) -> npt.NDArray[np.float32]:
        """The factor of each alpha in each code's level, float32 `[terms, 2^planes]`; see `LevelConstants`."""
        # 1 bit, an offset and a mask: bit 0 of a code is the sign, bit 1 the mask. Codes 0 to 3 take (0, 0, -1, 1) of
        # alpha and (0, 0, 1, 1) of the offset.
        planes, terms = len(self.codes), len(self.alphas)
        numbers = np.arange(1 << planes)
        signs = ((numbers >> np.arange(self.bits)[:, None]) & 1) * 2 - 1
        table = np.concatenate([signs, np.ones((terms - self.bits, len(numbers)), dtype=np.int64)])
        if planes > self.bits:
            # 1 for codes with the bit of the mask, which is the highest; 0 for all others.
            table *= numbers >> self.bits
        return table.astype(np.float32)

    @property
    def starts(self) -> npt.NDArray[np.int32] | None:
        """Where the levels of each column's group start, `[in]`; None with one group a row."""
        if not self.group_size:
            return None
        # A row's levels stand group after group, 2^planes each. 16 columns in groups of 8, two planes: eight times 0,
        # eight times 4.
        return (np.arange(self.cols) // self.group_size << len(self.codes)).astype(np.int32)


def level_constants(
    builder: GraphBuilder, planes: Planes, *, transposed: bool = False, folded: bool = False
) -> LevelConstants:
    """Return the constants for looking up the levels of these planes.

    `folded` ones are looked up by nodes that OpenVINO computes when it loads a model: `wants_constant`
    tells where it has to.
    """
    starts = planes.starts
    if starts is not None and transposed:
        starts = starts[:, None]
    rows = None
    if folded:
        _, count, groups = planes.alphas.shape
        width = groups << len(planes.codes)
        ends = [builder.constant(np.int32(number)) for number in (0, count * width, width)]
        shape = builder.constant([1, -1] if transposed else [-1, 1])
        rows = builder.op("Reshape", [builder.op("Range", ends), shape])
    given = None if starts is None else builder.constant(starts)
    return LevelConstants(_signs(builder, planes), given, rows)


def _signs(builder: GraphBuilder, planes: Planes) -> ir.Value:
    """Return the factors of alphas in levels, float; those of many plain planes are computed, being kilobytes."""
    table = planes.signs

    def stored(front: GraphBuilder) -> ir.Value:
        return front.op("Cast", [front.constant(table.astype(np.int8))], to=ir.DataType.FLOAT)

    def computed(front: GraphBuilder) -> ir.Value:
        # Digits 1 0 1 ... of each byte, [256, 8] -> signs 1 -1 1 ... -> [8, 256]: those of 6 planes are [6, 64] of it.
        doubled = front.op("Mul", [digits_of_bytes(front, 1), front.constant(np.int32(2))])
        signs = front.op("Transpose", [front.op("Sub", [doubled, front.constant(np.int32(1))])], perm=[1, 0])
        for axis, size in enumerate(table.shape):
            signs = signs if size == (8, 256)[axis] else front.slice(signs, 0, size, axis=axis)
        return front.op("Cast", [signs], to=ir.DataType.FLOAT)

    plain = len(table) == planes.bits == len(planes.codes)
    return builder.once(("signs", table.tobytes()), computed if plain and table.size > _STORED_SIGNS else stored)


def constants(builder: GraphBuilder, planes: Planes, *, transposed: bool = False, folded: bool = False) -> Constants:
    """Return the constants for decoding these planes; `folded` as for `level_constants`."""
    width = 8 * planes.codes.shape[2]
    powers = np.array([[1 << plane for plane in range(len(planes.codes))]], dtype=np.float32)
    return Constants(
        byte_bits=float_bits_of_bytes(builder),
        powers=builder.constant(powers),
        padded=builder.constant(integers(-1, width)),
        cols=None if width == planes.cols else builder.constant(integers(planes.cols)),
        levels=level_constants(builder, planes, transposed=transposed, folded=folded),
    )
