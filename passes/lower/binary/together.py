"""Binary codes that nothing reads but decoding nodes, from operator set 7 on: evenly spaced levels, and small sites.

A step of evenly spaced levels times the scale of its row is the weight: no table of levels, and a scale instead of a
coefficient a plane. Other codes are looked up among the levels of their row. Both are stored as codes of whole weights,
in the order of the initializer where that spares a Transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops.binary.decode import OPSET
from dtc.forms import Form
from dtc.forms.even_levels import EvenLevels
from dtc.graph import Site
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.binary.parts import Planes, level_constants
from dtc.passes.lower.decode import arranged, in_place, rows_in_place
from dtc.passes.lower.joint import LARGEST, Joint
from dtc.passes.lower.opset7 import count_up
from dtc.passes.lower.packed_numbers import store_as_floats, store_as_matrix, store_as_numbers, store_as_rows
from dtc.passes.lower.readers import wants_constant

_BYTES = 7
"""Bits from which levels of small sites are stored as bytes: what takes them apart is more than a bit saves."""

_GATHERS_ELEMENTS = 11
"""Operator set that GatherElements came with."""


def decode_forms_together(joint: Joint, front: GraphBuilder, site: Site, forms: Sequence[Form]) -> ir.Value | None:
    """Return what `decode_together` does, of the forms of a site."""
    return decode_together(joint, front, site, Planes.of(forms))


def decode_together(joint: Joint, front: GraphBuilder, site: Site, planes: Planes) -> ir.Value | None:
    """Return the dense weight, in the initializer's own shape and type; None where planes are decoded otherwise."""
    if planes.even is not None:
        plain = planes.even.bits < 8 and not planes.group_size and front.opset >= OPSET
        if plain and site.size > LARGEST and not wants_constant(site, portable=joint.portable):
            return _looked_up_steps(joint, front, site, planes, planes.even)
        return _scaled_steps(joint, front, site, planes, planes.even)
    if site.size <= LARGEST and planes.survivors is None:
        return _looked_up(joint, front, site, planes)
    return None


@dataclass(frozen=True)
class _Order:
    """The order in which the steps of a site are stored.

    Attributes:
        levels: uint8, as they are stored.
        scale: Broadcasts against them.
        shift: int8, as `scale`: what is taken off a step first; None: nothing.
        shape: The shape that the steps have when they are scaled.
        transposed: They are `[in, out]` of a single matrix.
        final: Their shape is the initializer's.
    """

    levels: npt.NDArray[np.uint8]
    scale: npt.NDArray[np.floating]
    shift: npt.NDArray[np.int8] | None
    shape: tuple[int, ...]
    transposed: bool = False
    final: bool = False

    @classmethod
    def of(cls, site: Site, planes: Planes, even: EvenLevels) -> _Order:
        """Choose the order: the initializer's own where rows are axes of it, columns of a matrix, or rows."""
        rows, groups = even.scale.shape
        if groups == 1 and (placed := rows_in_place(site, even.scale)) is not None:
            shift = None if even.shift is None else rows_in_place(site, even.shift)
            return cls(in_place(site, planes.form.levels), placed, shift, site.shape, final=True)
        # 12 columns in groups of 8 are padded to 16 by the level of 0; the padding is cut off at the end.
        size = planes.group_size or planes.cols
        padded = np.pad(planes.form.levels, ((0, 0), (0, groups * size - planes.cols)), constant_values=even.middle)
        if site.view.perm == (1, 0) and not site.view.parts:
            # [out, in] -> [groups, size, out], scales [groups, 1, out].
            shift = None if even.shift is None else even.shift.T[:, None]
            return cls(padded.T, even.scale.T[:, None], shift, (groups, size, rows), transposed=True)
        shift = None if even.shift is None else even.shift[..., None]
        return cls(padded, even.scale[..., None], shift, (rows, groups, size))


def _scaled_steps(joint: Joint, front: GraphBuilder, site: Site, planes: Planes, even: EvenLevels) -> ir.Value:
    order = _Order.of(site, planes, even)
    bits = 8 if even.bits >= _BYTES and site.size <= LARGEST else even.bits
    store = partial(_store_steps, bits=bits, middle=even.middle)
    if bits == 8 and site.size > LARGEST:  # alone, so that bytes may be stored in their shape
        steps = joint.share(site, "steps", order.levels.reshape(order.shape), store)
    else:
        steps = joint.share(site, ("steps", bits, even.middle), order.levels.reshape(-1), store, row=())
        steps = front.op("Reshape", [steps, front.constant(order.shape)])
    if order.shift is not None:
        steps = front.op("Sub", [steps, _broadcast(joint, site, "zeros", order.shift)])
    weight = front.op("Mul", [steps, _broadcast(joint, site, "scales", order.scale)])
    wanted = site.value.dtype or ir.DataType.FLOAT
    if order.final:
        return weight if wanted == ir.DataType.FLOAT else front.op("Cast", [weight], to=wanted)
    rows, cols = len(planes.form.levels), planes.cols
    if order.levels.size != rows * cols:
        axis = 0 if order.transposed else 1
        flat = front.op("Reshape", [weight, front.constant([-1, rows] if order.transposed else [rows, -1])])
        weight = front.slice(flat, 0, cols, axis=axis)
    elif order.transposed:
        weight = front.op("Reshape", [weight, front.constant(site.shape)])
    return arranged(front, weight, site, transposed=order.transposed)


