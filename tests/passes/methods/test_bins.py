"""Bin & Quant: the published split order, its limits, and that distorting twice changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtc.errors import UsageError
from dtc.forms import Codebook, stored_bytes
from dtc.passes.method import DistortionStep, Probe, Skip, Weights, make_method
from dtc.passes.methods.bins import BinsOptions
from dtc.passes.solvers.binning import Bins, Member, split_best


def weights(matrix: np.ndarray, name: str = "w", **facts: object) -> Weights:
    stack = np.asarray(matrix, np.float32)
    stack = stack if stack.ndim == 3 else stack[None]
    return Weights(name, stack, **{"node": "n", **facts})  # type: ignore[arg-type]


def form_of(matrix: np.ndarray, options: dict[str, object], probe: Probe | None = None, **facts: object) -> Codebook:
    outcome = make_method("bins", options).distort([weights(matrix, **facts)], DistortionStep(probe=probe))["w"]
    assert not isinstance(outcome, Skip), outcome.reason
    assert isinstance(outcome[0], Codebook)
    return outcome[0]


def error(form: Codebook, matrix: np.ndarray) -> float:
    return float(np.square(form.dense() - matrix).sum(dtype=np.float64))


GAUSS = np.random.default_rng(0).normal(size=(80, 100)).astype(np.float32)

PUBLISHED = (1, 49.4, 97.8, 113.3, 128.8, 136.5, 144.3, 159.8, 183.6, 207.4, 219.3, 231.2, 255)
"""Edges of the worked example: weights of mean 128.8 and deviation 31.0, four bins split eight times."""


def published_weights() -> np.ndarray:
    """16,000 numbers from 1 to 255 of the example's mean and deviation, some in each of its bins."""
    rng = np.random.default_rng(0)
    inside = np.concatenate([rng.uniform(low, high, 40) for low, high in itertools.pairwise(PUBLISHED)])
    bulk = rng.normal(size=16000 - len(inside) - 2)
    fixed = np.concatenate([inside, [1, 255]])
    rest = len(bulk)
    mean = (16000 * 128.8 - fixed.sum()) / rest
    square = (16000 * (31.0**2 + 128.8**2) - np.square(fixed).sum()) / rest
    bulk = (bulk - bulk.mean()) / bulk.std() * np.sqrt(square - mean**2) + mean
    assert bulk.min() > 1
    assert bulk.max() < 255
    return np.concatenate([fixed, bulk]).reshape(100, 160)


def test_the_worked_example_splits_into_the_published_bins() -> None:
    """The probe is as sensitive to each published bin: one that holds two of them is split before one of them is."""
    matrix = published_weights()
    place = np.searchsorted(PUBLISHED[1:-1], matrix, side="right")
    share = 1 / (np.bincount(place.ravel())[place] * matrix)

    def probe(changed: Mapping[str, np.ndarray]) -> float:
        return sum(float((share * np.abs(array[0] - matrix)).sum()) for array in changed.values())

    member = Member.of(weights(matrix), scaled=False)
    start = Bins.start([member], "midpoint")
    np.testing.assert_allclose(start.edges, [1, 97.8, 128.8, 159.8, 255], atol=0.01)
    (found,) = split_best([start], BinsOptions(bins=12, representative="midpoint"), probe)
    np.testing.assert_allclose(found.edges, PUBLISHED, atol=0.06)
    form = form_of(matrix, {"bins": 12, "representative": "midpoint"}, probe)
    middles = np.add(PUBLISHED[1:], PUBLISHED[:-1]) / 2
    np.testing.assert_allclose(form.codewords.values.ravel(), middles, atol=0.06)


def test_bins_are_half_open_and_the_last_is_closed() -> None:
    member = Member.of(weights(np.array([[0.0, 1.0, 2.0, 3.0]])), scaled=False)
    assert Bins((member,), np.array([0.0, 1.0, 3.0]), "mean").labels(member).tolist() == [0, 1, 1, 1]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(4, 40), st.integers(0, 99), st.booleans())
def test_distorting_twice_changes_nothing(rows: int, cols: int, bins: int, seed: int, sparse: bool) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, cols)).astype(np.float32)
    matrix[rng.random(matrix.shape) < (0.6 if sparse else 0.01)] = 0
    first = make_method("bins", {"bins": bins}).distort([weights(matrix)])["w"]
    if isinstance(first, Skip):
        assert "fewer" in first.reason
        return
    dense = first[0].dense()
    assert len(np.unique(dense[dense != 0])) <= bins
    again = make_method("bins", {"bins": bins}).distort([weights(dense, previous=first)])["w"]
    assert not isinstance(again, Skip)
    np.testing.assert_array_equal(again[0].dense(), dense)


def test_frozen_bins_take_a_moved_weight_to_the_nearest_representative() -> None:
    first = form_of(GAUSS, {"bins": 8})
    moved = GAUSS + np.float32(0.3)
    again = form_of(moved, {"bins": 8}, previous=(first,))
    table = first.codewords.values.ravel()
    np.testing.assert_array_equal(again.dense(), table[np.abs(moved[..., None] - table).argmin(axis=2)])


@pytest.mark.parametrize("seed", range(3))
def test_more_bins_never_cost_accuracy(seed: int) -> None:
    matrix = np.random.default_rng(seed).standard_t(4, size=(60, 70)).astype(np.float32)
    errors = [error(form_of(matrix, {"bins": bins}), matrix) for bins in range(4, 30)]
    assert errors == sorted(errors, reverse=True)


