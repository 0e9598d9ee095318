"""Weights that are no sites, and why: what `dtc inspect` lists, and what an error says of a model without sites."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from dtc.deploy.ops import DOMAIN, operators
from dtc.formatting import size
from dtc.graph import Site, all_graphs, all_nodes, why_no_site
from dtc.graph.decoding import Decoder, decodes_rows, find_decoders
from dtc.graph.sparse import tensor_bytes
from dtc.graph.walk import PASS_THROUGH
from dtc.passes.prepare import functions_left

NOTEWORTHY = 1024
"""Bytes; smaller ones are biases, shapes and constants."""

_COMPRESSED = "was compressed by dtc already"
_QUANTIZED = "already quantized"
_HOLDS_QUANTIZED = (
    "DynamicQuantize",
    "GatherBlockQuantized",
    "MatMulBnb4",
    "MatMulInteger",
    "MatMulNBits",
    "QAttention",
    "QEmbed",
    "QGemm",
    "QLinear",
    "QMoE",
    "QOrdered",
    "ConvInteger",
)
"""What the names of operators on quantized weights begin with; their scales are floats."""

_NAMED = 3
"""Names in a message; the rest is counted."""

_REORDERED = "com.microsoft.nchwc"
_HANDS_ON = PASS_THROUGH | {"Cast", "Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}


@dataclass(frozen=True, eq=False)
class Unused:
    """A weight that no method gets.

    Attributes:
        name: Of the initializer, or of a constant in a function.
        tensor: Its numbers.
        reason: Why no method gets it.
    """

    name: str
    tensor: ir.TensorProtocol
    reason: str

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers as the model stores them."""
        return tensor_bytes(self.tensor)


def find_unused(model: ir.Model, sites: Iterable[Site]) -> list[Unused]:
    """Return what is no site of a normalised model, the largest first, biases and shapes among it."""
    explained = _Reasons(model)
    taken = {site.value for site in sites}
    found = [
        Unused(value.name or "", value.const_value, explained.of(value))
        for graph in all_graphs(model)
        for value in graph.initializers.values()
        if value.const_value is not None and value not in taken
    ]
    return sorted([*found, *explained.in_functions()], key=lambda each: -each.nbytes)


def why_no_sites(model: ir.Model, sites: Sequence[Site]) -> str | None:
    """Return in words why a model has no site to speak of: what was compressed, or what its largest weight is.

    None where it has some. Beside weights that were compressed, small ones are tables that decode these.
    """
    if any(site.nbytes >= NOTEWORTHY for site in sites):
        return None
    compressed = told_compressed(model)
    if compressed is not None or sites:
        return compressed
    found = find_unused(model, ())
    if not found or found[0].nbytes < NOTEWORTHY:
        return f"none has {NOTEWORTHY} bytes or more"
    return f"the largest, {found[0].name!r} of {size(found[0].nbytes)}: {found[0].reason}"


def told_compressed(model: ir.Model) -> str | None:
    """Return in words that nodes of a model read weights which dtc has compressed; None if there are none."""
    names = list(dict.fromkeys(node.name or node.op_type for node in _compressed_readers(model)))
    if not names:
        return None
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{_COMPRESSED}: the weights of {', '.join(map(repr, names[:_NAMED]))}{more}"


def _compressed_readers(model: ir.Model) -> Iterator[ir.Node]:
    decoders = [decoder for decoder in find_decoders(model) if not decoder.is_plain]
    inner = {node for decoder in decoders for node in decoder.nodes}
    readers = {reader for decoder in decoders for reader in decoder.readers}
    for node in all_nodes(model):
        coded = _is_ours(node) or (node.op_type == "Gather" and decodes_rows(node.inputs[0]))
        if node in readers or (coded and node not in inner):
            yield node


class _Reasons:
    """Why the weights of a model are no sites."""

    def __init__(self, model: ir.Model) -> None:
        self._model, self._left = model, functions_left(model)
        self._decoded = {value: decoder for decoder in find_decoders(model) for value in decoder.constants}

    def of(self, value: ir.Value) -> str:
        """Return why an initializer is no site."""
        readers = list(_readers(value))
        ours = [node for node in readers if _is_ours(node)]
        if ours:
            return f"{_COMPRESSED}: read by {_called(ours)}"
        if value in self._decoded:
            return _of_decoder(self._decoded[value])
        functions = [node for node in readers if node.op_identifier() in self._model.functions]
        if functions:
            return f"read by {self._function(functions[0].op_identifier())}"
        if any(node.op_type.startswith(_HOLDS_QUANTIZED) for node in readers):
            return f"{_QUANTIZED}: read by {_called(readers)}"
        if any(node.domain == _REORDERED for node in readers):
            return f"read by {_called(readers)}: reordered for one machine by ONNX Runtime; give the model from before"
        return self._plainly(value, readers)

    def in_functions(self) -> Iterator[Unused]:
        """Yield the constants of functions that stay."""
        for key, function in self._model.functions.items():
            if key[0] == DOMAIN and key[1] in operators():
                continue
            for node in function.all_nodes():
                attribute = node.attributes.get("value")
                if node.op_type == "Constant" and attribute is not None and not attribute.is_ref():
                    name = f"{key[0]}::{key[1]}/{node.outputs[0].name}"
                    yield Unused(name, attribute.as_tensor(), f"stands in {self._function(key)}")

    def _function(self, key: ir.OperatorIdentifier) -> str:
        return f"function {key[0]}::{key[1]}, which is not inlined: {self._left.get(key, 'no site comes out of it')}"

    @staticmethod
    def _plainly(value: ir.Value, readers: list[ir.Node]) -> str:
        if value.dtype is None or value.dtype.is_floating_point():
            return why_no_site(value)
        if decodes_rows(value):
            return f"{_COMPRESSED}: rows are decoded behind {_called(readers)}"
        return f"not a float weight ({_QUANTIZED}, or an index): read by {_called(readers) or 'nothing'}"


def _is_ours(node: ir.Node) -> bool:
    return node.domain == DOMAIN and node.op_type in operators()


def _of_decoder(decoder: Decoder) -> str:
    readers = _called(decoder.readers) or "the outputs"
    if decoder.is_plain:
        return f"{_QUANTIZED}: decoded for {readers}"
    return f"{_COMPRESSED}: decoded for {readers}"


def _readers(value: ir.Value) -> Iterator[ir.Node]:
    """Yield the nodes that read a value, behind those that only hand it on."""
    waiting, seen = [value], {value}
    for handed in waiting:  # grows as the value is handed on
        for node, _ in handed.uses():
            if node.domain == "" and node.op_type in _HANDS_ON:
                waiting += [output for output in node.outputs[:1] if output not in seen]
                seen.update(node.outputs)
            else:
                yield node


def _called(nodes: Iterable[ir.Node]) -> str:
    """Return the operators of nodes, each once, with the domain of those that are not ONNX's or ONNX Runtime's."""
    names = {
        node.op_type if node.domain in ("", "com.microsoft", DOMAIN) else f"{node.domain}::{node.op_type}"
        for node in nodes
    }
    return ", ".join(sorted(names))
