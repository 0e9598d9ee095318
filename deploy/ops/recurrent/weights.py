"""The forms in which the recurrent operators take a weight: its arrays, and how a body decodes them.

A weight is the matrices of all directions, `[directions * gates * hidden_size, columns]`; its arrays hold them one
after another, so that a kernel reads each direction's in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from dtc.deploy.ops.binary.blocks import rows_of_blocks
from dtc.deploy.ops.binary.decode import computed_constants, decode, integer_attribute, integers
from dtc.deploy.ops.codebook.decode import decode_matrix
from dtc.deploy.ops.sparse.decode import PackedBitmap, PackedCsr
from dtc.graph.builder import FunctionBuilder


@dataclass(frozen=True)
class GivenWeight:
    """A weight of a function under construction.

    Attributes:
        body: The function.
        prefix: `w` or `r`, which the names of its arrays and attributes begin with.
        rows: gates * hidden_size, of one direction, int64 `[1]`.
        cols: int64 `[1]`.
    """

    body: FunctionBuilder
    prefix: str
    rows: ir.Value
    cols: ir.Value

    def array(self, name: str) -> ir.Value:
        """Return an array by its name in the form."""
        return self.body.inputs[f"{self.prefix}_{name}"]

    def attribute(self, name: str) -> ir.Value:
        """Return an attribute of the form, int64 `[1]`."""
        return integer_attribute(self.body, f"{self.prefix}_{name}")

    def stacked(self, matrix: ir.Value) -> ir.Value:
        """Return `[directions * rows, cols]` as `[directions, rows, cols]`."""
        return self.body.op("Reshape", [matrix, self.shape(integers(-1), self.rows, self.cols)])

    def shape(self, *parts: object) -> ir.Value:
        """Join numbers and values to one shape."""
        values = [part if isinstance(part, ir.Value) else self.body.constant(part) for part in parts]  # type: ignore[arg-type]
        return self.body.op("Concat", values, axis=0)


@dataclass(frozen=True)
class WeightForm:
    """A form of a weight.

    Attributes:
        arrays: What each array is, by name; operators call it `w_<name>` or `r_<name>`.
        decode: Adds nodes for the weight, float `[directions, rows, cols]`.
        attributes: What each integer attribute is, by name, with its default.
        roles: Which weights may have this form.
        has_accuracy: Whether kernels leave a choice of their arithmetic (attribute `accuracy_level`).
    """

    arrays: Mapping[str, str]
    decode: Callable[[GivenWeight], ir.Value]
    attributes: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    roles: str = "wr"
    has_accuracy: bool = False


def _dense(given: GivenWeight) -> ir.Value:
    return given.array("weight")


def _sparse(given: GivenWeight) -> ir.Value:
    values = given.body.op("Cast", [given.array("values")], to=ir.DataType.FLOAT)
    csr = PackedCsr(values, given.cols, given.array("columns"), given.array("row_pointers"))
    return given.stacked(csr.dense(given.body))


def _bitmap(given: GivenWeight) -> ir.Value:
    values = given.body.op("Cast", [given.array("values")], to=ir.DataType.FLOAT)
    return given.stacked(PackedBitmap(values, given.cols, given.array("bitmap")).dense(given.body))


def _binary(given: GivenWeight) -> ir.Value:
    body, codes, alphas = given.body, given.array("codes"), given.array("alphas")
    # Blocks are within a direction and a plane, while the decoder takes one matrix of all directions: codes
    # [directions, planes, rows * bytes] -> [directions * planes, rows * bytes], to undo the blocks of each ->
    # [directions, planes, rows, bytes] -> [planes, directions, rows, bytes] -> [planes, directions * rows, bytes]
    # alphas [directions, terms, groups, rows] -> [terms, directions, rows, groups] -> [terms, directions * rows,
    # groups] The decoded matrix [directions * rows, cols] is stacked again at the end.
    planes = body.op("Slice", [body.op("Shape", [codes]), body.constant([1]), body.constant([2])])
    flat = body.op("Reshape", [codes, given.shape(integers(-1), _dimension(body, codes, 2))])
    rows = body.op(
        "Reshape",
        [rows_of_blocks(body, flat, given.rows), given.shape(integers(-1), planes, given.rows, _width(given))],
    )
    codes = body.op("Transpose", [rows], perm=[1, 0, 2, 3])
    codes = body.op("Reshape", [codes, given.shape(integers(0, -1), _width(given))])
    alphas = body.op("Transpose", [alphas], perm=[1, 0, 3, 2])
    groups = _dimension(body, alphas, 3)
    alphas = body.op("Reshape", [alphas, given.shape(integers(0, -1), groups)])
    sizes = given.attribute("bits"), given.cols, given.attribute("group_size")
    return given.stacked(decode(body, codes, alphas, computed_constants(body, codes, alphas, sizes=sizes)))


def _width(given: GivenWeight) -> ir.Value:
    """Return the bytes of a row of codes, `ceil(cols / 8)`, int64 `[1]`."""
    body = given.body
    return body.op("Div", [body.op("Add", [given.cols, body.constant([7])]), body.constant([8])])


def _dimension(body: FunctionBuilder, value: ir.Value, axis: int) -> ir.Value:
    return body.op("Gather", [body.op("Shape", [value]), body.constant([axis])])


def _codebook(given: GivenWeight) -> ir.Value:
    # The decoder takes scalars; attributes and sizes come as [1].
    bits, cols = (
        given.body.op("Reshape", [each, given.body.constant([])]) for each in (given.attribute("bits"), given.cols)
    )
    return given.stacked(decode_matrix(given.body, given.array("indices"), given.array("codewords"), bits, cols))


def _low_rank(given: GivenWeight) -> ir.Value:
    return given.body.op("MatMul", [given.array("left"), given.array("right")])


_GROUP_DOC = (
    "a multiple of 8: columns that share coefficients; for one group a row, the columns rounded up to a multiple of 8"
)

DENSE = "dense"
"""The form of a weight that is not compressed: one float32 array."""

FORMS: Mapping[str, WeightForm] = {
    DENSE: WeightForm({"weight": "float32 [directions, rows, columns]"}, _dense),
    "sparse": WeightForm(
        {
            "values": "float32 or float16 [count], row by row, at least one, finite",
            "columns": "uint8, uint16 or uint32 [count]: the column of each value, rising within a row",
            "row_pointers": "uint8, uint16 or uint32 [directions * rows + 1]: where each row begins, then the count",
        },
        _sparse,
    ),
    "bitmap": WeightForm(
        {
            "values": "float32 or float16 [count], row by row, at least one, finite",
            "bitmap": "uint8 [directions * rows, ceil(columns / 8)], LSB first: a bit for each weight that has a value",
        },
        _bitmap,
    ),
    "binary": WeightForm(
        {
            "codes": "uint8 [directions, bits (+ 1), rows * ceil(columns / 8)]: of each direction the codes of "
            "BinaryMatMul, in blocks of 32 rows",
            "alphas": "float or float16 [directions, bits (+ 1), groups, rows]",
        },
        _binary,
        {
            "bits": (1, "sign planes, 1 to 8; with a mask at most 7"),
            "group_size": (8, _GROUP_DOC),
        },
        has_accuracy=True,
    ),
    "codebook": WeightForm(
        {
            "indices": "uint8 [directions * rows, ceil(blocks * bits / 8)], packed LSB first, see CodebookMatMul",
            "codewords": "float [count, block]; count is at most 2^bits",
        },
        _codebook,
        {"bits": (8, "of an index, 1, 2, 4 or 8")},
    ),
    "low_rank": WeightForm(
        {"left": "float32 [directions, rows, rank]", "right": "float32 [directions, rank, columns]"},
        _low_rank,
        roles="r",
    ),
}  # fmt: skip
"""Forms by the word that they have in an operator's name."""
