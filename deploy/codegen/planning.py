"""Memory: where each tensor lies in the arena, such that those which are needed at the same time do not overlap.

Calls are numbered in order. A tensor is needed from its first call to its last one; in a loop, what comes in or goes
out of it is needed from its beginning to its end. The largest are placed first, each at the lowest place that is free
all the while.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dtc.deploy.codegen.program import C_BYTES, C_TYPES, CProgram, Loop, Step, Tensor

MEMBERS: Mapping[str, str] = {ctype: f"{ctype.removesuffix('_t')}s" for ctype in C_TYPES.values()}
"""The arena's member for each type."""


@dataclass
class _Span:
    """The numbers of the first and the last call that a tensor is needed in."""

    first: int
    last: int


def plan(program: CProgram) -> dict[str, int]:
    """Give every tensor of a program its place; return how many numbers of each type the arena holds."""
    spans, loops = _spans(program.steps)
    _write_over(program.steps, spans)
    spans, loops = _spans(program.steps)
    for start, end in loops:
        for span in spans.values():
            _stretch(span, start, end)
    sizes = {}
    for ctype in MEMBERS:
        own = {tensor: span for tensor, span in spans.items() if tensor.ctype == ctype}
        if own:
            sizes[ctype] = _place(own)
    return sizes


def arena_bytes(sizes: Mapping[str, int]) -> int:
    """Return the bytes of an arena that holds so many numbers of each type."""
    return sum(C_BYTES[ctype] * count for ctype, count in sizes.items())


def _spans(steps: Sequence[Step]) -> tuple[dict[Tensor, _Span], list[tuple[int, int]]]:
    """Return when each tensor of the arena is needed, and where loops begin and end, inner ones first."""
    spans: dict[Tensor, _Span] = {}
    loops: list[tuple[int, int]] = []
    now = 0

    def walk(part: Sequence[Step]) -> None:
        nonlocal now
        for step in part:
            now += 1
            if isinstance(step, Loop):
                start = now
                walk(step.body)
                loops.append((start, now))
                continue
            for tensor in step.tensors:
                if not tensor.root.place and tensor.root.array is None:
                    spans.setdefault(tensor.root, _Span(now, now)).last = now

    walk(steps)
    return spans, loops


def _stretch(span: _Span, start: int, end: int) -> None:
    """Have a tensor that is needed both in a loop and outside of it be needed in all of it."""
    if span.first < start <= span.last or start <= span.first <= end < span.last:
        span.first, span.last = min(span.first, start), max(span.last, end)


def _write_over(steps: Sequence[Step], spans: Mapping[Tensor, _Span], now: int = 0, within: int = 0) -> int:
    """Have results share the memory of operands that nothing reads afterwards; return the number of the last call."""
    for step in steps:
        now += 1
        if isinstance(step, Loop):
            now = _write_over(step.body, spans, now, now)
            continue
        operand = None if step.over is None else step.over.root
        result = step.tensors[-1].root if step.tensors else None
        if operand is None or result is None or operand not in spans or result not in spans or operand is result:
            continue
        ends, begins = spans[operand].last == now and spans[operand].first >= within, spans[result].first == now
        # Another part of the same memory would be read after it was written over.
        alone = all(tensor is step.over for tensor in step.tensors if tensor.root is operand)
        if ends and begins and alone and (operand.size, operand.ctype) == (result.size, result.ctype):
            result.base, spans[operand].last = operand, spans[result].last
    return now


def _place(spans: Mapping[Tensor, _Span]) -> int:
    """Give tensors of one type their places; return how many numbers they take together."""
    placed: list[tuple[int, int, _Span]] = []
    for tensor, span in sorted(spans.items(), key=lambda item: (-item[0].size, item[1].first)):
        start = 0
        for begin, end, other in sorted((each for each in placed), key=lambda each: each[:2]):
            meets = other.first <= span.last and span.first <= other.last
            if meets and begin < start + tensor.size and start < end:
                start = end
        placed.append((start, start + tensor.size, span))
        tensor.place = f"arena.{MEMBERS[tensor.ctype]} + {start}"
    return max(end for _, end, _ in placed)
