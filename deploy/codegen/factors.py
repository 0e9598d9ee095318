"""Weights that are products of two constants, found again by their numbers.

A file may multiply the factors of a low-rank weight when it is loaded, since that is faster on a processor with caches.
A program stores both, and multiplies with one after the other, as that takes less memory.
"""

from __future__ import annotations

import hashlib
import math
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from dtc.deploy.codegen.weights.stored import AnyArray, Matrix
from dtc.passes.prepare.known_sizes import static_shape

Key: TypeAlias = tuple[tuple[int, ...], str]


def key_of(matrix: Matrix) -> Key:
    """Return what tells a matrix from all others."""
    return matrix.shape, hashlib.sha256(matrix.tobytes()).hexdigest()


class KnownProducts:
    """Pairs of factors, by the product of which they are."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, Key], tuple[Matrix, Matrix]] = {}

    def add(self, left: AnyArray, right: AnyArray, product: AnyArray) -> None:
        """Remember of what a product was computed, or several: `[parts, rows, cols]`.

        The transpose of one is the product of the factors' transposes.
        """
        parts = math.prod(product.shape[:-2])
        a, b, whole = (
            np.ascontiguousarray(each.reshape(-1, each.shape[-1]), np.float32) for each in (left, right, product)
        )
        self._found[parts, key_of(whole)] = a, b
        if parts == 1:
            turned = [np.ascontiguousarray(each.T) for each in (whole, b, a)]
            self._found[1, key_of(turned[0])] = turned[1], turned[2]

    def factors(self, key: Key, parts: int) -> tuple[Matrix, Matrix] | None:
        """Return `left [rows, rank]` and `right [parts * rank, cols]` of a matrix; None where it is no known product.

        `key` is that of the matrix, which is `parts` products, one below the other.
        """
        return self._found.get((parts, key))


def is_factored(node: ir.Node) -> bool:
    """True of the product of two matrices, or of several pairs, that is larger than all of them together."""
    if node.op_type != "MatMul" or node.domain != "":
        return False
    shapes = [None if value is None else static_shape(value) for value in node.inputs]
    left, right = (shape or () for shape in shapes)
    if min(len(left), len(right)) < 2 or math.prod(left[:-2]) != math.prod(right[:-2]):
        return False
    return math.prod(left) + math.prod(right) < math.prod(left[:-1]) * right[-1]
