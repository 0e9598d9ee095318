"""Pooling over one or two axes."""

from __future__ import annotations

from dtc.deploy.codegen.compiling import NodeCompiling
from dtc.deploy.codegen.program import Struct
from dtc.deploy.codegen.windows import two, windows


def _pool(at: NodeCompiling, function: str) -> None:
    x = at.tensor(0)
    at.expect_float(x)
    axes = len(x.shape) - 2
    if not 1 <= axes <= 2 or at.writes(1):
        raise at.refuse("there is pooling over one or two axes, without the places of the largest numbers")
    found = windows(at, x.shape[2:], at.node.attributes["kernel_shape"].as_ints())
    y = at.output()
    members = {
        "channels": x.shape[0] * x.shape[1],
        "size": two(x.shape[2:], 1),
        "result": two(y.shape[2:], 1),
        "after": two(found.after, 0),
        "counts_padding": bool(at.node.attributes.get_int("count_include_pad", 0)),
        **found.members(),
    }
    at.call(function, Struct("dtc_pool_shape", members), x, y)


def _max_pool(at: NodeCompiling) -> None:
    _pool(at, "dtc_max_pool")


def _average_pool(at: NodeCompiling) -> None:
    _pool(at, "dtc_average_pool")


COMPILERS = {"MaxPool": _max_pool, "AveragePool": _average_pool}
