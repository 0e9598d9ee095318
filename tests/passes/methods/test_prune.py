"""Pruning: exact counts, the schedule of DeepTwist's equation (1), patterns, masks, compensation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtc.errors import ModelError, UsageError
from dtc.forms.sparse import Sparse
from dtc.passes.method import DistortionStep, Skip, Weights, make_method
from dtc.passes.solvers import selection
from dtc.passes.solvers.selection import keep_largest


def weights(matrix: np.ndarray, name: str = "w", **facts: object) -> Weights:
    stack = matrix if matrix.ndim == 3 else matrix[None]
    return Weights(name, stack.astype(np.float32), **{"node": "n", **facts})


def gaussian(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def pruned(
    matrix: np.ndarray, at: DistortionStep = DistortionStep(), method: str = "prune", **options: object
) -> np.ndarray:
    outcome = make_method(method, options).distort([weights(matrix)], at)["w"]
    assert not isinstance(outcome, Skip)
    return np.stack([form.dense() for form in outcome])


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 30),
    cols=st.integers(1, 30),
    sparsity=st.floats(0.05, 0.98),
    levels=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_exactly_the_smallest_weights_go_in_the_order_of_a_stable_sort(
    rows: int, cols: int, sparsity: float, levels: int, seed: int
) -> None:
    matrix = np.random.default_rng(seed).integers(1, levels + 1, (rows, cols)).astype(np.float32)
    matrix *= np.random.default_rng(seed + 1).choice([-1, 1], (rows, cols))
    expected = matrix.copy().reshape(-1)
    expected[np.argsort(np.abs(expected), kind="stable")[: round(sparsity * matrix.size)]] = 0
    outcome = make_method("prune", {"sparsity": sparsity}).distort([weights(matrix)])["w"]
    if isinstance(outcome, Skip):
        assert Sparse.of(expected.reshape(rows, cols)).nbytes >= matrix.nbytes
        return
    np.testing.assert_array_equal(outcome[0].dense(), expected.reshape(rows, cols))


def test_each_matrix_of_a_site_has_its_own_share() -> None:
    stack = np.stack([gaussian(20, 30), 100 * gaussian(20, 30, seed=1)])
    assert (pruned(stack, sparsity=0.5) == 0).sum(axis=(1, 2)).tolist() == [300, 300]


def test_global_scope_compares_the_weights_of_all_sites() -> None:
    small, large = gaussian(20, 30), 10 * gaussian(10, 30, seed=1)
    outcome = make_method("prune", {"sparsity": 0.6, "scope": "global"}).distort(
        [weights(small, "a"), weights(large, "b")]
    )
    zeros = {name: int((forms[0].dense() == 0).sum()) for name, forms in outcome.items()}
    both = np.sort(np.abs(np.concatenate([small.reshape(-1), large.reshape(-1)])))
    assert sum(zeros.values()) == 540
    assert zeros["a"] == (np.abs(small) <= both[539]).sum()


def test_the_schedule_is_equation_1() -> None:
    """LeNet-300-100's setting in DeepTwist: t_i 8000, p_i 25 %, t_f 13000, E 7."""
    options = {"sparsity": 0.98, "initial_sparsity": 0.25, "begin_step": 8000, "end_step": "13000", "exponent": 7}
    matrix = gaussian(100, 100)
    shares = {
        step: float((pruned(matrix, DistortionStep(step, 20000), **options) == 0).mean())
        for step in (5, 7995, 8000, 9000, 10500, 13000, 20000)
    }
    expected = {t: 0.98 + (0.25 - 0.98) * (1 - (t - 8000) / 5000) ** 7 for t in (8000, 9000, 10500)}
    assert shares == {
        5: 0.0,
        7995: 0.0,
        **{t: round(p * 10000) / 10000 for t, p in expected.items()},
        13000: 0.98,
        20000: 0.98,
    }


def test_defaults_prune_over_the_first_half_of_a_run_and_at_once_without_one() -> None:
    method = make_method("prune", {"sparsity": 0.8})
    matrix = gaussian(50, 40)
    shares = [
        float((pruned(matrix, DistortionStep(step, 1000), sparsity=0.8) == 0).mean()) for step in (0, 250, 500, 1000)
    ]
    assert shares == [0.0, 0.7, 0.8, 0.8]
    assert (pruned(matrix, sparsity=0.8) == 0).mean() == pytest.approx(0.8)
    assert [method.at_full_strength(DistortionStep(step, 1000)) for step in (0, 499, 500)] == [False, False, True]
    assert method.at_full_strength(DistortionStep())


