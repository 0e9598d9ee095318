"""MatMul and Gemm: weights in any form, or two tensors."""

from __future__ import annotations

import math

import numpy as np

from dtc.deploy.codegen.compiling import NodeCompiling
from dtc.deploy.codegen.constants import is_constant
from dtc.deploy.codegen.operators.elementwise import pair
from dtc.deploy.codegen.program import AnyArray, Struct, Tensor


def linear(at: NodeCompiling, matrix: AnyArray, bias: AnyArray | None, x: Tensor, y: Tensor) -> None:
    """Add `y [..., out] = x [..., in] @ matrix^T + bias`, `matrix` being `[out, in]`."""
    weight = at.weight(matrix)
    count = x.size // weight.cols
    told = None if bias is None else at.floats(bias)
    if weight.several is None or count < weight.several.least:
        scratch = at.memory([max(weight.scratch, 1)])
        at.call("dtc_linear", weight, told, count, x, y, scratch, multiply_adds=count * weight.multiply_adds)
        return
    most = at.graph.kernels.together(count, weight.cols)
    scratch = at.memory([most * weight.cols + weight.several.scratch])
    work = count * weight.several.multiply_adds
    at.call("dtc_linear_many", weight, told, count, most, x, y, scratch, multiply_adds=work)


def _matmul(at: NodeCompiling) -> None:
    right = at.array(1)
    if right is not None and is_constant(at.value(1)) and right.ndim == 2:
        x = at.tensor(0)
        at.expect_float(x)
        linear(at, right.T, None, x, at.output())
        return
    a, b = at.tensor(0), at.tensor(1)
    at.expect_float(a, b)
    _product(at, a, b, at.output())


def _product(at: NodeCompiling, a: Tensor, b: Tensor, y: Tensor) -> None:
    """Add a product of two tensors; a batch is one axis, or all the same."""
    a_shape = a.shape if len(a.shape) > 1 else (1, *a.shape)
    b_shape = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    (m, k), n = a_shape[-2:], b_shape[-1]
    batch = y.size // (m * n)
    counts = [math.prod(shape[:-2]) for shape in (a_shape, b_shape)]
    if any(count not in (1, batch) for count in counts):
        raise at.refuse(f"batches {a.shape} and {b.shape} are repeated along one of several axes")
    strides = [0 if count == 1 else each.size // count for count, each in zip(counts, (a, b), strict=True)]
    members = {"batch": batch, "m": m, "k": k, "n": n, "a_batch": strides[0], "b_batch": strides[1]}
    members |= {"a_row": k, "a_col": 1, "b_row": n, "b_col": 1}
    at.call("dtc_matmul", Struct("dtc_matmul_shape", members), a, b, y, multiply_adds=batch * m * k * n)


def _gemm(at: NodeCompiling) -> None:
    alpha, beta = (at.node.attributes.get_float(name, 1.0) for name in ("alpha", "beta"))
    turned = [at.node.attributes.get_int(name, 0) for name in ("transA", "transB")]
    x, right = at.tensor(0), at.constant(1, "the weights")
    if turned[0] and 1 not in x.shape:
        raise at.refuse("transA of a matrix is not there")
    y = at.output()
    bias = _bias(at, beta, y.shape[-1])
    matrix = np.float32(alpha) * np.asarray(right if turned[1] else right.T, np.float32)
    linear(at, matrix, bias, x, y)
    if at.has(2) and bias is None:
        if beta != 1:
            raise at.refuse("beta of a bias that differs by row is not there")
        pair(at, "add", y, at.tensor(2), y)


def _bias(at: NodeCompiling, beta: float, rows: int) -> AnyArray | None:
    """Return a bias that is constant, one number a row of the weight; None for all others."""
    if not at.has(2) or not is_constant(at.value(2)):
        return None
    added = np.float32(beta) * np.asarray(at.constant(2, "the bias"), np.float32)
    return np.broadcast_to(added.reshape(-1), (rows,)) if added.size in (1, rows) else None


COMPILERS = {"MatMul": _matmul, "Gemm": _gemm}
