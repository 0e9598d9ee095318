"""Every real model, normalised and lowered, against ONNX Runtime with the dense weights.

Tolerance: 1e-4 of the largest output (max norm).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from running import Feeds, low_rank_items, lowered_error, random_feeds, truncated

from dtc.graph import all_nodes, find_sites, load_model
from dtc.passes.lower.low_rank.lowering import refuse
from dtc.passes.prepare import normalise

TOLERANCE = 1e-4

# The models, and an operator that must be in each when it is lowered.
MODELS = {
    "dnsmos_sig_bak_ovr": "Conv",
    "dtln_model_1": "Scan",
    "gtcrn_simple": "Scan",
    "kws_dnn_s": "Gemm",
    "mnist-8": "MatMul",
    "olive_tfbert_qa": "Gather",
    "ptb_rnnlm_lstm100_derived": "Scan",
    "resnet20_cifar10_derived": "Conv",
    "resnet56_cifar10_derived": "Conv",
    "silero_vad_16k_op15": "Scan",
    "silero_vad_v3": "Scan",
    "silero_vad_v4": "Scan",
    "silero_vad_v5": "Scan",
    "squeezenet_cifar10": "Conv",
    "super_resolution": "Conv",
    "ultraface_rfb320": "Conv",
}


@pytest.mark.parametrize("name", MODELS)
def test_svd_on_all_sites(data_dir: Path, name: str) -> None:
    model, feeds = _prepared(data_dir, name)
    sites = [site for site in find_sites(model) if refuse(site) is None]
    items = low_rank_items(sites, rank_ratio=0.5)
    assert items
    assert lowered_error(model, items, feeds) <= TOLERANCE
    left = {initializer for graph in model.graphs() for initializer in graph.initializers}
    assert not left & {item.site.name for item in items}


@pytest.mark.parametrize("name", MODELS)
def test_every_site_lowers_even_where_it_does_not_pay(data_dir: Path, name: str) -> None:
    """Rank 4 of everything, also of what svd skips; no site of a real model is refused."""
    model, feeds = _prepared(data_dir, name)
    sites = find_sites(model)
    assert [reason for site in sites if (reason := refuse(site))] == []
    items = [truncated(site, 4) for site in sites]
    assert lowered_error(model, items, feeds, "scan") <= TOLERANCE
    assert MODELS[name] in {node.op_type for node in all_nodes(model)}
    assert not {"LSTM", "GRU"} & {node.op_type for node in all_nodes(model)}


@pytest.mark.parametrize("name", ["silero_vad_v4", "silero_vad_v5"])
def test_the_branch_for_the_other_sampling_rate(data_dir: Path, name: str) -> None:
    model, feeds = _prepared(data_dir, name)
    feeds["sr"] = np.array(8000, dtype=np.int64)
    feeds["input"] = feeds["input"][:, :256]
    assert lowered_error(model, low_rank_items(find_sites(model), rank_ratio=0.5), feeds) <= TOLERANCE


def _prepared(data_dir: Path, name: str) -> tuple[ir.Model, Feeds]:
    model = load_model(data_dir / "onnx" / f"{name}.onnx")
    feeds = random_feeds(model)
    normalise(model)
    return model, feeds
