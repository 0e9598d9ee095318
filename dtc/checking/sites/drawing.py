"""Random numbers for what enters the reader of a weight, of small sizes that fit together, by the reader's role."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from dtc.checking.sites.regions import Region
from dtc.deploy.ops import DOMAIN
from dtc.graph import CONVOLUTIONS, INPUT_ROLES, RECURRENT_ROLES, Reader, Role
from dtc.graph.einsum import ELLIPSIS, terms_of

ROWS = 3
"""Sizes along axes over which a reader computes the same again: rows, steps, further pixels."""
BATCH = 2

Known: TypeAlias = Callable[[ir.Value], ir.Value]
"""Gives a value with what is known of its type and shape."""


class UndrawnError(Exception):
    """Nothing is known of what a value holds; the words say of which."""


@dataclass(frozen=True)
class Entry:
    """What enters an input of a node: the shape that it needs, and for whole numbers the range, half open."""

    shape: tuple[int, ...]
    limits: tuple[int, int] | None = None


def draw(region: Region, known: Known, rng: np.random.Generator) -> dict[ir.Value, Any]:
    """Return numbers for every input of a region, by the value of the dense model.

    Raises:
        UndrawnError: The type or the number of dimensions of an input is known from nowhere.
    """
    told: dict[ir.Value, tuple[Entry, ir.DataType]] = {}
    for reader in region.readers:
        entries = _entries(reader, known)
        floats = _dtype_of(reader)
        for place, value in enumerate(reader.node.inputs):
            if value is not None and place in entries:
                entry = entries[place]
                told.setdefault(value, (entry, ir.DataType.INT64 if entry.limits else floats))
    sizes: dict[object, int] = {}
    return {value: _drawn(value, told.get(value), known(value), sizes, rng) for value, _ in region.inputs}


def _drawn(
    value: ir.Value,
    told: tuple[Entry, ir.DataType] | None,
    known: ir.Value,
    sizes: dict[object, int],
    rng: np.random.Generator,
) -> Any:
    if known.type is not None and not isinstance(known.type, ir.TensorType):
        raise UndrawnError(f"{value.name!r} is no tensor")
    if told is None:
        if known.dtype is None or known.shape is None:
            raise UndrawnError(f"nothing tells what {value.name!r} holds")
        entry, dtype = Entry(tuple(_size(dim, sizes) for dim in known.shape)), known.dtype
    else:
        entry, dtype = told[0], known.dtype or told[1]
    if dtype in (ir.DataType.STRING, ir.DataType.BFLOAT16):
        raise UndrawnError(f"{value.name!r} holds {dtype.name.lower()}, which ONNX Runtime is not fed with")
    kind = dtype.numpy()
    if kind.kind == "f":
        return rng.standard_normal(entry.shape).astype(kind)
    # Without a range: 1 is a mask that hides nothing, and a length or a count that is possible.
    return rng.integers(*(entry.limits or (1, 2)), size=entry.shape).astype(kind)


def _size(dim: int | ir.SymbolicDim, sizes: dict[object, int]) -> int:
    """Return the size of a dimension: small where it is free, and one for all that bear one name."""
    if isinstance(dim, int):
        return dim if dim > 0 else BATCH
    return BATCH if dim.value is None else sizes.setdefault(dim.value, BATCH)


def _entries(reader: Reader, known: Known) -> Mapping[int, Entry]:
    """Return what the inputs of a reader need, by place, as far as its role tells."""
    if reader.node.domain == DOMAIN:  # of dtc itself: a model that was compressed before
        return {}
    if reader.role is Role.FUSED:
        return _of_fused(reader, known)
    return _ENTRIES[reader.role](reader, known) if reader.role in _ENTRIES else {}


def _of_matmul(reader: Reader, known: Known) -> Mapping[int, Entry]:
    """Rows of as many numbers as the weight has, in as many axes as the model has them in."""
    other = 1 - reader.index
    turned = bool(reader.node.attributes.get_int(f"trans{'AB'[other]}", 0))
    into = reader.shape[-2] if reader.index == 1 else reader.shape[-1]
    if reader.node.attributes.get_int(f"trans{'AB'[reader.index]}", 0):
        into = reader.shape[-1] if reader.index == 1 else reader.shape[-2]
    lead = _lead(reader, _shape(reader.node.inputs[other], known))
    last = [ROWS, into] if (other == 0) != turned else [into, ROWS]
    if lead is None:
        return {other: Entry((into,))}
    return {other: Entry((*lead, *last))}


def _lead(reader: Reader, shape: Sequence[int | None] | None) -> list[int] | None:
    """Return the axes in front of rows and columns; None of a vector. They broadcast with those of the weight."""
    own = list(reader.shape[:-2])
    if shape is None:
        return own
    if len(shape) < 2:
        return None
    axes = [min(size or BATCH, BATCH) for size in shape[:-2]]
    for place, size in enumerate(reversed(own), 1):
        if place <= len(axes):
            axes[-place] = size if size != 1 else axes[-place]
    return axes


def _of_gemm(reader: Reader, known: Known) -> Mapping[int, Entry]:
    found = dict(_of_matmul(reader, known))
    other = found[1 - reader.index]
    found[1 - reader.index] = Entry(other.shape[-2:])
    out = reader.view.rows
    rows, cols = (ROWS, out) if reader.index == 1 else (out, ROWS)
    c = _shape(reader.node.inputs[2], known) if len(reader.node.inputs) > 2 else None
    if c is not None:
        # C broadcasts to the product: [N], [1, N], [M, 1], [M, N].
        full = (rows, cols)[2 - len(c) :]
        found[2] = Entry(tuple(1 if size == 1 else wanted for size, wanted in zip(c, full, strict=True)))
    return found


def _of_conv(reader: Reader, known: Known) -> Mapping[int, Entry]:
    """Images that a kernel fits into, and some pixels more."""
    node, shape = reader.node, reader.shape
    transposed = reader.role is Role.CONV_TRANSPOSE
    channels = shape[0] if transposed else shape[1] * (node.attributes.get_int("group", 1) or 1)
    pixels = [ROWS] * (len(shape) - 2) if transposed else _window(node, shape[2:])
    place = 1 - reader.index
    seen = _shape(node.inputs[place], known)
    if "output_shape" in node.attributes and seen is not None:
        pixels = [size or ROWS for size in seen[2:]]
    return {place: Entry((BATCH, channels, *pixels))}


def _window(node: ir.Node, kernel: Sequence[int]) -> list[int]:
    """Return sizes at which a convolution without padding has some outputs along each axis."""
    strides = node.attributes.get_ints("strides", ()) or [1] * len(kernel)
    dilations = node.attributes.get_ints("dilations", ()) or [1] * len(kernel)
    return [(k - 1) * d + 1 + (ROWS - 1) * s for k, d, s in zip(kernel, dilations, strides, strict=True)]


def _of_deformed(reader: Reader, known: Known) -> Mapping[int, Entry]:
    """The same with an offset, and a mask, for every point of every window."""
    node, kernel = reader.node, reader.shape[2:]
    image = _of_conv(reader, known)[0].shape
    strides = node.attributes.get_ints("strides", ()) or [1] * len(kernel)
    dilations = node.attributes.get_ints("dilations", ()) or [1] * len(kernel)
    pads = node.attributes.get_ints("pads", ()) or [0] * 2 * len(kernel)
    ends = [pads[axis] + pads[axis + len(kernel)] for axis in range(len(kernel))]
    outputs = [
        (size + pad - (k - 1) * d - 1) // s + 1
        for size, pad, k, d, s in zip(image[2:], ends, kernel, dilations, strides, strict=True)
    ]
    points = (node.attributes.get_int("offset_group", 1) or 1) * int(np.prod(kernel))
    return {
        0: Entry(image),
        2: Entry((BATCH, points * len(kernel), *outputs)),
        4: Entry((BATCH, points, *outputs)),
    }


def _of_recurrent(reader: Reader, known: Known) -> Mapping[int, Entry]:
    """A few steps of a batch; as many as the model has where it holds a length or a state itself."""
    node, shape = reader.node, reader.shape
    step, batch = (1, 0) if node.attributes.get_int("layout", 0) else (0, 1)
    other = _shape(node.inputs[1], known)
    width = shape[2] if reader.role in INPUT_ROLES else other[2] if other is not None else None
    hidden = node.attributes.get_int("hidden_size", 0) if reader.role in INPUT_ROLES else shape[2]
    if not width or not hidden:
        return {}
    seen = _shape(node.inputs[0], known) or [None] * 3
    sizes = {step: ROWS, batch: BATCH, 2: width}
    if any(value is not None and value.is_initializer() for value in node.inputs[4:7]):
        sizes |= {step: seen[step] or ROWS, batch: _held_batch(node, known, batch) or seen[batch] or BATCH}
    state = [reader.view.count, sizes[batch], hidden]
    state = [state[1], state[0], state[2]] if batch == 0 else state
    return {
        0: Entry(tuple(sizes[axis] for axis in range(3))),
        4: Entry((sizes[batch],), (1, sizes[step] + 1)),
        5: Entry(tuple(state)),
        6: Entry(tuple(state)),
    }


def _held_batch(node: ir.Node, known: Known, axis: int) -> int | None:
    """Return the size of the batch that a state in the model itself has."""
    held = [_shape(value, known) for value in node.inputs[5:7] if value is not None and value.is_initializer()]
    return next((shape[axis] for shape in held if shape is not None), None)


def _of_table(reader: Reader, known: Known) -> Mapping[int, Entry]:
    """Indices of entries of the table."""
    axis = reader.node.attributes.get_int("axis", 0) or 0
    shape = _shape(reader.node.inputs[1], known)
    small = (BATCH, ROWS) if shape is None else tuple(min(size or BATCH, ROWS) for size in shape)
    return {1: Entry(small, (0, reader.shape[axis]))}


def _of_einsum(reader: Reader, known: Known) -> Mapping[int, Entry]:
    """Sizes by the letters of the equation: those of the weight, and small ones."""
    terms, _ = terms_of(reader.node)
    letters = [letter for letter in terms[reader.index] if letter != ELLIPSIS]
    sizes = dict(zip(letters, reader.shape, strict=True))
    found = {}
    for place, term in enumerate(terms):
        shape = _shape(reader.node.inputs[place], known)
        hidden = 0 if shape is None else len(shape) - (len(term) - 1)
        dims = [size for each in term for size in ([ROWS] * hidden if each == ELLIPSIS else [sizes.get(each, BATCH)])]
        found[place] = Entry(tuple(dims))
    return {place: entry for place, entry in found.items() if place != reader.index}


def _of_fused(reader: Reader, known: Known) -> Mapping[int, Entry]:
    """Of an operator of ONNX Runtime's own that is a product or a convolution what its standard one needs."""
    kind = reader.node.op_type
    if "Gemm" in kind and kind != "GemmFastGelu":
        return _of_gemm(reader, known)
    if "MatMul" in kind or kind == "GemmFastGelu":
        return _of_matmul(reader, known)
    if kind == "FusedConv" and len(reader.node.inputs) < 4:  # a fourth one is as large as the result
        return _of_conv(reader, known)
    return {}