def test_a_share_of_the_run_is_a_step() -> None:
    options = {"sparsity": 0.5, "begin_step": "10%", "end_step": "12.5%"}
    matrix = gaussian(30, 30)
    assert (pruned(matrix, DistortionStep(79, 800), **options) != 0).all()
    assert (pruned(matrix, DistortionStep(100, 800), **options) == 0).sum() == 450


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end_step": "900"}, "--end-step 900 lies behind the run's 800 steps"),
        ({"begin_step": "60%"}, "--begin-step is step 480 of this run, behind --end-step, which is step 400"),
    ],
)
def test_a_schedule_that_does_not_fit_the_run_is_a_mistake(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_method("prune", {"sparsity": 0.5, **options}).distort([weights(gaussian(4, 4))], DistortionStep(1, 800))


def test_pruned_weights_may_come_back_but_not_from_behind_a_mask() -> None:
    first = gaussian(20, 30)
    forms = make_method("prune", {"sparsity": 0.5}).distort([weights(first)])["w"]
    later = weights(first[..., ::-1].copy(), previous=forms)
    gone = forms[0].dense() == 0
    free = make_method("prune", {"sparsity": 0.5}).distort([later])["w"][0].dense()
    masked = make_method("prune-masked", {"sparsity": 0.6}).distort([later])["w"][0].dense()
    assert (free[gone] != 0).any()
    assert (masked[gone] == 0).all()
    assert (masked == 0).sum() == 360
    assert not make_method("prune", {"sparsity": 0.5}).keeps_mask
    assert make_method("prune-masked", {"sparsity": 0.5}).keeps_mask


def test_zeros_before_pruning_begins_are_not_a_mask() -> None:
    method = make_method("prune-masked", {"sparsity": 0.5, "begin_step": "50", "end_step": "60"})
    early = method.distort([weights(np.zeros((8, 8)))], DistortionStep(10, 100))["w"]
    later = method.distort([weights(gaussian(8, 8), previous=early)], DistortionStep(60, 100))["w"]
    assert (later[0].dense() == 0).sum() == 32


def test_a_mask_of_an_earlier_method_is_honoured() -> None:
    matrix, mask = gaussian(20, 30), gaussian(1, 20, 30, seed=5) > 0
    form = make_method("prune", {"sparsity": 0.2}).distort([weights(matrix, mask=mask)])["w"][0]
    assert not form.dense()[~mask[0]].any()
    np.testing.assert_array_equal(form.dense()[mask[0]], matrix[mask[0]])


@pytest.mark.parametrize(("n", "m", "cols"), [(2, 4, 64), (1, 4, 64), (4, 8, 64), (2, 4, 63), (1, 3, 64)])
def test_n_of_m_keeps_the_largest_of_each_group(n: int, m: int, cols: int) -> None:
    matrix = gaussian(16, cols)
    dense = pruned(matrix, pattern=f"{n}:{m}")[0]
    for start in range(0, cols, m):
        group, found = np.abs(matrix[:, start : start + m]), dense[:, start : start + m]
        kept = -(-n * group.shape[1] // m)
        limit = np.sort(group, axis=1)[:, -kept][:, None]
        np.testing.assert_array_equal(found != 0, group >= limit)


@pytest.mark.parametrize(("structure", "axis"), [("row", 1), ("column", 0)])
def test_whole_lines_of_the_smallest_norm_go(structure: str, axis: int) -> None:
    matrix = gaussian(40, 60) * np.linspace(1, 2, 40)[:, None]
    dense = pruned(matrix, sparsity=0.25, structure=structure)[0]
    norms = np.linalg.norm(matrix, axis=axis)
    gone = ~dense.any(axis=axis)
    assert gone.sum() == norms.size // 4
    assert norms[gone].max() < norms[~gone].min()


def inputs(count: int, size: int) -> np.ndarray:
    """Correlated inputs: independent ones leave nothing to make up for."""
    rng = np.random.default_rng(3)
    return rng.standard_normal((count, size)) @ (rng.standard_normal((size, size)) / np.arange(1, size + 1))


@pytest.mark.parametrize(("options", "gain"), [({"sparsity": 0.5}, 10), ({"pattern": "2:4"}, 2)])
def test_compensation_keeps_the_outputs_nearer(options: dict[str, object], gain: float) -> None:
    matrix, x = gaussian(48, 160), inputs(600, 160)
    gram = (x.T @ x / len(x))[None]
    errors = {}
    for compensate in (False, True):
        method = make_method("prune", {**options, "compensate": compensate})
        assert method.needs == (frozenset({"gram"}) if compensate else frozenset())
        dense = method.distort([weights(matrix, gram=lambda: gram)])["w"][0].dense()
        assert (dense == 0).sum() == matrix.size // 2
        errors[compensate] = np.square(x @ (dense - matrix).T).sum()
    assert errors[True] * gain < errors[False]


def test_compensation_is_the_closed_form_for_one_weight_of_two() -> None:
    """Optimal brain surgeon: prune w_1, and w_2 takes over h_12 / h_22 of it (damping changes the fifth digit)."""
    gram = np.array([[[1.0, 0.8], [0.8, 2.0]]])
    dense = (
        make_method("prune", {"sparsity": 0.5, "compensate": True})
        .distort([weights(np.array([[0.1, 3.0]] * 8), gram=lambda: gram)])["w"][0]
        .dense()
    )
    np.testing.assert_allclose(dense, [[0.0, 3.0 + 0.1 * 0.8 / 2.015]] * 8, rtol=1e-6)


def test_compensation_honours_dead_inputs_and_needs_samples() -> None:
    matrix, x = gaussian(16, 40), inputs(200, 40)
    x[:, :10] = 0
    method = make_method("prune", {"sparsity": 0.5, "compensate": True})
    dense = method.distort([weights(matrix, gram=lambda: (x.T @ x)[None])])["w"][0].dense()
    assert not dense[:, :10].any()
    assert np.isfinite(dense).all()
    with pytest.raises(UsageError, match=r"--compensate needs samples .*'n'"):
        method.distort([weights(matrix)])
    table = method.distort([weights(matrix, is_table=True)])["w"][0].dense()
    np.testing.assert_array_equal(table, pruned(matrix, sparsity=0.5)[0])


def test_what_saves_nothing_is_left_alone_with_the_numbers() -> None:
    outcome = make_method("prune", {"sparsity": 0.02}).distort([weights(gaussian(40, 40))])["w"]
    assert isinstance(outcome, Skip)
    assert outcome.reason == "6452 bytes stored against 6400 dense: 2 % of zeros save nothing"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_by_name(bad: float) -> None:
    matrix = gaussian(4, 4)
    matrix[2, 1] = bad
    with pytest.raises(ModelError, match="weight 'w' holds NaN or infinity"):
        make_method("prune", {"sparsity": 0.5}).distort([weights(matrix)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of --sparsity, --pattern"),
        ({"sparsity": 1.0}, "--sparsity"),
        ({"sparsity": 0.5, "pattern": "2:4"}, "exactly one"),
        ({"pattern": "4:2"}, "--pattern.*'4:2' is not n:m"),
        ({"sparsity": 0.5, "begin_step": "soon"}, "--begin-step.*'soon' is neither"),
        ({"sparsity": 0.5, "end_step": "120%"}, "--end-step.*neither"),
        ({"pattern": "2:4", "structure": "row"}, "--structure"),
        ({"sparsity": 0.5, "scope": "global", "compensate": True}, "--scope global"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_method("prune", options)


def test_values_too_large_for_float16_are_a_mistake() -> None:
    with pytest.raises(UsageError, match="--value-type float16, weight 'w'"):
        make_method("prune", {"sparsity": 0.5, "value_type": "float16"}).distort([weights(gaussian(8, 8) * 1e5)])


def test_the_estimate_tells_what_sparsities_give() -> None:
    assert make_method("prune", {"sparsity": 0.5}).estimate(1500, 6000) == "50 %: 1.9x, 90 %: 7.6x, 98 %: 33.1x"
    assert make_method("prune", {"sparsity": 0.5}).estimate(1, 1) == "nothing to save"


@pytest.mark.parametrize("share", [0.001, 0.5, 0.9, 0.999])
def test_many_scores_are_counted_to_the_same_end(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    drawn = rng.standard_t(2, 5000).astype(np.float32)
    few = rng.integers(0, 4, 5000).astype(np.float32)  # ties, and zeros
    for scores in (np.abs(drawn), few, np.abs(drawn) * np.float32(1e-42), np.zeros(5000, np.float32)):
        pruned = round(share * scores.size)
        monkeypatch.setattr(selection, "MANY", 1 << 20)
        kept = keep_largest(scores, pruned)
        monkeypatch.setattr(selection, "MANY", 100)
        monkeypatch.setattr(selection, "BLOCK", 999)
        assert np.array_equal(keep_largest(scores, pruned), kept)
        assert kept.sum() == scores.size - pruned
