"""What the lowering of binary codes puts into a graph: planes, constants common to a model, and nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.ops.binary_decode import Constants, LevelConstants, byte_bits, integers
from dtc.forms import BinaryCode
from dtc.forms.binary_code import Packed, unpack_bits
from dtc.passes.lower import Compressed
from dtc.passes.lower.emit import Names

PREFIX = "dtc.binary"


@dataclass(frozen=True, eq=False)
class Planes:
    """The forms of a site as one matrix `[count * out, in]`, in the arrays that operators take.

    Attributes:
        codes: uint8 `[bits (+ 1), rows, bytes]`, a mask being the last plane.
        alphas: float16 or float32 `[bits (+ 1), rows, groups]`, an offset being the last.
        survivors: uint8 `[bits, bytes]`, where codes are stored as those of the kept weights alone, and `mask` then.
    """

    codes: Packed
    alphas: npt.NDArray[np.floating]
    bits: int
    cols: int
    group_size: int
    survivors: Packed | None = None

    @classmethod
    def of(cls, item: Compressed) -> Planes:
        """Join the forms of a site, one under the other."""
        forms = [form for form in item.forms if isinstance(form, BinaryCode)]
        whole = BinaryCode(
            np.concatenate([form.codes for form in forms], axis=1),
            np.concatenate([form.alphas for form in forms], axis=1),
            forms[0].cols,
            forms[0].group_size,
            None if forms[0].offset is None else np.concatenate([f.offset for f in forms if f.offset is not None]),
            None if forms[0].mask is None else np.concatenate([f.mask for f in forms if f.mask is not None]),
        )
        codes = whole.codes if whole.mask is None else np.concatenate([whole.codes, whole.mask[None]])
        alphas = whole.alphas if whole.offset is None else np.concatenate([whole.alphas, whole.offset[None]])
        survivors = None
        if whole.coded_survivors:
            survivors = whole.survivors
            if not int(whole.kept.sum()) % 8:  # `unmask` looks one bit past the last
                survivors = np.pad(survivors, ((0, 0), (0, 1)))
        return cls(codes, alphas, whole.bits, whole.cols, whole.group_size, survivors)

    @property
    def code(self) -> Packed:
        """The code of each weight, uint8 `[rows, cols]`: bit `p` is its sign in plane `p`."""
        code = np.zeros((self.codes.shape[1], self.cols), dtype=np.uint8)
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
        """What each code takes of each alpha, `[terms, 2^planes]`; see `LevelConstants`."""
        planes, terms = len(self.codes), len(self.alphas)
        numbers = np.arange(1 << planes)
        signs = ((numbers >> np.arange(self.bits)[:, None]) & 1) * 2 - 1
        table = np.concatenate([signs, np.ones((terms - self.bits, len(numbers)), dtype=np.int64)])
        if planes > self.bits:
            table *= numbers >> self.bits
        return table.astype(np.float32)

    @property
    def starts(self) -> npt.NDArray[np.int32] | None:
        """Where the levels of each column's group start, `[in]`; None with one group a row."""
        if not self.group_size:
            return None
        return (np.arange(self.cols) // self.group_size << len(self.codes)).astype(np.int32)


class Shared:
    """Constants that the sites of one model use together; they stand in the main graph, which all others see."""

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.names = Names(model)
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._byte_bits: ir.Value | None = None
        self._nodes = Nodes(model.graph, PREFIX, self)

    def constant(self, array: npt.NDArray[Any] | np.generic) -> ir.Value:
        """Return an initializer of these numbers, the same one every time."""
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = self.names.unique(f"{PREFIX}.{len(self._constants)}")
            self._constants[key] = add_initializer(self.graph, name, array)
        return self._constants[key]

    @property
    def byte_bits(self) -> ir.Value:
        """The bits of every byte, computed once."""
        if self._byte_bits is None:
            self._byte_bits = byte_bits(self._nodes)
        return self._byte_bits

    def insert(self) -> None:
        """Put the nodes that were needed in front of all others."""
        if self._nodes.nodes:
            self.graph.insert_before(self.graph[0], self._nodes.nodes)

    def levels(self, planes: Planes, *, transposed: bool = False) -> LevelConstants:
        """Return what looking up the levels of these planes needs."""
        starts = planes.starts
        if starts is not None and transposed:
            starts = starts[:, None]
        return LevelConstants(self.constant(planes.signs), None if starts is None else self.constant(starts))

    def constants(self, planes: Planes, *, transposed: bool = False) -> Constants:
        """Return what decoding these planes needs."""
        width = 8 * planes.codes.shape[2]
        powers = np.array([[1 << plane for plane in range(len(planes.codes))]], dtype=np.uint8)
        return Constants(
            byte_bits=self.byte_bits,
            powers=self.constant(powers),
            padded=self.constant(integers(-1, width)),
            cols=None if width == planes.cols else self.constant(integers(planes.cols)),
            levels=self.levels(planes, transposed=transposed),
        )


class Nodes:
    """Collects nodes that are named after what they replace; small constants are the model's shared ones."""

    def __init__(self, graph: ir.Graph, prefix: str, shared: Shared) -> None:
        self.graph, self.prefix, self.shared = graph, prefix, shared
        self.nodes: list[ir.Node] = []

    def constant(self, array: npt.NDArray[Any] | np.generic) -> ir.Value:
        """Return a shared constant."""
        return self.shared.constant(array)

    def op(self, op_type: str, inputs: Sequence[ir.Value | None], *, domain: str = "", **attributes: Any) -> ir.Value:
        """Add a node of one output."""
        name = self.shared.names.unique(f"{self.prefix}/{len(self.nodes)}")
        node = ir.node(op_type, list(inputs), attributes or None, domain=domain, name=name)
        node.outputs[0].name = name
        self.nodes.append(node)
        return node.outputs[0]


def add_initializer(graph: ir.Graph, name: str, array: npt.NDArray[Any]) -> ir.Value:
    """Store an array in a graph."""
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape))
    graph.register_initializer(value)
    return value
