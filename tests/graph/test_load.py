"""Files that nobody vouches for: each fault gives one line that names the file and the mend."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from dtc.errors import ModelError
from dtc.graph import load_model, save_model
from dtc.graph.file_tensor import FileTensor


def model_with(weight: np.ndarray) -> ir.Model:
    value = ir.Value(name="w", const_value=ir.tensor(weight, name="w"))
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["n", weight.shape[0]]))
    node = ir.node("MatMul", [x, value], name="product")
    node.outputs[0].name = "y"
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    node.outputs[0].shape = ir.Shape(["n", weight.shape[1]])
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[value], opset_imports={"": 17}, name="g")
    return ir.Model(graph, ir_version=9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.onnx"
    save_model(model_with(np.ones((64, 64), np.float32)), file)
    return file


def test_a_written_model_reads_back_in_the_portable_ir_version(path: Path) -> None:
    model = load_model(path)
    assert model.ir_version == 8
    np.testing.assert_array_equal(model.graph.initializers["w"].const_value.numpy(), np.ones((64, 64)))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.onnx: no such file"):
        load_model(tmp_path / "nowhere.onnx")


@pytest.mark.parametrize("content", [b"", b"this is no model at all, just words", bytes(range(256)) * 8])
def test_not_a_model(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "words.onnx"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"words\.onnx: not an ONNX model, or a truncated one"):
        load_model(file)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_file(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match=r"model\.onnx: .*(truncated|damaged)"):
        load_model(path)


def external(tmp_path: Path, location: str, length: int = 16384) -> Path:
    model = model_with(np.ones((64, 64), np.float32))
    model.graph.initializers["w"].const_value = ir.ExternalTensor(
        location, 0, length, ir.DataType.FLOAT, shape=ir.Shape([64, 64]), name="w", base_dir=str(tmp_path)
    )
    file = tmp_path / "model.onnx"
    proto = ir.to_proto(model)
    file.write_bytes(proto.SerializeToString())
    return file


def test_missing_external_data(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"external data file 'weights\.bin' is missing"):
        load_model(external(tmp_path, "weights.bin"))


def test_short_external_data(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    with pytest.raises(ModelError, match=r"weights\.bin.*too short.*'w'.*16384 bytes needed"):
        load_model(external(tmp_path, "weights.bin"))


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "a/../../secret.bin"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(16384))
    with pytest.raises(ModelError, match=r"outside the model's folder"):
        load_model(external(inner, location))


def test_external_data_through_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(16384))
    (inner / "weights.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelError, match=r"outside the model's folder"):
        load_model(external(inner, "weights.bin"))


def test_external_data_stays_on_disk_until_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(np.full(4096, 3, np.float32).tobytes())
    tensor = load_model(external(tmp_path, "weights.bin")).graph.initializers["w"].const_value
    assert isinstance(tensor, FileTensor)
    assert tensor.numpy()[0, 0] == 3


def test_nothing_is_overwritten_without_force(path: Path) -> None:
    before = path.read_bytes()
    model = model_with(np.zeros((2, 2), np.float32))
    with pytest.raises(ModelError, match=r"exists already.*--force"):
        save_model(model, path)
    assert path.read_bytes() == before
    save_model(model, path, force=True)
    assert load_model(path).graph.initializers["w"].const_value.shape == ir.Shape([2, 2])


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*args: object, **kwargs: object) -> None:
        Path(str(args[1])).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dtc.graph.save.write_streaming", break_down)
    with pytest.raises(ModelError, match=r"cannot be written \(No space left on device\)"):
        save_model(model_with(np.ones((4, 4), np.float32)), tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_above_the_protobuf_limit_go_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtc.graph.save.EXTERNAL_DATA_ABOVE", 1000)
    save_model(model_with(np.full((64, 64), 2, np.float32)), tmp_path / "big.onnx")
    model, data = sorted(tmp_path.iterdir())
    assert model.name == "big.onnx"
    assert re.fullmatch(r"big\.onnx\.dtc-[0-9a-f]{16}\.data", data.name)
    tensor = load_model(tmp_path / "big.onnx").graph.initializers["w"].const_value
    assert isinstance(tensor, FileTensor)
    assert tensor.numpy().sum() == 2 * 64 * 64


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("dims", [[10**6, 10**6], [64, 63], [-4, 4]])
def test_a_tensor_that_declares_what_it_does_not_hold_is_refused(path: Path, dims: list[int], *, raw: bool) -> None:
    proto = ir.to_proto(load_model(path))
    tensor = proto.graph.initializer[0]
    tensor.dims[:] = dims
    if not raw:
        tensor.ClearField("raw_data")
        tensor.float_data.extend([1.0] * 4096)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=r"tensor 'w' declares .* the file is damaged"):
        load_model(path)


def test_a_model_that_came_with_external_data_is_written_whole(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    (tmp_path / "in").mkdir()
    ir.save(model_with(weights), tmp_path / "in" / "model.onnx", external_data="weights.bin")
    model = load_model(tmp_path / "in" / "model.onnx")
    (tmp_path / "out").mkdir()
    save_model(model, tmp_path / "out" / "model.onnx")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.onnx"]
    (found,) = load_model(tmp_path / "out" / "model.onnx").graph.initializers.values()
    np.testing.assert_array_equal(found.const_value.numpy(), weights)
    (own,) = model.graph.initializers.values()
    assert isinstance(own.const_value, FileTensor)  # the model itself stays as it was
