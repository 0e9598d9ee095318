"""Decoding a Huffman code in a graph, without a loop.

Every bit of the stream is taken for the first one of a code word: a window there tells the symbol and where the next
code word would begin. Which bits are first ones is found by doubling: from the positions of `n` code words of a segment
and the jumps over `n` code words follow those of `2 n`. Runtimes fold all of it at load; it keeps a few integers for
each bit of the stream and for each doubling (pointer jumping: J. Wyllie, 1979).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops.codebook.decode import integers
from dtc.forms.huffman import SEGMENT, SPARE, HuffmanCode
from dtc.graph.builder import GraphBuilder


def decode_symbols(e: GraphBuilder, code: HuffmanCode, count: int, name: str) -> ir.Value:
    """Return the `count` symbols of a code, uint8 or uint16 `[count]`; its parts are stored under `name`."""
    longest = int(code.lengths[-1])
    order, lengths, starts, stream = (
        e.initializer(f"{name}.{part}", getattr(code, part)) for part in ("order", "lengths", "starts", "stream")
    )
    rank = _rank_of_window(e, lengths, len(code.lengths), longest)
    windows = _windows(e, stream, len(code.stream), longest)
    positions = _positions(e, starts, e.op("Gather", [_gather_int32(e, lengths, rank), windows]), code, count)
    symbols = e.op("Gather", [order, rank])
    return e.op("Gather", [symbols, e.op("Gather", [windows, positions])])


def _gather_int32(e: GraphBuilder, values: ir.Value, indices: ir.Value) -> ir.Value:
    return e.op("Cast", [e.op("Gather", [values, indices])], to=ir.DataType.INT32)


def _rank_of_window(e: GraphBuilder, lengths: ir.Value, words: int, longest: int) -> ir.Value:
    """Return which code word each window of `longest` bits begins with, in canonical order, int32 `[2^longest]`.

    The windows that begin with a code word are as many as the bits behind it can be; the code words ascend. (`Greater`,
    because ONNX Runtime does not fold `GreaterOrEqual` of integers.)
    """
    powers = e.constant(2 ** np.arange(longest, -1, -1, dtype=np.int32))
    sizes = e.op("Gather", [powers, e.op("Cast", [lengths], to=ir.DataType.INT32)])
    first = e.op("CumSum", [sizes, e.constant(np.int64(0))], exclusive=1)
    windows = e.op("Range", [e.constant(np.int32(number)) for number in (0, 2**longest, 1)])
    column = e.op("Reshape", [windows, e.constant(integers(-1, 1))])
    later = e.op("Cast", [e.op("Greater", [first, column])], to=ir.DataType.INT32)
    count = e.total(later, [1], keepdims=0)
    return e.op("Sub", [e.constant(np.int32(words - 1)), count])


def _windows(e: GraphBuilder, stream: ir.Value, size: int, longest: int) -> ir.Value:
    """Return the `longest` bits from each bit of the stream on, int32 `[bits]`."""
    wide = e.op("Cast", [stream], to=ir.DataType.INT32)
    three = None
    for byte, factor in enumerate((1 << 16, 1 << 8, 1)):
        ends = [e.constant(integers(number)) for number in (byte, size - 2 + byte)]
        part = e.op("Mul", [e.op("Slice", [wide, *ends]), e.constant(np.int32(factor))])
        three = part if three is None else e.op("Add", [three, part])
    assert three is not None
    column = e.op("Reshape", [three, e.constant(integers(-1, 1))])
    shifted = e.op("Div", [column, e.constant(2 ** (24 - longest - np.arange(8, dtype=np.int32)))])
    windows = e.op("Mod", [shifted, e.constant(np.int32(2**longest))])
    return e.op("Reshape", [windows, e.constant(integers(-1))])


def _positions(e: GraphBuilder, starts: ir.Value, lengths: ir.Value, code: HuffmanCode, count: int) -> ir.Value:
    """Return the first bit of each of `count` code words, int32 `[count]`, given the length of one at every bit."""
    bits = 8 * (len(code.stream) - SPARE + 1)
    here = e.op("Range", [e.constant(np.int32(number)) for number in (0, bits, 1)])
    # What follows the last code word stays at the last bit; such positions are cut off.
    jump = e.op("Min", [e.op("Add", [here, lengths]), e.constant(np.int32(bits - 1))])
    found = e.op("Reshape", [starts, e.constant(integers(-1, 1))])
    reached, segment = 1, min(SEGMENT, count)
    while reached < segment:
        found = e.op("Concat", [found, e.op("Gather", [jump, found])], axis=1)
        reached *= 2
        if reached < segment:
            jump = e.op("Gather", [jump, jump])
    flat = e.op("Reshape", [found, e.constant(integers(-1))])
    return e.op("Slice", [flat, e.constant(integers(0)), e.constant(integers(count))])
