"""A search on a cluster of two nodes, of which one is killed: the same file as by processes of one machine.

Run where `dtc[ray]` is installed: `pytest -m cluster tests/search/test_cluster.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtc import models
from dtc.graph import save_model
from dtc.search.journal import FILE

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]

Dtc = Callable[..., tuple[int, str, str]]

LINES = 12
"""Evaluations after which a node is killed."""


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one core each."""
    utilities = pytest.importorskip("ray.cluster_utils", reason="needs dtc[ray]")
    cluster = utilities.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster
    cluster.shutdown()


def test_a_node_that_dies_changes_nothing(dtc: Dtc, cluster: Any, tmp_path: Path) -> None:
    second = cluster.add_node(num_cpus=1)
    save_model(models.build("digits-mlp", hidden=24), tmp_path / "m.onnx")
    dice = np.random.default_rng(0)
    arrays = {"image": dice.random((240, 1, 8, 8), np.float32), "labels": dice.integers(0, 10, 240)}
    np.savez(tmp_path / "d.npz", **arrays)
    told = ("search", tmp_path / "m.onnx", "--data", tmp_path / "d.npz", "--methods", "uniform", "--seconds", "0")
    goal = ("--target-ratio", "2.5", "--json")
    status, wanted, err = dtc(*told, *goal, "-o", tmp_path / "local.onnx", "--workers", "1")
    assert status == 0, err
    journal = tmp_path / "cluster.dtc-search" / FILE
    kill = partial(cluster.remove_node, second, allow_graceful=False)
    killed = threading.Thread(target=kill_when, args=(journal, kill))
    killed.start()
    status, found, err = dtc(*told, *goal, "-o", tmp_path / "cluster.onnx", "--ray", cluster.address)
    assert status == 0, err
    killed.join(1)
    assert not killed.is_alive(), "the node was killed while the search went on"
    assert found == wanted
    assert (tmp_path / "cluster.onnx").read_bytes() == (tmp_path / "local.onnx").read_bytes()


def kill_when(journal: Path, kill: Callable[[], None]) -> None:
    while not journal.exists() or journal.read_bytes().count(b"\n") < LINES:
        time.sleep(0.02)
    kill()
