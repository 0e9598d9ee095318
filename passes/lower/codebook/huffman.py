"""Decoding a Huffman code in a graph, without a loop.

Every bit of the stream is taken for the first one of a code word: a window there tells the symbol and where the next
code word would begin. The bits that really are first ones are found by doubling: from the positions of `n` code words
of a segment and the jumps over `n` code words follow those of `2 n`. Runtimes fold all nodes at load; they keep a few
integers for each bit of the stream and for each doubling (pointer jumping: J. Wyllie, 1979).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dtc.deploy.ops.codebook.decode import integers
from dtc.forms.huffman import SEGMENT, SPARE
from dtc.graph.builder import GraphBuilder
from dtc.passes.lower.codebook.joined_codes import JoinedCodes
from dtc.passes.lower.running_sums import SumsBefore


def decode_symbols(e: GraphBuilder, codes: JoinedCodes, count: int, name: str, sums: SumsBefore) -> ir.Value:
    """Return the `count` symbols of codes, uint8 or uint16 `[count]`; what is stored lies under `name`."""
    longest = int(codes.lengths.max())
    order, lengths, starts, stream = (
        e.initializer(f"{name}.{part}", getattr(codes, part)) for part in ("order", "lengths", "starts", "stream")
    )
    # Tables by window: rank -> symbol, rank -> length. By bit of the stream: window -> length of a code word there.
    # Following these lengths from the segments' starts gives the positions, and the windows there the symbols.
    rank = _rank_of_window(e, lengths, codes, longest, sums)
    windows = _windows(e, stream, len(codes.stream), longest)
    if codes.begins:
        windows = e.op("Add", [windows, _first_window_of_code(e, codes, longest)])
    positions = _positions(e, starts, e.op("Gather", [_gather_int32(e, lengths, rank), windows]), codes, count)
    symbols = e.op("Gather", [order, rank])
    return e.op("Gather", [symbols, e.op("Gather", [windows, positions])])


def _gather_int32(e: GraphBuilder, values: ir.Value, indices: ir.Value) -> ir.Value:
    return e.op("Cast", [e.op("Gather", [values, indices])], to=ir.DataType.INT32)


def _rank_of_window(e: GraphBuilder, lengths: ir.Value, codes: JoinedCodes, longest: int, sums: SumsBefore) -> ir.Value:
    """Return which code word each window of `longest` bits begins with, int32 `[codes * 2^longest]`.

    The windows that begin with a code word are as many as the bits behind it can be; the code words ascend. (`Greater`,
    because ONNX Runtime does not fold `GreaterOrEqual` of integers.)
    """
    words, size = len(codes.lengths), codes.count * 2**longest
    # Code words 0, 10, 11 have lengths (1, 2, 2); with longest = 2 they begin (2, 1, 1) of the four windows, the first
    # ones being (0, 2, 3). Window 1 has two code words that begin later, 2 and 3: its rank is 3 - 1 - 2 = 0.
    powers = e.constant(2 ** np.arange(longest, -1, -1, dtype=np.int32))
    sizes = e.op("Gather", [powers, e.op("Cast", [lengths], to=ir.DataType.INT32)])
    first = sums(e, sizes, words)
    windows = e.op("Range", [e.constant(np.int32(number)) for number in (0, size, 1)])
    column = e.op("Reshape", [windows, e.constant(integers(-1, 1))])
    # [windows, 1] against [words] -> [windows, words]; the sum over words is how many begin later.
    later = e.op("Cast", [e.op("Greater", [first, column])], to=ir.DataType.INT32)
    count = e.total(later, [1], keepdims=0)
    return e.op("Sub", [e.constant(np.int32(words - 1)), count])


def _windows(e: GraphBuilder, stream: ir.Value, size: int, longest: int) -> ir.Value:
    """Return the `longest` bits from each bit of the stream on, int32 `[bits]`."""
    wide = e.op("Cast", [stream], to=ir.DataType.INT32)
    # three[b] is bytes b, b + 1, b + 2 as one number of 24 bits, [bytes - 2]. The window from bit 3 of byte b on, of 12
    # bits, is three[b] without its last 24 - 12 - 3 = 9 bits, modulo 2^12.
    three = None
    for byte, factor in enumerate((1 << 16, 1 << 8, 1)):
        ends = [e.constant(integers(number)) for number in (byte, size - 2 + byte)]
        part = e.op("Mul", [e.op("Slice", [wide, *ends]), e.constant(np.int32(factor))])
        three = part if three is None else e.op("Add", [three, part])
    assert three is not None
    column = e.op("Reshape", [three, e.constant(integers(-1, 1))])
    # [bytes - 2, 1] by eight divisors -> [bytes - 2, 8] -> flat, a window for each bit.
    shifted = e.op("Div", [column, e.constant(2 ** (24 - longest - np.arange(8, dtype=np.int32)))])
    windows = e.op("Mod", [shifted, e.constant(np.int32(2**longest))])
    return e.op("Reshape", [windows, e.constant(integers(-1))])


def _first_window_of_code(e: GraphBuilder, codes: JoinedCodes, longest: int) -> ir.Value:
    """Return the number of the first window of the code that each bit belongs to, int32 `[bits]`."""
    # Parts that begin at the bits 0 and 5: bits 5 and on are behind 4, and have the second code's windows.
    last = e.constant(np.array(codes.begins, dtype=np.int32) - np.int32(1))
    column = e.op("Reshape", [_bits(e, codes), e.constant(integers(-1, 1))])
    behind = e.op("Cast", [e.op("Greater", [column, last])], to=ir.DataType.INT32)
    return e.op("Mul", [e.total(behind, [1], keepdims=0), e.constant(np.int32(2**longest))])


def _bits(e: GraphBuilder, codes: JoinedCodes) -> ir.Value:
    """Return the numbers of all bits from which a window is read, int32."""
    count = 8 * (len(codes.stream) - SPARE + 1)
    return e.op("Range", [e.constant(np.int32(number)) for number in (0, count, 1)])


def _positions(e: GraphBuilder, starts: ir.Value, lengths: ir.Value, codes: JoinedCodes, count: int) -> ir.Value:
    """Return the first bit of each of `count` code words, int32 `[count]`, given the length of one at every bit."""
    bits, here = 8 * (len(codes.stream) - SPARE + 1), _bits(e, codes)
    # What follows the last code word stays at the last bit; such positions are cut off.
    jump = e.op("Min", [e.op("Add", [here, lengths]), e.constant(np.int32(bits - 1))])
    found = e.op("Reshape", [starts, e.constant(integers(-1, 1))])
    reached, segment = 1, min(SEGMENT, count)
    # found [segments, n]: first bits of the first n code words of each segment; jump [bits]: the first bit n code words
    # further on. A gather of `found` in `jump` gives the next n, and one of `jump` in itself jumps over 2 n.
    # Three steps give 8 words of a code of 5, of which the Slice keeps 5. Where there are several segments they are
    # full, but for the last one: SEGMENT is a power of two, so that the rows fit together without a gap.
    while reached < segment:
        found = e.op("Concat", [found, e.op("Gather", [jump, found])], axis=1)
        reached *= 2
        if reached < segment:
            jump = e.op("Gather", [jump, jump])
    flat = e.op("Reshape", [found, e.constant(integers(-1))])
    return e.op("Slice", [flat, e.constant(integers(0)), e.constant(integers(count))])
