"""Sites are distorted in other processes to the same bytes; a process that dies loses nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import dtc
from dtc.distortion import SiteTask, SiteWorkers
from dtc.errors import ModelError, UsageError
from dtc.graph import load_model, save_model
from dtc.passes.method import DistortionStep, make_method
from dtc.passes.plan import facts_of, make_plan
from dtc.pipeline.progress import SiteDone
from dtc.recipe import Rule
from dtc.storage import ArrayStore


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a chain of four products, whose weights stay in the file."""
    rng = np.random.default_rng(3)
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["n", 300]))
    value, nodes, weights = x, [], []
    for index, cols in enumerate((280, 300, 260, 300)):
        array = rng.normal(size=(value.shape[1], cols)).astype(np.float32)
        weights.append(ir.Value(name=f"w{index}", const_value=ir.tensor(array, name=f"w{index}")))
        nodes.append(ir.node("MatMul", [value, weights[-1]], name=f"product{index}"))
        value = nodes[-1].outputs[0]
        value.name, value.shape, value.type = f"y{index}", ir.Shape(["n", cols]), ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([x], [value], nodes=nodes, initializers=weights, opset_imports={"": 17}, name="g")
    save_model(ir.Model(graph, ir_version=8), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_the_bytes_are_the_same_for_any_number_of_workers(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The sites of the second rule look at each other, and stay.
    rules = (
        Rule(method="codebook", include=["w0", "w1"], options={"codewords": 16, "block": 1}),
        Rule(method="prune", include=["w2", "w3"], options={"sparsity": 0.8, "scope": "global"}),
    )
    told: list[SiteDone] = []

    def compressed(workers: int) -> tuple[bytes, list[float | None]]:
        out = model.with_name(f"out{workers}.onnx")
        job = dtc.Job(out, seconds=0, workers=workers, force=True)
        result = dtc.compress(model, dtc.Recipe(rules=rules), job, on_event=told.append)
        return out.read_bytes(), [site.error for site in result.report.sites]

    alone = compressed(1)
    left: list[str] = []
    results = SiteWorkers.results

    def counted(self: SiteWorkers, tasks: list[SiteTask]) -> object:
        left.extend(task.site for task in tasks)
        return results(self, tasks)

    monkeypatch.setattr("dtc.pipeline.distorting.WORTH_WORKERS", 0)
    monkeypatch.setattr(SiteWorkers, "results", counted)
    assert compressed(2) == alone
    assert left == ["w0", "w1"]
    sites = [event for event in told if isinstance(event, SiteDone)]
    assert [(event.site, event.done) for event in sites] == 2 * [("w0", 1), ("w1", 2), ("w2", 3), ("w3", 4)]
    assert sites[-1].bytes_done == sites[-1].bytes_of == 4 * 300 * (280 + 280 + 260 + 260)


DYING = """
import os, signal, time
from pathlib import Path
from dtc.errors import UsageError
from dtc.passes.methods.uniform import Uniform, UniformOptions

class Dying(Uniform):
    name = "dying"
    deaths: str

    def distort(self, weights, at=None):
        print("methods may print")
        site = weights[0].site
        if site == "w3":
            raise UsageError("--bits: not for w3")
        if site == "slow":
            Path(__file__).with_name("slow.pid").write_text(str(os.getpid()))
            time.sleep(600)
        for number in range({"w0": 0, "w1": 1, "w2": 9}[site]):
            mark = Path(__file__).with_name(f"{site}.{number}")
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().distort(weights)

METHOD = Dying(UniformOptions(bits=4))
"""


def test_a_worker_may_die_fail_or_be_interrupted(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dying_method.py").write_text(DYING)
    monkeypatch.syspath_prepend(tmp_path)
    method = __import__("dying_method").METHOD
    plan = make_plan(load_model(model), [Rule(method="uniform", options={"bits": 4})])
    tasks = [SiteTask(method, facts_of(s), s.value.const_value, s.view, DistortionStep()) for s in plan.sites]
    (tmp_path / "store").mkdir()
    store = ArrayStore(tmp_path / "store", large=1000)
    with SiteWorkers(1, store.folder) as workers:
        found = workers.results(tasks[:2])
        for task in tasks[:2]:
            result = next(found)
            (form,), (wanted,) = (
                store.take(result.outcome),
                make_method("uniform", {"bits": 4}).distort([task.weights()])[task.site],
            )
            np.testing.assert_array_equal(form.dense(), wanted.dense())
            assert 0 < result.error < 0.1
            assert not form.codes.flags.owndata  # a map of a file of the folder
        with pytest.raises(UsageError, match=r"^--bits: not for w3$"):
            next(workers.results([tasks[3]]))
        monkeypatch.setattr("dtc.distortion.workers.ATTEMPTS", 2)
        with pytest.raises(ModelError, match=r"weight 'w2': its process ended 2 times \(signal 9\).*--workers"):
            next(workers.results([tasks[2]]))
    slow = SiteTask(method, {**tasks[0].facts, "site": "slow"}, tasks[0].tensor, tasks[0].view, tasks[0].at)
    interrupt = threading.Thread(target=_interrupt_once_there, args=(tmp_path / "slow.pid",))
    # A shell that puts tests into the background has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupt.start()
        with pytest.raises(KeyboardInterrupt), SiteWorkers(1, store.folder) as workers:
            next(workers.results([slow]))
        interrupt.join()
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "slow.pid").read_text()), 0)


def _interrupt_once_there(mark: Path) -> None:
    while not (mark.exists() and mark.read_text()):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
