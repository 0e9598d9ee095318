"""The check lets through what is the same, and names what is not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import dtc.models
from dtc.checking import CheckOptions, CheckReport, MetricChange, check
from dtc.errors import DataError, ModelError, UsageError
from dtc.evaluate import evaluate
from dtc.graph import find_initializer, load_model, save_model
from dtc.metrics import make_metric
from dtc.models import datasets
from dtc.recipe import Objective
from dtc.session import runner, session, signature


class Batches:
    """The narrowest source: the same batches each time."""

    words = "digits"

    def __init__(self, *batches: dict[str, np.ndarray]) -> None:
        self._batches = batches
        self.length = len(batches)

    def batches(self, *, epoch: int, seed: int, shuffle: bool) -> Iterator[dict[str, np.ndarray]]:
        assert not shuffle
        return iter(self._batches)


DIGITS = Batches(*datasets.digits_test(batch_size=100))
UNLABELLED = Batches(*({"image": b["image"]} for b in datasets.digits_test(batch_size=100)))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "reference.onnx"
    save_model(dtc.models.build("digits-mlp", hidden=16), path)
    return path


@pytest.fixture
def changed(reference: Path, tmp_path: Path) -> Callable[[Callable[[ir.Model], object]], Path]:
    def change(edit: Callable[[ir.Model], object]) -> Path:
        model = load_model(reference)
        edit(model)
        save_model(model, tmp_path / "candidate.onnx")
        return tmp_path / "candidate.onnx"

    return change


def quick(reference: Path, candidate: Path, source: Batches | None = None, **options: object) -> CheckReport:
    told = CheckOptions(threads=1, **({"seconds": 0} | options))  # type: ignore[arg-type]
    return check(reference, candidate, source=source, options=told)


def scale(name: str, factor: float) -> Callable[[ir.Model], None]:
    def edit(model: ir.Model) -> None:
        value = find_initializer(model, name)
        assert value is not None
        assert value.const_value is not None
        value.const_value = ir.tensor(value.const_value.numpy() * np.float32(factor), name=name)

    return edit


@pytest.mark.parametrize("source", [None, DIGITS, UNLABELLED])
def test_a_model_equals_itself(reference: Path, source: Batches | None) -> None:
    report = quick(reference, reference, source=source, max_difference=0.0)
    assert not report.failures
    assert report.failures == ()
    (difference,) = report.differences
    assert (difference.name, difference.max_abs, difference.relative_l2) == ("logits", 0, 0)
    assert (difference.snr, difference.agreement) == (math.inf, 1.0)
    assert report.candidate.latency is report.candidate.memory is None


def test_latency_and_memory_are_measured(reference: Path) -> None:
    report = quick(reference, reference, source=DIGITS, seconds=0.02)
    for facts in (report.reference, report.candidate):
        assert facts.file_bytes == reference.stat().st_size
        assert facts.latency is not None
        assert 0 < facts.latency.p10 <= facts.latency.median <= facts.latency.p90
        assert facts.memory is not None
        assert 0 < facts.memory.idle < facts.memory.peak


def test_a_changed_weight_fails_at_a_limit(reference: Path, changed: Callable[..., Path]) -> None:
    candidate = changed(scale("fc3.weight", 1.01))
    report = quick(reference, candidate, max_difference=1e-3)
    assert len(report.failures) == 1
    assert report.failures[0].startswith("output 'logits' differs by 0.01 (relative L2)")
    assert report.differences[0].relative_l2 == pytest.approx(0.01, rel=1e-3)
    assert report.differences[0].snr == pytest.approx(40, abs=0.01)
    assert quick(reference, candidate, max_difference=0.02).verdict == "passed"


def test_a_drop_over_the_limit_fails(reference: Path, changed: Callable[..., Path]) -> None:
    candidate = changed(scale("fc3.weight", -1.0))
    before = np.mean([_accuracy(reference, b) for b in [next(datasets.digits_test())]])
    report = quick(reference, candidate, source=DIGITS, max_drop=0.0)
    assert report.metric is not None
    assert report.metric.before == pytest.approx(before)
    assert report.metric.after == pytest.approx(_accuracy(candidate, next(datasets.digits_test())))
    assert report.metric.labelled
    assert (not report.failures) == (report.metric.after >= report.metric.before)
    opposite = quick(candidate, reference, source=DIGITS, max_drop=0.0)
    assert bool(opposite.failures) != bool(report.failures)
    failed = next(r for r in (report, opposite) if r.failures)
    assert "accuracy went from" in failed.failures[0]
    assert quick(reference, candidate, source=DIGITS, max_drop=1.0).verdict == "passed"


def _accuracy(path: Path, batch: dict[str, np.ndarray]) -> float:
    import onnxruntime as ort

    (logits,) = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"image": batch["image"]})
    return float((logits.argmax(axis=1) == batch["labels"]).mean())


def test_without_labels_the_reference_stands_for_them(reference: Path, changed: Callable[..., Path]) -> None:
    candidate = changed(scale("fc3.weight", 0.9))
    report = quick(reference, candidate, source=UNLABELLED)
    assert report.metric is not None
    assert not report.metric.labelled
    assert (report.metric.name, report.metric.before) == ("snr", math.inf)
    assert report.metric.after == pytest.approx(20, abs=0.01)
    agreement = quick(reference, candidate, source=UNLABELLED, objective=Objective(metric="accuracy"), max_drop=0.0)
    assert agreement.metric is not None
    assert (agreement.metric.before, agreement.metric.after) == (1.0, 1.0)
    assert agreement.verdict == "passed"


def test_limits_that_cannot_be_measured(reference: Path) -> None:
    with pytest.raises(UsageError, match="needs data"):
        quick(reference, reference, max_drop=0.1)
    with pytest.raises(UsageError, match="needs labels"):
        quick(reference, reference, source=UNLABELLED, max_drop=0.1)
    with pytest.raises(DataError, match="no batch"):
        quick(reference, reference, source=Batches())


def test_a_renamed_output_fails(reference: Path, changed: Callable[..., Path]) -> None:
    report = quick(reference, changed(lambda model: setattr(model.graph.outputs[0], "name", "scores")))
    assert report.failures == (
        "the candidate has a new output 'scores'",
        "the candidate has no output 'logits'; it has scores",
    )
    assert report.differences == ()


def test_a_renamed_input_fails(reference: Path, changed: Callable[..., Path]) -> None:
    report = quick(reference, changed(lambda model: setattr(model.graph.inputs[0], "name", "x")))
    assert "the candidate has no input 'image'; it has x" in report.failures


def test_a_wrong_shape_fails(reference: Path, tmp_path: Path) -> None:
    other = dtc.models.build("digits-mlp", hidden=16)
    other.graph.inputs[0].shape = ir.Shape([1, 1, 8, 8])
    save_model(other, tmp_path / "candidate.onnx")
    report = quick(reference, tmp_path / "candidate.onnx")
    assert report.failures[0].startswith("input 'image' float32 [N, 1, 8, 8] is float32 [1, 1, 8, 8] in the candidate")


def test_a_shape_that_only_shows_when_it_runs_fails(reference: Path, changed: Callable[..., Path]) -> None:
    def transpose(model: ir.Model) -> None:
        last = model.graph.outputs[0]
        node = ir.node("Transpose", [last], attributes={"perm": [1, 0]})
        model.graph.append(node)
        node.outputs[0].name, last.name = "logits", "before"
        node.outputs[0].dtype, node.outputs[0].shape = ir.DataType.FLOAT, ir.Shape(["A", "B"])
        last.shape = ir.Shape(["A", "B"])
        model.graph.outputs[0] = node.outputs[0]

    report = quick(reference, changed(transpose))
    assert report.verdict == "failed"
    assert "logits" in report.failures[0]


def test_nan_fails(reference: Path, changed: Callable[..., Path]) -> None:
    for source in (None, DIGITS):
        candidate = changed(scale("fc2.weight", math.nan))
        report = quick(reference, candidate, source=source)
        assert report.failures[0].startswith("output 'logits' is NaN in ")
        candidate.unlink()
    report = quick(reference, changed(scale("fc2.bias", math.nan)), source=DIGITS, objective=PERPLEXITY, max_drop=1e9)
    assert len(report.failures) == 2
    assert "perplexity went from" in report.failures[1]


PERPLEXITY = Objective(metric="perplexity")


def test_a_candidate_that_cannot_run_fails(reference: Path, changed: Callable[..., Path]) -> None:
    def read_the_101st_sample(model: ir.Model) -> None:
        flat = next(node for node in model.graph if node.op_type == "Flatten")
        index = ir.val("index", const_value=ir.tensor(np.array([100]), name="index"))
        model.graph.register_initializer(index)
        far = ir.node("Gather", [flat.inputs[0], index])
        both = ir.node("Add", [flat.inputs[0], far.outputs[0]])
        model.graph.insert_before(flat, [far, both])
        flat.replace_input_with(0, both.outputs[0])

    report = quick(reference, changed(read_the_101st_sample))
    assert len(report.failures) == 1
    assert "the candidate cannot run inputs that the reference runs" in report.failures[0]


def test_what_is_no_model_is_refused(reference: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"junk\.onnx: not an ONNX model"):
        quick(reference, tmp_path / "junk.onnx")
    with pytest.raises(ModelError, match=r"absent\.onnx: no such file"):
        quick(tmp_path / "absent.onnx", reference)


def test_data_that_does_not_fit_is_named(reference: Path) -> None:
    with pytest.raises(DataError, match=r"needs input 'image' float32 \[N, 1, 8, 8\].*only 'pixels'"):
        quick(reference, reference, source=Batches({"pixels": np.zeros((2, 1, 8, 8), np.float32)}))
    with pytest.raises(DataError, match=r"the data holds float64 \[2, 1, 8, 8\]"):
        quick(reference, reference, source=Batches({"image": np.zeros((2, 1, 8, 8))}))
    with pytest.raises(DataError, match="no output 'scores'; it has logits"):
        quick(reference, reference, source=DIGITS, objective=Objective(output="scores"))


def test_external_data_counts(reference: Path, tmp_path: Path) -> None:
    ir.save(load_model(reference), tmp_path / "candidate.onnx", external_data="weights.bin")
    report = quick(reference, tmp_path / "candidate.onnx")
    assert (tmp_path / "weights.bin").stat().st_size > 4000
    both = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert report.candidate.file_bytes == both
    assert not report.failures


def changed_metric(name: str, before: float, after: float, *, higher_is_better: bool) -> MetricChange:
    return MetricChange(name=name, higher_is_better=higher_is_better, before=before, after=after, labelled=True)


def test_drop_has_a_direction() -> None:
    assert changed_metric("accuracy", 0.9, 0.8, higher_is_better=True).drop == pytest.approx(0.1)
    assert changed_metric("perplexity", 80.0, 82.0, higher_is_better=False).drop == pytest.approx(2.0)
    assert changed_metric("perplexity", 80.0, 79.0, higher_is_better=False).drop == pytest.approx(-1.0)
    assert changed_metric("snr", math.inf, math.inf, higher_is_better=True).drop == 0
    assert math.isnan(changed_metric("perplexity", 80.0, math.nan, higher_is_better=False).drop)


def test_a_report_is_a_document_that_is_read_back(reference: Path) -> None:
    report = quick(reference, reference)
    text = report.to_json()
    assert json.loads(text)["schema"] == "dtc-check/1"
    assert json.loads(text)["differences"][0]["snr"] is None  # JSON knows no infinity
    again = CheckReport.model_validate_json(text)
    assert math.isnan(again.differences[0].snr)
    assert again.candidate == report.candidate
    assert again.to_json() == text


def test_state_is_carried(tmp_path: Path) -> None:
    path = tmp_path / "lm.onnx"
    save_model(dtc.models.build("ptb-small", vocabulary=30, seed=1), path)
    words = np.random.default_rng(0).integers(0, 30, (41, 2))
    objective = Objective(metric="perplexity", carry={"hn": "h0", "cn": "c0"})

    def perplexity(chunk: int) -> float:
        chunks = [(words[i : i + chunk], words[i + 1 : i + 1 + chunk]) for i in range(0, 40, chunk)]
        source = Batches(*({"ids": ids[: len(labels)], "labels": labels} for ids, labels in chunks))
        report = quick(path, path, source=source, objective=objective, max_drop=0.0)
        assert not report.failures
        assert report.metric is not None
        return report.metric.after

    assert perplexity(5) == pytest.approx(perplexity(40), rel=1e-5)
    assert perplexity(13) == pytest.approx(perplexity(40), rel=1e-5)  # the last chunk is shorter


def test_a_real_language_model_is_measured_as_an_evaluation_measures_it(data_dir: Path) -> None:
    """The published figure of the whole test text, 135.84, is that of an evaluation."""
    path = data_dir / "onnx" / "ptb_rnnlm_lstm100_derived.onnx"
    objective = Objective(metric="perplexity", carry={"hn": "h0", "cn": "c0"})
    batches = list(islice(datasets.ptb_valid(), 8))
    running = session(path, threads=1)
    found = evaluate(runner(running), batches, objective, make_metric("perplexity"), inputs=signature(running)[0])
    report = quick(path, path, source=Batches(*batches), objective=objective, max_drop=0.0)
    assert not report.failures
    assert report.metric is not None
    assert report.metric.before == report.metric.after == pytest.approx(found, rel=1e-5)
