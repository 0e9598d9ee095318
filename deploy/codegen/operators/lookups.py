"""Gather: rows of a weight in any form, lines of a tensor; and numbers that are put in the place of others."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from dtc.deploy.codegen.axes import strides
from dtc.deploy.codegen.compiling import Compiler, NodeCompiling
from dtc.deploy.codegen.operators.elementwise import copy
from dtc.deploy.codegen.operators.moves import take
from dtc.deploy.codegen.program import Tensor

_TABLE = 256
"""Numbers of a constant from which it is a weight, and not just constants of the program."""


def _gather(at: NodeCompiling) -> None:
    table, ids = at.array(0), at.tensor(1)
    if ids.word not in ("int64", "int32"):
        raise at.refuse(f"indices of {ids.ctype} are not there")
    axis = at.node.attributes.get_int("axis", 0)
    if table is not None and table.ndim == 2 and axis % 2 == 0 and table.size >= _TABLE and table.dtype == np.float32:
        weight = at.table(table)
        at.call(f"dtc_rows_{ids.word}", weight, ids.size, ids, at.output())
        return
    x = at.tensor(0)
    axis %= len(x.shape)
    fixed = at.array(1)
    if fixed is not None and fixed.size == 1 and math.prod(x.shape[:axis]) == 1:
        place = int(fixed.reshape(-1)[0]) % x.shape[axis] * strides(x.shape)[axis]
        shape = at.graph.shape(at.node.outputs[0], at)
        at.give(Tensor(x.name, x.ctype, shape, base=x, offset=str(place)))
        return
    take(at, x, axis, ids if fixed is None else at.integers32(fixed), at.output())


def _scatter_nd(at: NodeCompiling) -> None:
    x, updates = at.tensor(0), at.tensor(2)
    places = np.asarray(at.constant(1, "its indices"), np.int64)
    if at.node.attributes.get_string("reduction", "none") != "none":
        raise at.refuse("a reduction is not there")
    depth = places.shape[-1]
    steps, sizes = np.array(strides(x.shape)[:depth]), np.array(x.shape[:depth])
    inner = math.prod(x.shape[depth:])
    starts = (np.where(places < 0, places + sizes, places) * steps).sum(axis=-1).reshape(-1, 1)
    y = at.output()
    copy(at, x, y, [x.size], [1], [1])
    at.call(f"dtc_scatter_{x.word}", updates.size, at.integers32(starts + np.arange(inner)), updates, y)


COMPILERS: Mapping[str, Compiler] = {"Gather": _gather, "ScatterND": _scatter_nd}
