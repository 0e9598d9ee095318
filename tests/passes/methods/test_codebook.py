"""Gradient-weighted k-means: against scikit-learn, against plain k-means, and on the awkward weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from dtc.errors import UsageError
from dtc.forms import Codebook, stored_bytes
from dtc.graph import find_sites, load_model
from dtc.passes.method import DistortionStep, Outcome, Skip, Weights, make_method
from dtc.passes.solvers import binning, clustering
from dtc.passes.solvers.clustering import Points, assign, cluster, lloyd, seed_codewords


def weights(matrix: np.ndarray, name: str = "w", **facts: object) -> Weights:
    stack = np.asarray(matrix, np.float32)
    stack = stack if stack.ndim == 3 else stack[None]
    return Weights(name, stack, **{"node": "n", **facts})  # type: ignore[arg-type]


def distort(matrix: np.ndarray, options: dict[str, object], **facts: object) -> Outcome:
    return make_method("codebook", options).distort([weights(matrix, **facts)])["w"]


def form_of(matrix: np.ndarray, options: dict[str, object], **facts: object) -> Codebook:
    outcome = distort(matrix, options, **facts)
    assert not isinstance(outcome, Skip), outcome.reason
    assert isinstance(outcome[0], Codebook)
    return outcome[0]


def error(form: Codebook, matrix: np.ndarray, weight: np.ndarray | float = 1.0) -> float:
    return float((weight * np.square(form.dense() - matrix)).sum(dtype=np.float64))


GAUSS = np.random.default_rng(0).normal(size=(120, 160)).astype(np.float32)


@pytest.mark.parametrize(("count", "block"), [(16, 1), (32, 4), (64, 8)])
def test_objective_is_within_one_percent_of_sklearn_from_the_same_start(count: int, block: int) -> None:
    points = Points(GAUSS.reshape(-1, block))
    start = seed_codewords(points, count, np.random.default_rng(0))
    theirs = KMeans(count, init=start, n_init=1, max_iter=100, algorithm="lloyd").fit(points.blocks).inertia_
    ours = assign(points, cluster(points, count, np.random.default_rng(0), start))[1]
    assert ours <= 1.01 * theirs


def test_samples_of_many_points_lead_to_as_good_codewords() -> None:
    points = Points(np.random.default_rng(3).normal(size=(40000, 4)).astype(np.float32))
    whole = lloyd(points, seed_codewords(points, 16, np.random.default_rng(0)), np.random.default_rng(0))
    sampled = cluster(points, 16, np.random.default_rng(0))
    assert assign(points, sampled)[1] <= 1.02 * assign(points, whole)[1]


def test_assignment_is_the_nearest_by_weighted_distance() -> None:
    rng = np.random.default_rng(1)
    blocks, words = rng.normal(size=(500, 3)).astype(np.float32), rng.normal(size=(7, 3)).astype(np.float32)
    scale = rng.random((500, 3)).astype(np.float32)
    for weight in (None, scale):
        distance = (np.square(blocks[:, None] - words) * (1 if weight is None else weight[:, None])).sum(axis=2)
        labels, objective = assign(Points(blocks, distance=weight), words)
        np.testing.assert_array_equal(labels, distance.argmin(axis=1))
        assert objective == pytest.approx(distance.min(axis=1).sum(), rel=1e-4)


def test_gradients_lower_the_error_that_they_weigh() -> None:
    gradient = np.abs(np.random.default_rng(2).standard_cauchy(GAUSS.shape)).astype(np.float32).clip(0, 50)
    gradient *= np.where(GAUSS > 0, np.float32(4), np.float32(1))  # it tells weights from each other
    for options in ({"codewords": 16, "block": 1}, {"codewords": 64, "block": 8}):
        plain = form_of(GAUSS, options | {"gradient_weight": 0}, gradient=gradient[None])
        weighted = form_of(GAUSS, options, gradient=gradient[None])
        centroids_alone = form_of(GAUSS, options | {"beta": 0}, gradient=gradient[None])
        assert error(weighted, GAUSS, gradient) < 0.95 * error(plain, GAUSS, gradient)
        assert error(centroids_alone, GAUSS, gradient) < error(plain, GAUSS, gradient)
        assert error(plain, GAUSS) < error(weighted, GAUSS)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 20), st.integers(1, 40), st.sampled_from(["auto", 1, 3, 8]), st.sampled_from([2, 3, 16]),
    st.sampled_from([2, 4, 16, 32]), st.integers(0, 99), st.booleans(),
)  # fmt: skip
def test_any_matrix_is_coded_or_left_alone(
    rows: int, cols: int, block: object, count: int, bits: int, seed: int, masked: bool
) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.where(rng.random((rows, 1)) < 0.2, 0, rng.normal(size=(rows, cols))).astype(np.float32)
    mask = rng.random((1, rows, cols)) < rng.random() if masked else None
    options = {"codewords": count, "block": block, "codeword_bits": bits}
    outcome = distort(matrix, options, mask=mask)
    if isinstance(outcome, Skip):
        assert outcome.reason
        return
    (form,) = outcome
    assert isinstance(form, Codebook)
    assert form.nbytes < matrix.nbytes
    assert np.isfinite(form.dense()).all()
    if mask is not None:
        assert not form.dense()[~mask[0]].any()
    again = distort(matrix, options, mask=mask)
    assert not isinstance(again, Skip)
    assert again[0].dense().tobytes() == form.dense().tobytes()


def test_pruned_weights_do_not_move_the_codewords() -> None:
    mask = np.random.default_rng(5).random((1, *GAUSS.shape)) < 0.5
    wild = np.where(mask[0], np.sign(GAUSS), 1000.0)
    for block in (1, 4):
        form = form_of(wild, {"codewords": 16, "block": block, "codeword_bits": 32}, mask=mask)
        assert np.abs(form.codewords.values).max() <= 1 + 1e-5  # empty clusters are halves of others, a little apart
        np.testing.assert_array_equal(form.dense() == 0, ~mask[0])


def test_the_smaller_of_mask_and_zero_codeword_is_taken() -> None:
    rng = np.random.default_rng(6)
    sparse, full = (rng.random((1, *GAUSS.shape)) < share for share in (0.05, 0.9))
    assert form_of(GAUSS, {"codewords": 15, "block": 1}, mask=full).zero
    assert form_of(GAUSS, {"codewords": 15, "block": 1}, mask=sparse).mask is not None
    rows = np.repeat(rng.random((1, 120, 20)) < 0.3, 8, axis=2)
    assert form_of(GAUSS, {"codewords": 15, "block": 8}, mask=rows).zero


def test_few_bits_cost_little_when_levels_and_means_are_fitted_together() -> None:
    errors = {
        bits: error(form_of(GAUSS, {"codewords": 64, "block": 8, "codeword_bits": bits}), GAUSS)
        for bits in (32, 16, 8, 4, 2)
    }
    assert errors[16] == pytest.approx(errors[32], rel=1e-3)
    assert errors[8] == pytest.approx(errors[32], rel=1e-2)
    assert errors[4] < 1.05 * errors[32]
    assert errors[2] < 1.35 * errors[32]


def test_the_last_codewords_are_the_start_and_shapes_may_differ() -> None:
    options = {"codewords": 32, "block": 4, "codeword_bits": 32}
    first = form_of(GAUSS, options)
    again = form_of(first.dense(), options, previous=(first,))
    np.testing.assert_allclose(again.dense(), first.dense(), atol=1e-6)
    assert form_of(GAUSS, options | {"block": 8}, previous=(first,)).block == 8


@pytest.mark.parametrize(
    ("kernel", "shape", "block"),
    [((3, 3), (32, 288), 9), ((1, 1), (64, 256), 4), ((), (600, 800), 8), ((7, 7), (64, 147), 4), ((5,), (40, 100), 5)],
)
def test_the_block_follows_the_kernel_else_the_input(
    kernel: tuple[int, ...], shape: tuple[int, int], block: int
) -> None:
    matrix = np.random.default_rng(0).normal(size=shape)
    assert form_of(matrix, {"codewords": 200, "codeword_bits": 8}, kernel=kernel).block == block


def test_a_shared_codebook_is_scaled_to_each_site() -> None:
    sites = [weights(GAUSS, "a"), weights(GAUSS * 100, "b")]
    found = make_method("codebook", {"codewords": 64, "block": 8, "share": True}).distort(sites)
    a, b = found["a"][0], found["b"][0]  # type: ignore[index]
    assert isinstance(a, Codebook)
    assert isinstance(b, Codebook)
    assert a.name == b.name is not None
    assert a.codewords is b.codewords
    assert b.gain == pytest.approx(100 * float(a.gain or 0), rel=1e-5)
    alone = form_of(GAUSS, {"codewords": 64, "block": 8})
    assert error(a, GAUSS) < 1.05 * error(alone, GAUSS)
    np.testing.assert_allclose(b.dense(), 100 * a.dense(), rtol=1e-4)


def test_matrices_of_one_site_share_their_codebook() -> None:
    outcome = distort(np.stack([GAUSS, -GAUSS]), {"codewords": 16, "block": 1})
    assert not isinstance(outcome, Skip)
    assert [form.shared for form in outcome] == [{"w.codewords": 32}] * 2


@pytest.mark.parametrize("block", [1, 4])
def test_compensation_keeps_the_output_better(block: int) -> None:
    rng = np.random.default_rng(7)
    samples = rng.normal(size=(400, 40)) @ rng.normal(size=(40, 160))
    gram = samples.T @ samples / 400
    options = {"codewords": 16, "block": block}

    def output_error(form: Codebook) -> float:
        difference = (form.dense() - GAUSS).astype(np.float64)
        return float(np.trace(difference @ gram @ difference.T))

    plain = form_of(GAUSS, options)
    better = form_of(GAUSS, options | {"compensate": True}, gram=lambda: gram[None])
    assert output_error(better) < 0.6 * output_error(plain)
    mask = rng.random((1, *GAUSS.shape)) < 0.5
    pruned = form_of(GAUSS * mask[0], options | {"compensate": True}, gram=lambda: gram[None], mask=mask)
    assert not pruned.dense()[~mask[0]].any()


def test_compensation_with_independent_inputs_is_the_nearest_codeword() -> None:
    gram = np.eye(160)[None]
    plain, same = (
        form_of(GAUSS, {"codewords": 16, "block": 1, "compensate": c}, gram=lambda: gram) for c in (False, True)
    )
    assert (plain.dense() != same.dense()).mean() < 1e-3  # but for ties of rounding


def test_compensation_without_data_is_a_mistake() -> None:
    with pytest.raises(UsageError, match=r"--compensate.*--data"):
        distort(GAUSS, {"compensate": True})


def test_weights_that_are_not_finite_are_left_alone() -> None:
    outcome = distort(np.where(GAUSS > 2, np.nan, GAUSS), {})
    assert isinstance(outcome, Skip)
    assert "not finite" in outcome.reason


def test_a_site_of_few_blocks_has_fewer_codewords_each_for_two_blocks_or_more() -> None:
    counts = [
        form_of(GAUSS[:rows, :72], {"codewords": 256, "block": 9, "codeword_bits": 32}).codewords.count
        for rows in (64, 63, 10, 1)
    ]
    assert counts == [256, 128, 32, 4]
    outcome = distort(GAUSS[:1, :27], {"codewords": 79, "block": 9})
    assert isinstance(outcome, Skip)
    assert outcome.reason == "3 blocks of 9 are too few for a codebook"


def test_sites_that_are_cut_otherwise_or_of_few_blocks_do_not_read_the_table_of_all() -> None:
    """As the kernels of a network, its first layer, and a last one that is cut across outputs of other layers."""
    rng = np.random.default_rng(8)
    kernels = [weights(rng.normal(size=(40, 90)), f"k{n}", kernel=(3, 3)) for n in range(3)]
    first = weights(5 + rng.normal(size=(4, 27)), "first", kernel=(3, 3))
    last = weights(rng.normal(size=(80, 90)), "last")
    found = make_method("codebook", {"codewords": 64, "block": 9, "share": True}).distort([first, *kernels, last])
    forms = {name: outcome[0] for name, outcome in found.items() if not isinstance(outcome, Skip)}
    names = {name: form.name for name, form in forms.items() if isinstance(form, Codebook)}
    table = "codewords.9.3x3"
    assert names == {"first": None, "k0": table, "k1": table, "k2": table, "last": None}
    alone = make_method("codebook", {"codewords": 64, "block": 9, "share": True}).distort(kernels)
    np.testing.assert_array_equal(alone["k0"][0].dense(), forms["k0"].dense())  # type: ignore[index]


def test_tables_of_sites_that_are_cut_otherwise_have_names_and_bytes_of_their_own() -> None:
    rng = np.random.default_rng(8)
    images = [weights(rng.normal(size=(40, 90)), f"i{n}", kernel=(3, 3)) for n in range(2)]
    sounds = [weights(rng.normal(size=(40, 90)), f"s{n}", kernel=(9,)) for n in range(2)]
    method = make_method("codebook", {"codewords": 64, "block": 9, "share": True})
    found = [[one[0] for one in method.distort(some).values()] for some in (images, sounds, [*images, *sounds])]
    assert stored_bytes(found[2]) == stored_bytes(found[0]) + stored_bytes(found[1])


def test_scalars_are_as_near_as_the_best_of_many_starts() -> None:
    values = np.random.default_rng(9).standard_t(4, size=4000).astype(np.float32)
    points = Points(values[:, None])
    for count in (8, 32):
        theirs = KMeans(count, n_init=50, random_state=0).fit(points.blocks).inertia_
        ours = assign(points, cluster(points, count, np.random.default_rng(0)))[1]
        assert ours <= 1.003 * theirs


def test_another_seed_gives_another_codebook_and_the_same_seed_the_same() -> None:
    method = make_method("codebook", {"codewords": 16, "block": 8})
    words = [method.distort([weights(GAUSS)], DistortionStep(seed=seed))["w"][0].codewords.values for seed in (1, 1, 2)]  # type: ignore[index,union-attr]
    np.testing.assert_array_equal(words[0], words[1])
    assert not np.array_equal(words[0], words[2])


@pytest.mark.parametrize(
    "options",
    [{"block": "nine"}, {"block": 0}, {"codewords": 1}, {"codeword_bits": 9}, {"gradient_weight": -1}, {"size": 2}],
)
def test_wrong_options_are_named(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"codebook.*--" + next(iter(options)).replace("_", "-")):
        make_method("codebook", options)


@pytest.mark.parametrize("size", [8, "8"])
def test_a_block_may_be_given_as_a_number_or_as_its_digits(size: object) -> None:
    assert form_of(GAUSS, {"codewords": 16, "block": size}).block == 8


@pytest.mark.parametrize(("method", "options"), [("codebook", {"codewords": 16, "block": 1}), ("bins", {"bins": 16})])
def test_many_scalars_are_clustered_as_well_as_all_of_them(
    method: str, options: dict[str, Any], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = find_sites(load_model(data_dir / "onnx" / "ptb_rnnlm_lstm100_derived.onnx"))[0].matrices()
    tailed = np.random.default_rng(0).standard_t(2, (1, 200, 300)).astype(np.float32)
    for matrices in (trained[:, :1000], tailed, np.where(np.abs(tailed) > 1, tailed, np.float32(0)), tailed * 1e-30):
        w = Weights("w", matrices, "n", mask=matrices != 0)
        errors = []
        for many in (1 << 30, 100):
            monkeypatch.setattr(clustering, "MANY_SCALARS", many)
            monkeypatch.setattr(binning, "MANY_SCALARS", many)
            (form,) = make_method(method, options).distort([w])["w"]
            errors.append(float(np.square((form.dense() - matrices[0]).astype(np.float64)).sum()))
        assert errors[1] <= 1.0005 * errors[0]


@given(st.floats(2, 6), st.sampled_from(["normal", "laplace", "uniform"]), st.integers(0, 100))
@settings(max_examples=12, deadline=None)
def test_evenly_spaced_codewords_take_the_bits_that_were_asked_for(bits: float, kind: str, seed: int) -> None:
    matrix = getattr(np.random.default_rng(seed), kind)(size=(60, 400)).astype(np.float32)
    form = form_of(matrix, {"index_bits": bits})
    shares = np.bincount(form.indices.ravel()) / form.indices.size
    taken = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum()
    assert taken == pytest.approx(bits, abs=0.2)  # of few codewords not every rate can be had
    steps = np.diff(form.codewords.values.ravel())
    assert (steps > 0).all()


def test_evenly_spaced_codewords_err_less_for_their_bytes_than_those_of_k_means() -> None:
    matrix = np.random.default_rng(0).laplace(size=(100, 600)).astype(np.float32)
    means = form_of(matrix, {"codewords": 16, "block": 1, "huffman": True})
    even = form_of(matrix, {"index_bits": 3.2})
    assert even.huffman
    assert even.nbytes < 0.97 * means.nbytes
    assert error(even, matrix) < error(means, matrix)


def test_evenly_spaced_codewords_of_awkward_weights() -> None:
    assert isinstance(distort(np.ones((20, 30)), {"index_bits": 2}), tuple)
    far = np.random.default_rng(0).normal(size=(40, 50))
    far[0, 0] = 1e6  # more cells than there may be: they are wider
    assert np.isfinite(form_of(far, {"index_bits": 4}).dense()).all()
    with pytest.raises(UsageError, match=r"--index-bits is of scalars: leave out --block"):
        make_method("codebook", {"index_bits": 3, "block": 4})
