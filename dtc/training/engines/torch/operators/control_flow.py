"""If, Loop and Scan, run as Python on concrete values: a gradient goes through what was run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dtc.training.engines.torch.calls import Bodies, Call, integers_of, operator


@operator("If", bodies=True, numbers=(0,))
def _if(_: Call, bodies: Bodies, condition: Tensor) -> tuple[Any, ...]:
    return tuple(bodies.run("then_branch" if bool(condition) else "else_branch"))


@operator("Loop", bodies=True, numbers=(0, 1))
def _loop(call: Call, bodies: Bodies, most: Tensor | None, condition: Tensor | None, *carried: Any) -> tuple[Any, ...]:
    state, count = list(carried), None if most is None else integers_of(most)[0]
    going, step = True if condition is None else bool(condition), 0
    stacks: list[list[Tensor]] = [[] for _ in range(len(call.node.outputs) - len(carried))]
    while going and (count is None or step < count):
        given = torch.tensor(step, dtype=torch.int64), torch.tensor(going)
        goes_on, *found = bodies.run("body", [*given, *state])
        state = found[: len(state)]
        for stack, value in zip(stacks, found[len(state) :], strict=True):
            stack.append(value)
        going, step = bool(goes_on), step + 1
    return *state, *(torch.stack(stack) if stack else torch.empty(0) for stack in stacks)


@operator("Scan", bodies=True)
def _scan(call: Call, bodies: Bodies, *inputs: Any) -> tuple[Any, ...]:
    if call.version < 9:
        raise call.refuse("the torch engine has Scan from opset 9 on")
    count = call.integer("num_scan_inputs")
    state, sequences = list(inputs[: len(inputs) - count]), inputs[len(inputs) - count :]
    axes = call.integers("scan_input_axes") or [0] * count
    backwards = call.integers("scan_input_directions") or [0] * count
    rows = [_unbound(x, axis, bool(back)) for x, axis, back in zip(sequences, axes, backwards, strict=True)]
    stacks: list[list[Tensor]] = [[] for _ in range(len(call.node.outputs) - len(state))]
    for row in zip(*rows, strict=True):
        found = bodies.run("body", [*state, *row])
        state = found[: len(state)]
        for stack, value in zip(stacks, found[len(state) :], strict=True):
            stack.append(value)
    ends = call.integers("scan_output_axes") or [0] * len(stacks)
    turned = call.integers("scan_output_directions") or [0] * len(stacks)
    outputs = []
    for stack, axis, back in zip(stacks, ends, turned, strict=True):
        outputs.append(torch.stack(stack[::-1] if back else stack, axis) if stack else torch.empty(0))
    return *state, *outputs


def _unbound(x: Tensor, axis: int, backwards: bool) -> list[Tensor]:
    rows = list(x.unbind(axis))
    return rows[::-1] if backwards else rows
