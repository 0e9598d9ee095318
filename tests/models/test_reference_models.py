"""Every reference model is a valid model, of the published size, and runs in ONNX Runtime as it says."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from pydantic import ValidationError

import dtc.models
from dtc.errors import UsageError
from dtc.graph import find_sites

SMALL = {"ptb-small": {"vocabulary": 50}, "ptb-300": {"vocabulary": 50}, "ptb-medium": {"vocabulary": 50}}
RUNNABLE = [name for name in dtc.models.names() if name != "ptb-large"]  # 264 MB: only its parameters are counted


def parameters(model: ir.Model) -> int:
    floats = (v.const_value for v in model.graph.initializers.values())
    return sum(t.size for t in floats if t is not None and t.dtype == ir.DataType.FLOAT and t.size > 1)


def matrices(model: ir.Model) -> list[int]:
    return [site.size for site in find_sites(model)]


def open_session(model: ir.Model) -> ort.InferenceSession:
    return ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", RUNNABLE)
def test_is_a_valid_portable_model(name: str) -> None:
    proto = ir.to_proto(dtc.models.build(name, **SMALL.get(name, {})))
    onnx.checker.check_model(proto, full_check=True)
    assert proto.ir_version == 8
    assert {entry.domain: entry.version for entry in proto.opset_import} == {"": 17}
    for node in proto.graph.node:
        if node.op_type == "Dropout":
            assert len(node.input) == 2  # training_mode unset: idle in inference
    names = [node.name for node in proto.graph.node]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_seed_decides_on_the_weights(name: str) -> None:
    def weights(seed: int) -> list[np.ndarray]:
        model = dtc.models.build(name, seed=seed, **SMALL.get(name, {}))
        return [v.const_value.numpy() for v in model.graph.initializers.values() if v.const_value is not None]

    first, again, other = weights(3), weights(3), weights(4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_lenets_have_the_published_layers() -> None:
    assert matrices(dtc.models.build("lenet-300-100")) == [235_200, 30_000, 1_000]
    assert matrices(dtc.models.build("lenet-5")) == [500, 25_000, 400_000, 5_000]


@pytest.mark.parametrize(
    ("name", "millions"), [("ptb-small", 4.65), ("ptb-medium", 19.8), ("ptb-large", 66.0), ("ptb-300", 6.7)]
)
def test_language_models_have_the_published_sizes(name: str, millions: float) -> None:
    count = parameters(dtc.models.build(name)) / 1e6
    assert round(count, 2 if millions == 4.65 else 1) == millions


@pytest.mark.parametrize(("name", "limit"), [("ptb-small", 0.1), ("ptb-medium", 0.05)])
def test_language_models_start_uniform(name: str, limit: float) -> None:
    model = dtc.models.build(name, vocabulary=300)
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.dtype == ir.DataType.FLOAT and tensor.size > 1000:
            weight = tensor.numpy()
            assert np.abs(weight).max() <= limit
            assert weight.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)
            assert weight.mean() == pytest.approx(0, abs=limit / 10)


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_lenets_run(name: str, dropout: float) -> None:
    model = dtc.models.build(name, dropout=dropout)
    image = np.random.default_rng(0).random((3, 1, 28, 28), dtype=np.float32)
    (logits,) = open_session(model).run(["logits"], {"image": image})
    assert logits.shape == (3, 10)
    assert np.isfinite(logits).all()
    assert ("Dropout" in {node.op_type for node in model.graph}) == (dropout > 0)


def test_lenet_5_is_caffes() -> None:
    ops = [node.op_type for node in dtc.models.build("lenet-5").graph]
    assert ops == ["Conv", "MaxPool", "Conv", "MaxPool", "Flatten", "Gemm", "Relu", "Gemm"]


@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn"])
def test_digits_run(name: str) -> None:
    model = dtc.models.build(name)
    image = np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32)
    (logits,) = open_session(model).run(["logits"], {"image": image})
    assert logits.shape == (5, 10)
    assert 200_000 < sum(matrices(model)) * 4 < 1_000_000


@pytest.mark.parametrize(("name", "layers", "width"), [("ptb-small", 2, 200), ("ptb-300", 1, 300)])
@pytest.mark.parametrize("tied", [False, True])
def test_language_models_carry_their_state(name: str, layers: int, width: int, tied: bool) -> None:
    running = open_session(dtc.models.build(name, vocabulary=50, tied=tied))
    ids = np.random.default_rng(0).integers(0, 50, (8, 3))
    zeros = np.zeros((layers, 3, width), np.float32)
    whole, hn, cn = running.run(None, {"ids": ids, "h0": zeros, "c0": zeros})
    assert whole.shape == (8, 3, 50)
    assert hn.shape == cn.shape == (layers, 3, width)
    first, h, c = running.run(None, {"ids": ids[:5], "h0": zeros, "c0": zeros})
    second, h, c = running.run(None, {"ids": ids[5:], "h0": h, "c0": c})
    np.testing.assert_allclose(np.concatenate([first, second]), whole, atol=1e-5)
    np.testing.assert_allclose(h, hn, atol=1e-5)
    np.testing.assert_allclose(c, cn, atol=1e-5)


def test_tied_embedding_is_one_weight_with_two_readers() -> None:
    sites = {site.name: site for site in find_sites(dtc.models.build("ptb-small", vocabulary=50, tied=True))}
    assert [reader.node.op_type for reader in sites["embedding.weight"].readers] == ["Gather", "MatMul"]
    assert "softmax.weight" not in sites


def test_dropout_is_on_the_non_recurrent_connections() -> None:
    drops = [n for n in dtc.models.build("ptb-medium", vocabulary=50).graph if n.op_type == "Dropout"]
    assert [n.inputs[0].producer().op_type for n in drops] == ["Gather", "Squeeze", "Squeeze"]
    assert [n.outputs[0].uses()[0].node.op_type for n in drops] == ["LSTM", "LSTM", "MatMul"]
    assert {float(n.inputs[1].const_value.numpy()) for n in drops} == {0.5}
    assert not [n for n in dtc.models.build("ptb-small", vocabulary=50).graph if n.op_type == "Dropout"]
    assert [n for n in dtc.models.build("ptb-small", vocabulary=50, dropout=0.1).graph if n.op_type == "Dropout"]


@pytest.mark.parametrize("layers", [1, 2])
def test_bidirectional_models_do_not_see_the_padding(layers: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 3, 8)).astype(np.float32)
    lengths = np.array([8, 5, 1], np.int32)
    noise = x.copy()
    noise[5:, 1] = 9
    noise[1:, 2] = 9
    for name, shape in (("bilstm-classifier", (3, 10)), ("bilstm-tagger", (8, 3, 10))):
        running = open_session(dtc.models.build(name, layers=layers, width=16))
        (clean,) = running.run(None, {"x": x, "lengths": lengths})
        (padded,) = running.run(None, {"x": noise, "lengths": lengths})
        (alone,) = running.run(None, {"x": x[:5, 1:2], "lengths": lengths[1:2]})
        assert clean.shape == shape
        np.testing.assert_allclose(clean, padded, atol=1e-6)
        of_second = clean[1:2] if clean.ndim == 2 else clean[:5, 1:2]
        np.testing.assert_allclose(of_second, alone, atol=1e-5)


def test_plans_follow_the_papers() -> None:
    for name, unroll, clip, after, divisor, epochs in (
        ("ptb-small", 20, 5, 4, 2, 13),
        ("ptb-medium", 35, 5, 6, 1.2, 39),
        ("ptb-large", 35, 10, 14, 1.15, 55),
    ):
        plan = dtc.models.plan(name)
        assert plan.training is not None
        assert plan.training.optimizer.kind == "sgd"
        # A mean over the time steps instead of a sum: gradients are `unroll` times smaller.
        assert plan.training.optimizer.learning_rate == 1.0 * unroll
        assert plan.training.optimizer.clip_norm == clip / unroll
        assert plan.training.schedule.after == after
        assert plan.training.schedule.factor == pytest.approx(1 / divisor)
        assert plan.training.epochs == epochs
        assert plan.data.batch_size == 20
        assert plan.objective.carry == {"hn": "h0", "cn": "c0"}


@pytest.mark.parametrize("name", dtc.models.names())
def test_every_plan_fits_its_model(name: str) -> None:
    reference = dtc.models.reference(name)
    assert reference.plan.rules == ()
    assert reference.plan.from_yaml(reference.plan.to_yaml()) == reference.plan
    assert reference.plan.objective.output == "logits"
    module, _, function = (reference.plan.data.train or "").partition(":")
    assert module == "dtc.models.datasets"
    assert callable(getattr(dtc.models.datasets, function))


def test_mistakes_are_named() -> None:
    with pytest.raises(UsageError, match=r"no reference model is called 'lenet'.*lenet-5"):
        dtc.models.build("lenet")
    with pytest.raises(UsageError, match="model lenet-5, --width"):
        dtc.models.build("lenet-5", width=3)
    with pytest.raises(UsageError, match=r"model lenet-5, --dropout: .*less than 1"):
        dtc.models.build("lenet-5", dropout=1.0)
    with pytest.raises(UsageError, match="model ptb-small, --vocabulary"):
        dtc.models.build("ptb-small", vocabulary=0)
    with pytest.raises(ValidationError):
        dtc.models.reference("lenet-5").options_type(seed=-1)


EXTRA = """
from dtc.models.lenet import LenetOptions, build_lenet_5
from dtc.models.reference import Reference
from dtc.recipe import Recipe

REFERENCES = (Reference({name!r}, "one more", LenetOptions, build_lenet_5, Recipe()),)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(dtc.models, "__path__", [*dtc.models.__path__, str(tmp_path)])
    dtc.models.references.cache_clear()
    yield tmp_path
    sys.modules.pop("dtc.models.extra", None)
    dtc.models.references.cache_clear()


def test_one_more_file_is_one_more_model(folder: Path) -> None:
    (folder / "extra.py").write_text(EXTRA.format(name="extra-net"))
    assert "extra-net" in dtc.models.names()
    assert matrices(dtc.models.build("extra-net")) == [500, 25_000, 400_000, 5_000]


def test_a_name_taken_twice_and_a_broken_file_are_loud(folder: Path) -> None:
    (folder / "extra.py").write_text(EXTRA.format(name="lenet-5"))
    with pytest.raises(RuntimeError, match="two reference models are called 'lenet-5'"):
        dtc.models.names()
    sys.modules.pop("dtc.models.extra")
    (folder / "extra.py").write_text("import no_such_module")
    importlib.invalidate_caches()
    with pytest.raises(ImportError):
        dtc.models.names()
