"""Scan: its body in a loop, such as the low-rank recurrent nodes that dtc writes."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from dtc.deploy.codegen.compiling import Compiler, GraphCompiling, NodeCompiling
from dtc.deploy.codegen.operators.elementwise import copy
from dtc.deploy.codegen.program import Tensor


def _scan(at: NodeCompiling) -> None:
    attributes = at.node.attributes
    body, scanned = attributes["body"].as_graph(), attributes["num_scan_inputs"].as_int()
    states = len(at.node.inputs) - scanned
    for name in ("scan_input_axes", "scan_output_axes"):
        if any(attributes.get_ints(name, [])):
            raise at.refuse("it is along another axis than the first")
    lines = [at.tensor(index) for index in range(states, len(at.node.inputs))]
    count = lines[0].shape[0]
    loop, inner = at.graph.within(f"step_{at.graph.depth}", count)
    kept = [_state(at, index) for index in range(states)]
    stacked = [_stacked(at, index) for index in range(states, len(at.node.outputs))]
    backwards = attributes.get_ints("scan_input_directions", [0] * scanned)
    for value, tensor in zip(body.inputs, kept, strict=False):
        inner.values[value] = tensor
    for value, tensor, back in zip(list(body.inputs)[states:], lines, backwards, strict=True):
        inner.values[value] = _line(tensor, loop.variable, backwards=bool(back))
    at.graph.steps.append(loop)
    inner.compile(body)
    backwards = attributes.get_ints("scan_output_directions", [0] * len(stacked))
    _hand_on(
        at,
        inner,
        body,
        [
            *kept,
            *(
                None if each is None else _line(each, loop.variable, backwards=bool(back))
                for each, back in zip(stacked, backwards, strict=True)
            ),
        ],
    )


def _state(at: NodeCompiling, index: int) -> Tensor:
    """Return memory of a state, which begins as the input says and is an output in the end."""
    first = at.tensor(index)
    at.expect_float(first)
    state = at.memory(first.shape)
    copy(at, first, state, [first.size], [1], [1])
    return at.give(state, index)


def _stacked(at: NodeCompiling, index: int) -> Tensor | None:
    return at.output(index) if at.writes(index) else None


def _line(tensor: Tensor, variable: str, *, backwards: bool) -> Tensor:
    """Return what belongs to a step of a tensor whose first axis counts steps."""
    shape = tensor.shape[1:]
    line = Tensor(tensor.name, tensor.ctype, shape, base=tensor)
    place = f"({tensor.shape[0] - 1} - {variable})" if backwards else variable
    line.offset = f"{place} * {line.size}"
    return line


def _hand_on(at: NodeCompiling, inner: GraphCompiling, body: ir.Graph, places: list[Tensor | None]) -> None:
    """Copy what the body computes to where the next step, or what is behind the loop, reads it.

    All is computed before any is copied, and a state that becomes another one goes through memory of its own.
    """
    inside = NodeCompiling(at.node, inner)
    found = [inner.tensor(value, inside) for value in body.outputs]
    roots = [place.root for place in places if place is not None]
    for index, (tensor, place) in enumerate(zip(found, places, strict=True)):
        if place is not None and tensor.root in roots and tensor.root is not place.root:
            found[index] = inside.memory(tensor.shape, tensor.ctype)
            copy(inside, tensor, found[index], [tensor.size], [1], [1])
    for tensor, place in zip(found, places, strict=True):
        if place is not None and tensor is not place:
            copy(inside, tensor, place, [place.size], [1], [1])


COMPILERS: Mapping[str, Compiler] = {"Scan": _scan}