def test_the_mean_is_nearer_than_the_midpoint() -> None:
    mean, midpoint = (form_of(GAUSS, {"bins": 8, "representative": which}) for which in ("mean", "midpoint"))
    assert error(mean, GAUSS) < error(midpoint, GAUSS)


def test_zeros_of_a_sparse_weight_stay_zero() -> None:
    sparse = np.where(np.random.default_rng(1).random(GAUSS.shape) < 0.7, 0, GAUSS)
    form = form_of(sparse, {"bins": 8})
    np.testing.assert_array_equal(form.dense() == 0, sparse == 0)
    masked = form_of(GAUSS, {"bins": 8}, mask=(sparse != 0)[None])
    np.testing.assert_array_equal(masked.dense(), form.dense())


def test_the_next_bin_goes_where_the_model_is_sensitive() -> None:
    """The probe weighs one site a hundred times the other."""
    sites = [weights(GAUSS, "calm"), weights(GAUSS, "tender")]

    def probe(changed: Mapping[str, np.ndarray]) -> float:
        loss = {name: float(np.square(array - GAUSS).sum()) for name, array in changed.items()}
        return loss.get("calm", 0.0) + 100 * loss.get("tender", 0.0)

    limit = {"bins": 64, "max_bits": 3.0}
    found = make_method("bins", limit).distort(sites, DistortionStep(probe=probe))
    counts = {name: forms[0].codewords.count for name, forms in found.items()}  # type: ignore[index,union-attr]
    assert counts["tender"] > 2 * counts["calm"]
    forms = [forms[0] for forms in found.values()]  # type: ignore[index]
    assert sum(form.index_bytes for form in forms) * 8 <= 3.0 * 2 * GAUSS.size  # type: ignore[union-attr]


def test_splitting_stops_at_the_split_until() -> None:
    calls: list[int] = []

    def probe(changed: Mapping[str, np.ndarray]) -> float:
        calls.append(len(changed))
        return 5 + sum(float(np.square(array - GAUSS).mean()) for array in changed.values())

    for drop in (0.1, 0.03, 0.01):
        calls.clear()
        form = form_of(GAUSS, {"bins": 64, "split_until": drop}, probe)
        assert probe({"w": form.dense()[None]}) <= 5 + drop
        assert form.codewords.count < 64
        # Children alone are measured: four bins, then two a split, twice each; one evaluation a state; two references.
        splits = form.codewords.count - 4
        assert len(calls) - 1 <= 2 * 4 + 4 * (splits + 8) + (splits + 9) + 2


def test_a_drop_that_is_never_met_gives_the_best_state_seen() -> None:
    def probe(changed: Mapping[str, np.ndarray]) -> float:
        levels = max((len(np.unique(array)) for array in changed.values()), default=0)
        return abs(levels - 7) + 1.0 if changed else 0.0

    assert form_of(GAUSS, {"bins": 12, "split_until": 0.5}, probe).codewords.count == 7


def test_shared_bins_are_scaled_to_each_site() -> None:
    sites = [weights(GAUSS, "a"), weights(-30 * GAUSS, "b")]
    found = make_method("bins", {"bins": 16, "share": True}).distort(sites)
    forms = [found[name][0] for name in "ab"]  # type: ignore[index]
    assert stored_bytes(forms) == sum(form.nbytes for form in forms) - forms[0].codewords.nbytes
    for form, matrix in zip(forms, (GAUSS, -30 * GAUSS), strict=True):
        assert np.square(form.dense() - matrix).sum() < 0.02 * np.square(matrix).sum()


def test_a_drop_needs_a_model_to_run() -> None:
    with pytest.raises(UsageError, match=r"--split-until.*--data"):
        make_method("bins", {"split_until": 0.1}).distort([weights(GAUSS)])


def test_the_form_says_how_bins_were_chosen() -> None:
    assert "by squared error" in form_of(GAUSS, {}).detail
    assert "by sensitivity" in form_of(GAUSS, {}, probe=lambda changed: 0.0 * len(changed)).detail


@pytest.mark.parametrize("matrix", [np.zeros((20, 30)), np.full((20, 30), 3.5), np.eye(40)])
def test_constant_and_nearly_empty_weights_are_exact(matrix: np.ndarray) -> None:
    np.testing.assert_array_equal(form_of(matrix, {}).dense(), matrix.astype(np.float32))


def test_a_site_that_would_grow_says_by_how_much() -> None:
    outcome = make_method("bins", {"bins": 8}).distort([weights(GAUSS[:3, :2])])["w"]
    assert isinstance(outcome, Skip)
    assert outcome.reason.endswith("and their indices take 59 bytes, the 24 bytes of the weights are fewer")


def test_weights_that_are_not_finite_are_left_alone() -> None:
    outcome = make_method("bins", {}).distort([weights(np.where(GAUSS > 2, np.inf, GAUSS))])["w"]
    assert isinstance(outcome, Skip)
    assert "not finite" in outcome.reason


@pytest.mark.parametrize("options", [{"bins": 3}, {"perturb": 0}, {"split_until": -1}, {"representative": "median"}])
def test_wrong_options_are_named(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"bins.*--" + next(iter(options)).replace("_", "-")):
        make_method("bins", options)
