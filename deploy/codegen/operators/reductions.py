"""Reductions over axes, and pooling over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from dtc.deploy.codegen.axes import MOST, merged, strides
from dtc.deploy.codegen.compiling import Compiler, NodeCompiling
from dtc.deploy.codegen.program import Struct, Tensor

_KERNELS: Mapping[str, str] = {
    "ReduceL1": "l1",
    "ReduceL2": "l2",
    "ReduceLogSum": "log_sum",
    "ReduceMax": "max",
    "ReduceMean": "mean",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceSum": "sum",
    "ReduceSumSquare": "sum_square",
}


def reduce(at: NodeCompiling, kernel: str, x: Tensor, axes: Sequence[int], y: Tensor) -> None:
    """Add a reduction of `x` over axes into `y`."""
    steps = strides(x.shape)
    kept_axes = [axis for axis in range(len(x.shape)) if axis not in axes]
    kept, (kept_step,) = merged([x.shape[axis] for axis in kept_axes], [steps[axis] for axis in kept_axes])
    gone, (gone_step,) = merged([x.shape[axis] for axis in axes], [steps[axis] for axis in axes])
    if max(len(kept), len(gone)) > MOST:
        raise at.refuse(f"it takes more than {MOST} axes")
    members = {"kept_axes": len(kept), "kept": kept, "kept_step": kept_step}
    members |= {"gone_axes": len(gone), "gone": gone, "gone_step": gone_step}
    at.call(f"dtc_reduce_{kernel}", Struct("dtc_reduce_shape", members), x, y)


def _reduce(kernel: str, at: NodeCompiling) -> None:
    x = at.tensor(0)
    at.expect_float(x)
    axes = at.integers(1, "axes", "its axes")
    if not axes and not at.node.attributes.get_int("noop_with_empty_axes", 0):
        axes = list(range(len(x.shape)))
    # Over no axis each number by itself: its square is still taken.
    reduce(at, kernel, x, sorted(axis % len(x.shape) for axis in axes or []), at.output())


def _global_pool(kernel: str, at: NodeCompiling) -> None:
    x = at.tensor(0)
    at.expect_float(x)
    reduce(at, kernel, x, range(2, len(x.shape)), at.output())


def _arg_max(at: NodeCompiling) -> None:
    x = at.tensor(0)
    at.expect_float(x)
    if at.node.attributes.get_int("select_last_index", 0):
        raise at.refuse("select_last_index is not there")
    axis = at.node.attributes.get_int("axis", 0) % len(x.shape)
    inner = strides(x.shape)[axis]
    size = x.shape[axis]
    at.call("dtc_arg_max", x.size // (size * inner), size, inner, x, at.output())


COMPILERS: Mapping[str, Compiler] = {
    **{name: partial(_reduce, kernel) for name, kernel in _KERNELS.items()},
    "GlobalAveragePool": partial(_global_pool, "mean"),
    "GlobalMaxPool": partial(_global_pool, "max"),
    "ArgMax": _arg_max,
}