def _looked_up_steps(joint: Joint, front: GraphBuilder, site: Site, planes: Planes, even: EvenLevels) -> ir.Value:
    """Return the weight by a look-up in the scaled steps of each row, which takes less memory when it folds."""
    transposed = site.view.perm == (1, 0) and not site.view.parts
    levels = np.ascontiguousarray(planes.form.levels.T) if transposed else planes.form.levels
    code = joint.share(
        site, "levels", levels, partial(store_as_matrix, bits=even.bits, name="codes", lean=joint.portable)
    )
    # Steps [codes, 1] by scales [out] -> [codes, out]; or [1, codes] by [out, 1] -> [out, codes].
    steps, axis = _all_steps(front, even.bits), 0 if transposed else 1
    steps = steps if transposed else front.op("Reshape", [steps, front.constant([1, -1])])
    scale, shift = (None if each is None else each.T if transposed else each for each in (even.scale, even.shift))
    assert scale is not None
    if shift is not None:
        steps = front.op("Sub", [steps, _broadcast(joint, site, "zeros", shift)])
    table = front.op("Mul", [steps, _broadcast(joint, site, "scales", scale)])
    weight = front.op("GatherElements", [table, code], axis=axis)
    return arranged(front, weight, site, shape=levels.shape, transposed=transposed)


def _all_steps(e: GraphBuilder, bits: int) -> ir.Value:
    """Return the steps of all levels from the middle one on, float `[levels, 1]`."""
    table = np.arange(1 << bits, dtype=np.int8)[:, None] - np.int8(1 << (bits - 1))

    def make(front: GraphBuilder) -> ir.Value:
        return front.op("Cast", [front.constant(table)], to=ir.DataType.FLOAT)

    return e.once(("steps", bits), make)


def _store_steps(e: GraphBuilder, levels: npt.NDArray[Any], *, bits: int, middle: int) -> ir.Value:
    """Store levels in so many bits each; return the steps from the middle one on, float, in whatever shape."""
    if bits == 8:
        steps = (levels.astype(np.int16) - middle).astype(np.int8)
        return e.op("Cast", [e.initializer("codes", steps)], to=ir.DataType.FLOAT)
    return store_as_rows(e, levels, bits, "codes", _all_steps(e, bits))


def _broadcast(joint: Joint, site: Site, name: str, numbers: npt.NDArray[Any]) -> ir.Value:
    """Return numbers as floats, without leading axes of size 1, which broadcasting does not need."""
    while numbers.ndim > 1 and len(numbers) == 1:
        numbers = numbers[0]
    key = (name, numbers.dtype, numbers.shape[1:])
    return joint.share(site, key, numbers, partial(store_as_floats, name=name))


def _looked_up(joint: Joint, front: GraphBuilder, site: Site, planes: Planes) -> ir.Value:
    _, rows, groups = planes.alphas.shape
    bits = len(planes.codes)
    store = partial(store_as_numbers, bits=bits, name="codes")
    code = joint.share(site, ("numbers", bits), planes.code.reshape(-1), store, row=())
    code = front.op("Reshape", [code, front.constant([rows, planes.cols])])
    levels = joint.share(
        site,
        ("levels", planes.alphas.dtype, bits, groups, planes.signs.tobytes()),
        np.ascontiguousarray(planes.alphas.transpose(1, 2, 0)),
        partial(_store_levels, planes=planes),
    )
    starts = level_constants(front, planes).starts
    if starts is not None:
        code = front.op("Add", [code, starts])
    if front.opset >= _GATHERS_ELEMENTS and not wants_constant(site, portable=joint.portable):
        matrix = front.op("GatherElements", [levels, code], axis=1)
    else:
        code = front.op("Add", [code, _row_starts(front, rows, groups << bits)])
        matrix = front.op("Gather", [front.op("Reshape", [levels, front.constant([-1])]), code])
    return arranged(front, matrix, site, shape=(rows, planes.cols))


def _row_starts(e: GraphBuilder, rows: int, width: int) -> ir.Value:
    """Return where each row begins in rows of `width` numbers, int32 `[rows, 1]`; once for all sites."""

    def make(front: GraphBuilder) -> ir.Value:
        row = front.op("Reshape", [count_up(front, rows), front.constant([rows, 1])])
        return front.op("Mul", [row, front.constant(np.int32(width))])

    return e.once(("starts of rows", rows, width), make)


def _store_levels(e: GraphBuilder, alphas: npt.NDArray[Any], *, planes: Planes) -> ir.Value:
    """Store coefficients `[rows, groups, terms]`; return the levels of all codes, float `[rows, groups * codes]`."""
    stored = e.initializer("alphas", alphas)
    wide = stored if alphas.dtype == np.float32 else e.op("Cast", [stored], to=ir.DataType.FLOAT)
    levels = e.op("MatMul", [wide, level_constants(e, planes).signs])
    return e.op("Reshape", [levels, e.constant([len(alphas), -1])])
