"""Large tensors stay in the file that they came in, and go from there into the file that is written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import TensorProto, numpy_helper

from dtc.errors import ModelError
from dtc.graph import FileTensor, load_model, model_files, save_model
from dtc.graph.walk import all_tensors

SIDE = 400  # 640 kB of float32


def matrix(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(SIDE, SIDE)).astype(np.float32)


MODEL = """
    <ir_version: 8, opset_import: ["" : 17, "own" : 1]>
    g (float[n, 400] x) => (float[n, 400] y) {
        f = MatMul (x, A)
        B = Constant <value = float16[1] {0}> ()
        B32 = Cast <to = 1> (B)
        h = MatMul (f, B32)
        g = If (which) <
            then_branch = then () => (float[n, 400] t) { t = MatMul (h, C) },
            else_branch = other () => (float[n, 400] e) { e = Identity (h) }
        >
        y = own.Twist (g)
    }
    <domain: "own", opset_import: ["" : 17]>
    Twist (a) => (b) {
        D = Constant <value = float[1] {0}> ()
        b = MatMul (a, D)
    }
"""


def proto_with_weights_everywhere() -> onnx.ModelProto:
    """Return a model with large weights in an initializer, a Constant, a branch, and a function."""
    proto = onnx.parser.parse_model(MODEL)
    proto.graph.initializer.append(numpy_helper.from_array(matrix(1), "A"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "which"))
    proto.graph.node[1].attribute[0].t.CopyFrom(numpy_helper.from_array(matrix(2).astype(np.float16)))
    (then,) = [each.g for each in proto.graph.node[4].attribute if each.name == "then_branch"]
    then.initializer.append(numpy_helper.from_array(matrix(3), "C"))
    proto.functions[0].node[0].attribute[0].t.CopyFrom(numpy_helper.from_array(matrix(4)))
    return proto


def test_large_tensors_stay_in_the_model_file_wherever_they_stand(tmp_path: Path) -> None:
    path, again = tmp_path / "model.onnx", tmp_path / "again.onnx"
    onnx.save(proto_with_weights_everywhere(), path)
    model = load_model(path)
    kept = [tensor for tensor in all_tensors(model) if isinstance(tensor, FileTensor)]
    assert len(kept) == 4
    assert {tensor.part.path for tensor in kept} == {path}
    np.testing.assert_array_equal(model.graph.initializers["A"].const_value.numpy(), matrix(1))
    assert model_files(path, model) == (path,)
    save_model(model, again)
    # To the same model: none of the four is named as external, or holds what stood for it.
    wanted, found = (onnx.load(file) for file in (path, again))
    assert [t.raw_data for t in found.graph.initializer] == [t.raw_data for t in wanted.graph.initializer]
    onnx.checker.check_model(found, full_check=True)
    # What was written goes through unchanged, byte for byte.
    save_model(load_model(again), tmp_path / "third.onnx")
    assert (tmp_path / "third.onnx").read_bytes() == again.read_bytes()


def test_external_data_in_two_files_unaligned_and_in_a_constant_comes_through(tmp_path: Path) -> None:
    proto = proto_with_weights_everywhere()
    (tmp_path / "in").mkdir()
    places = {"one.bin": 3, "two.bin": 1001}
    apart = [proto.graph.initializer[0], proto.graph.node[1].attribute[0].t]
    for (name, offset), tensor in zip(places.items(), apart, strict=True):
        (tmp_path / "in" / name).write_bytes(bytes(offset) + tensor.raw_data + b"more")
        told = {"location": name, "offset": offset, "length": len(tensor.raw_data)}
        for key, value in told.items():
            tensor.external_data.add(key=key, value=str(value))
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
    path = tmp_path / "in" / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    model = load_model(path)
    assert [file.name for file in model_files(path, model)] == ["model.onnx", "one.bin", "two.bin"]
    whole = tmp_path / "whole.onnx"
    save_model(model, whole)
    held = onnx.load(whole)
    np.testing.assert_array_equal(numpy_helper.to_array(held.graph.initializer[0]), matrix(1))
    constant = held.graph.node[1].attribute[0].t
    np.testing.assert_array_equal(numpy_helper.to_array(constant), matrix(2).astype(np.float16))


def test_a_model_that_is_written_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(proto_with_weights_everywhere(), path)
    model = load_model(path)
    os.utime(path, ns=(0, 0))
    with pytest.raises(ModelError, match=r"model\.onnx: was changed while it was read; run the command again"):
        model.graph.initializers["A"].const_value.numpy()


def test_external_data_that_is_another_file_by_a_hard_link_is_refused(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    tensor = TensorProto(name="A", dims=[2], data_type=1, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="a.bin")
    (tmp_path / "secret").write_bytes(bytes(8))
    (inner / "a.bin").hardlink_to(tmp_path / "secret")
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> g () => (float[2] y) {y = Identity (A)}')
    proto.graph.initializer.append(tensor)
    (inner / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=r"a hard link"):
        load_model(inner / "m.onnx")


@pytest.mark.parametrize("dtype", [ir.DataType.INT4, ir.DataType.UINT2, ir.DataType.BFLOAT16, ir.DataType.DOUBLE])
def test_numbers_of_any_width_are_read_as_they_were_written(tmp_path: Path, dtype: ir.DataType) -> None:
    numbers = np.random.default_rng(0).integers(0, 2, size=(2**21 + 1,)).astype(dtype.numpy())
    value = ir.Value(name="w", const_value=ir.tensor(numbers, dtype=dtype, name="w"))
    node = ir.node("Identity", [value])
    node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(dtype)
    graph = ir.Graph([], node.outputs, nodes=[node], initializers=[value], opset_imports={"": 25}, name="g")
    save_model(ir.Model(graph, ir_version=13), tmp_path / "m.onnx")
    found = load_model(tmp_path / "m.onnx").graph.initializers["w"].const_value
    assert isinstance(found, FileTensor)
    np.testing.assert_array_equal(found.numpy(), numbers)