_ENTRIES: Mapping[Role, Callable[[Reader, Known], Mapping[int, Entry]]] = {
    Role.MATMUL: _of_matmul,
    Role.GEMM: _of_gemm,
    **dict.fromkeys(CONVOLUTIONS, _of_conv),
    Role.DEFORM_CONV: _of_deformed,
    **dict.fromkeys(INPUT_ROLES | RECURRENT_ROLES, _of_recurrent),
    Role.EMBEDDING: _of_table,
    Role.EINSUM: _of_einsum,
}


def _dtype_of(reader: Reader) -> ir.DataType:
    """Return the type of the weight as a reader sees it: behind a Cast it is that of the Cast."""
    value = reader.node.inputs[reader.index]
    node = None if value is None else value.producer()
    while node is not None and node.op_type != "Cast":
        node = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
    cast = None if node is None else node.attributes.get_int("to", 0)
    if cast:
        return ir.DataType(cast)
    return (value.dtype if value is not None else None) or ir.DataType.FLOAT


def _shape(value: ir.Value | None, known: Known) -> list[int | None] | None:
    """Return what is known of a shape; None of a size that is free."""
    if value is None:
        return None
    shape = value.const_value.shape if value.const_value is not None else known(value).shape
    return None if shape is None else [dim if isinstance(dim, int) and dim > 0 else None for dim in shape]
