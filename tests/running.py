"""Running models in tests: random inputs for whatever a model asks, and comparing outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from dtc.forms import LowRank
from dtc.graph import Site, find_sites
from dtc.passes.lower import Compressed, Lowered, Target, find_target, lower
from dtc.passes.lower.costs import default_costs
from dtc.passes.method import Skip, make_method
from dtc.passes.plan import weights_of

Feeds = dict[str, Any]

# Inputs that must not be random numbers, and symbolic sizes that must not be 2.
_FIXED: Feeds = {"sr": np.array(16000, dtype=np.int64)}
_SIZES = {"sequence": 512, "T": 5, "N": 2}
_ID_LIMIT = 5  # every table in the test data is longer


EAGER = default_costs().model_copy(update={"worth": 1e-9})
"""Costs by which small matrices, too, are computed on as they are."""


def eager(name: str = "compute") -> Target:
    """Return a target on which no small size decides for decoding."""
    return replace(find_target(name), costs=EAGER)


def checked_bytes(model: ir.Model) -> bytes:
    """Return the model as a file's bytes, after onnx.checker has read it."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString()


def session(model: ir.Model, *, threads: int = 1, optimise: bool = True) -> onnxruntime.InferenceSession:
    """Return a session of the checked model on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(checked_bytes(model), options, providers=["CPUExecutionProvider"])


def random_feeds(model: ir.Model, seed: int = 0) -> Feeds:
    """Return random inputs, as loud as speech, of small sizes; whole numbers are row numbers of any table."""
    rng = np.random.default_rng(seed)
    feeds: Feeds = {}
    for value in (value for value in model.graph.inputs if not value.is_initializer()):
        name = value.name or ""
        shape = [_size(value, index) for index in range(len(value.shape or ()))]
        dtype = (value.dtype or ir.DataType.FLOAT).numpy()
        if name in _FIXED:
            feeds[name] = _FIXED[name]
        elif np.issubdtype(dtype, np.integer):
            feeds[name] = rng.integers(0, 2, shape).astype(dtype)
        else:
            feeds[name] = (0.1 * rng.standard_normal(shape)).astype(dtype)
    return feeds


def _size(value: ir.Value, index: int) -> int:
    size = value.shape[index] if value.shape is not None else 1
    if isinstance(size, int):
        return size
    if size.value is None and value.name == "input" and index == 1:
        return 512  # silero v5
    return _SIZES.get(str(size.value), 1)


def run(model: ir.Model, feeds: Feeds) -> list[Any]:
    """Return the outputs of the model in ONNX Runtime."""
    return session(model).run(None, feeds)


def relative_error(found: Any, expected: Any) -> float:
    """Return the largest difference, relative to the largest expected value (the max norm).

    An output smaller than 0.01 counts as 0.01: a probability near zero has the rounding errors of its logit.
    """
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert found.shape == expected.shape
    if expected.size == 0:
        return 0.0
    return float(np.max(np.abs(found - expected)) / max(np.max(np.abs(expected)), 0.01))


def low_rank_items(sites: list[Site], **options: Any) -> list[Compressed]:
    """Return the sites that `svd` compresses under the options, with their factors."""
    outcomes = make_method("svd", options).distort([weights_of(s, sites) for s in sites])
    return [Compressed(s, forms) for s in sites if not isinstance(forms := outcomes[s.name], Skip)]


def random_low_rank(site: Site, rank: int, seed: int = 0, basis: bool = False) -> Compressed:
    """Return factors that have nothing to do with the weight: the whole of the lowered model's output is theirs."""
    rng = np.random.default_rng(seed)
    view = site.view
    forms = []
    for index in range(view.count):
        left = rng.standard_normal((view.rows, rank)).astype(np.float32) / np.sqrt(rank)
        right = rng.standard_normal((rank, view.cols)).astype(np.float32) / np.sqrt(view.cols)
        forms.append(LowRank(left, right, f"shared.{index}" if basis else None))
    return Compressed(site, tuple(forms))


def truncated(site: Site, rank: int) -> Compressed:
    """Return the best factors of the weight itself, whether they save anything or not."""
    forms = []
    for matrix in site.matrices():
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        kept = min(rank, len(s))
        forms.append(LowRank(np.ascontiguousarray(u[:, :kept] * s[:kept]), np.ascontiguousarray(vt[:kept])))
    return Compressed(site, tuple(forms))


def assign_dense(items: list[Compressed]) -> None:
    """Put the dense weights of the forms into the model: what its lowered form must compute."""
    for item in items:
        item.site.assign(item.site.restore(np.stack([form.dense() for form in item.forms])))


def lowered_error(model: ir.Model, items: list[Compressed], feeds: Feeds, mode: str = "compute") -> float:
    """Lower the items in `model`; return the worst relative error of its outputs against the dense weights'."""
    return lowered_and_run(model, items, feeds, eager(mode))[0]


def lowered_and_run(
    model: ir.Model, items: list[Compressed], feeds: Feeds, target: Target
) -> tuple[float, dict[str, Lowered]]:
    """Lower the items in `model`; return the worst relative error of its outputs, and what was told of each site."""
    assign_dense(items)
    expected = run(model, feeds)
    told = {each.site.name: each for each in lower(model, items, target)}
    found = run(model, feeds)
    return max(relative_error(f, e) for f, e in zip(found, expected, strict=True)), told


def sites_by_name(model: ir.Model) -> dict[str, Site]:
    """Return the model's sites by name."""
    return {site.name: site for site in find_sites(model)}
