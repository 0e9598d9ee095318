"""Two methods as one: the order is the order written, and what makes no sense is refused with the reason."""

from __future__ import annotations

import numpy as np
import pytest

from dtc.errors import UsageError
from dtc.forms import BinaryCode, pack_form, unpack_form
from dtc.forms.composite import Product, Sum
from dtc.forms.sparse import Sparse
from dtc.passes.compose import make_methods
from dtc.passes.method import DistortionStep, Skip, Weights


def weights(shape: tuple[int, ...] = (1, 96, 80), role: str = "MatMul", seed: int = 0) -> Weights:
    return Weights("w", role, np.random.default_rng(seed).normal(size=shape).astype(np.float32), "node")


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(a - b).sum() / np.square(a).sum())


def test_survivors_alone_are_coded_and_zeros_stay_zeros() -> None:
    given = weights()
    form = make_methods("prune+binary", {"sparsity": 0.9, "bits": 1}).distort([given])["w"][0]
    assert isinstance(form, BinaryCode)
    kept = np.sort(np.abs(given.matrices).ravel())[-round(0.1 * given.matrices.size)]
    np.testing.assert_array_equal(form.dense() != 0, np.abs(given.matrices[0]) >= kept)


def test_survivors_are_coded_once_it_is_settled_which_they_are() -> None:
    method = make_methods("prune+binary", {"sparsity": 0.9, "bits": 1, "end_step": "50%"})
    kinds = [type(method.distort([weights()], DistortionStep(step, 100))["w"][0]) for step in (10, 49, 50, 100)]
    assert kinds == [Sparse, Sparse, BinaryCode, BinaryCode]
    assert [method.at_full_strength(DistortionStep(step, 100)) for step in (49, 50)] == [False, True]


@pytest.mark.parametrize(
    ("sparsity", "masked", "unmasked"), [(0.5, 0.13, 0.565), (0.8, 0.051, 0.81), (0.95, 0.021, 0.95)]
)
def test_masked_coding_is_far_better_than_unmasked(sparsity: float, masked: float, unmasked: float) -> None:
    """Reference numbers of one bit on Gaussian rows, against the pruned weights."""
    given = weights((1, 300, 300))
    order = np.argsort(np.abs(given.matrices), axis=2)
    pruned = given.matrices.copy()
    np.put_along_axis(pruned, order[:, :, : round(sparsity * 300)], 0, axis=2)
    rows = Weights("w", "MatMul", pruned, "node")
    one_bit = make_methods("binary", {"bits": 1})
    coded = one_bit.distort([Weights("w", "MatMul", pruned, "node", mask=pruned != 0)])["w"][0]
    plain = one_bit.distort([rows])["w"][0]
    assert relative(pruned[0], coded.dense()) == pytest.approx(masked, rel=0.05)
    assert relative(pruned[0], plain.dense()) == pytest.approx(unmasked, rel=0.02)


@pytest.mark.parametrize("role", ["MatMul", "Gather"])
def test_factors_are_coded_and_their_product_is_what_is_computed(role: str) -> None:
    given = weights(role=role)
    form = make_methods("svd+binary", {"rank": 12, "bits": 4}).distort([given])["w"][0]
    assert isinstance(form, Product)
    assert form.shape == (96, 80)
    assert form.turned == (role == "Gather")
    np.testing.assert_allclose(form.dense(), form.left.dense() @ form.right_dense(), atol=1e-6)
    low_rank = make_methods("svd", {"rank": 12}).distort([given])["w"][0].dense()
    assert relative(low_rank, form.dense()) < 0.1
    np.testing.assert_array_equal(unpack_form(pack_form(form)).dense(), form.dense())


def test_large_weights_stay_sparse_and_the_rest_becomes_low_rank() -> None:
    rng = np.random.default_rng(1)
    low = rng.normal(size=(96, 4)) @ rng.normal(size=(4, 80))
    spikes = np.where(rng.random((96, 80)) < 0.02, rng.normal(size=(96, 80)) * 60, 0)
    given = Weights("w", "MatMul", (low + spikes).astype(np.float32)[None], "node")
    form = make_methods("prune+svd", {"sparsity": 0.98, "rank": 4}).distort([given])["w"][0]
    assert isinstance(form, Sum)
    alone = make_methods("svd", {"rank": 4}).distort([given])["w"][0]
    assert relative(given.matrices[0], form.dense()) < 0.2 * relative(given.matrices[0], alone.dense())
    np.testing.assert_array_equal(unpack_form(pack_form(form)).dense(), form.dense())


def test_a_site_that_the_first_method_leaves_alone_keeps_its_reason() -> None:
    outcome = make_methods("svd+binary", {"rank": 40, "bits": 2}).distort([weights((1, 48, 40)), weights((1, 96, 80))])
    assert isinstance(outcome["w"], Skip) or isinstance(outcome["w"][0], Product)
    tiny = make_methods("svd+binary", {"rank": 30, "bits": 2}).distort([weights((1, 40, 40))])["w"]
    assert isinstance(tiny, Skip)
    assert "saves nothing at 40x40" in tiny.reason


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("binary+prune", {"bits": 2, "sparsity": 0.5}, "write prune\\+binary"),
        ("binary+svd", {"bits": 2, "rank": 4}, "write svd\\+binary"),
        ("binary+codebook", {"bits": 2}, "weights are coded once"),
        ("prune+prune", {"sparsity": 0.5}, "no form that holds both"),
        ("svd+binary+prune", {"rank": 4}, "two methods can be composed, not 3"),
        ("svd+nothing", {"rank": 4}, "no method is called 'nothing'"),
        ("svd+binary", {"rank": 4, "bits": 2, "codewords": 4}, "--codewords is an option of neither"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, options: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        make_methods(name, options)
