"""What onnx-ir cannot hold is kept, made dense, told apart, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from dtc.errors import ModelError
from dtc.graph import all_nodes, file_bytes, find_sites, load_model, save_model
from dtc.passes.prepare import normalise

WEIGHT = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32) * (np.arange(30).reshape(6, 5) % 3 == 0)


def written(path: Path, text: str, **weights: np.ndarray) -> onnx.ModelProto:
    model = parser.parse_model('<ir_version: 8, opset_import: ["": 17, "ai.onnx.ml": 3]>\n' + text)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.save(model, path)
    return model


def run(path: Path, **inputs: np.ndarray) -> list:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, inputs)


def test_branches_with_weights_of_one_name_have_two_sites(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = written(
        path,
        "m (bool c, float[2, 6] x) => (float[2, 5] y) { y = If(c)<"
        "then_branch = g1 () => (float[2, 5] p) { p = MatMul(x, K) },"
        "else_branch = g2 () => (float[2, 5] p) { p = MatMul(x, K) }> }",
    )
    for number, attribute in enumerate(model.graph.node[0].attribute):
        attribute.g.initializer.append(numpy_helper.from_array(WEIGHT + number, "K"))
    onnx.save(model, path)
    loaded = load_model(path)
    names = [site.name for site in find_sites(loaded)]
    assert len(set(names)) == 2
    assert names[0] == "K"
    assert names[1].endswith("_branch/K")
    save_model(loaded, tmp_path / "out.onnx")
    x = np.ones((2, 6), np.float32)
    for c in (np.array(True), np.array(False)):
        np.testing.assert_array_equal(run(path, c=c, x=x), run(tmp_path / "out.onnx", c=c, x=x))


def test_outputs_with_maps_keep_their_type(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = written(
        path,
        "m (float[2, 6] x) => (float[2, 5] z) { h = MatMul(x, W)"
        "  z = ai.onnx.ml.ZipMap<classlabels_int64s = [0, 1, 2, 3, 4]>(h) }",
        W=WEIGHT,
    )
    kind = onnx.TypeProto()
    kind.sequence_type.elem_type.map_type.key_type = onnx.TensorProto.INT64
    kind.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    model.graph.output[0].type.CopyFrom(kind)
    onnx.save(model, path)
    loaded = load_model(path)
    assert [site.name for site in find_sites(loaded)] == ["W"]
    save_model(loaded.clone(), tmp_path / "out.onnx")
    assert onnx.load(tmp_path / "out.onnx").graph.output[0].type == kind
    x = np.ones((2, 6), np.float32)
    assert run(path, x=x) == run(tmp_path / "out.onnx", x=x)


@pytest.mark.parametrize("kind", ["initializer", "constant", "pairs"])
def test_sparse_weights_are_sites(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.onnx"
    model = written(path, "m (float[2, 6] x) => (float[2, 5] y) { y = MatMul(x, W) }")
    places = np.flatnonzero(WEIGHT)
    values = numpy_helper.from_array(WEIGHT.ravel()[places], "W")
    where = np.argwhere(WEIGHT) if kind == "pairs" else places
    sparse = onnx.SparseTensorProto(
        values=values, indices=numpy_helper.from_array(where.astype(np.int64)), dims=WEIGHT.shape
    )
    if kind == "constant":
        node = onnx.NodeProto(op_type="Constant", output=["W"])
        node.attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse)
        model.graph.node.insert(0, node)
    else:
        model.graph.sparse_initializer.append(sparse)
    onnx.save(model, path)
    loaded = load_model(path)
    if kind == "constant":
        (node, _) = all_nodes(loaded)
        found = node.attributes["value"].as_tensor().numpy()
    else:
        (site,) = find_sites(loaded)
        found = site.array()
    np.testing.assert_array_equal(found, WEIGHT)


@pytest.mark.parametrize("place", ["initializer", "constant", "function"])
def test_a_sparse_weight_that_nobody_touches_stays_sparse(tmp_path: Path, place: str) -> None:
    path, out = tmp_path / "m.onnx", tmp_path / "out.onnx"
    call = "W = f.Held()" if place == "function" else ""
    text = f"m (float[2, 6] x) => (float[2, 5] y) {{ {call} y = MatMul(x, W) }}"
    if place == "function":
        text += '<domain: "f", opset_import: ["": 17]> Held () => (K) { K = Constant<value = float {0}>() }'
    model = written(path, text)
    model.opset_import.add(domain="f", version=1)
    places = np.flatnonzero(WEIGHT)
    values = numpy_helper.from_array(WEIGHT.ravel()[places], "W")
    indices = numpy_helper.from_array(places.astype(np.int64))
    sparse = onnx.SparseTensorProto(values=values, indices=indices, dims=WEIGHT.shape)
    if place == "initializer":
        model.graph.sparse_initializer.append(sparse)
    else:
        node = model.functions[0].node[0] if place == "function" else onnx.NodeProto(op_type="Constant", output=["W"])
        del node.attribute[:]
        node.attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse)
        if place == "constant":
            model.graph.node.insert(0, node)
    onnx.save(model, path)
    save_model(load_model(path), out)
    again = onnx.load(out)
    holders = [*again.graph.node, *(node for function in again.functions for node in function.node)]
    kept = [*again.graph.sparse_initializer]
    kept += [each.sparse_tensor for node in holders for each in node.attribute if each.HasField("sparse_tensor")]
    assert [each.indices for each in kept] == [indices]
    assert not again.graph.initializer
    # After normalising too, where every constant is an initializer.
    loaded = load_model(path)
    normalise(loaded)
    (site,) = find_sites(loaded)
    np.testing.assert_array_equal(site.array(), WEIGHT)
    assert site.nbytes < 2 * (values.ByteSize() + indices.ByteSize())
    save_model(loaded, out, force=True)
    again = onnx.load(out)
    assert len(again.graph.initializer) == 0
    assert len(again.graph.sparse_initializer) == (place == "initializer")
    x = np.ones((2, 6), np.float32)
    np.testing.assert_array_equal(run(path, x=x)[0], run(out, x=x)[0])


def test_a_sparse_weight_that_declares_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = written(path, "m (float[2, 6] x) => (float[2, 5] y) { y = MatMul(x, W) }")
    model.graph.sparse_initializer.add(
        values=numpy_helper.from_array(np.ones(1, np.float32), "W"),
        indices=numpy_helper.from_array(np.zeros(1, np.int64)),
        dims=(10**6, 10**6),
    )
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"m\.onnx: sparse initializer 'W' has the shape .* too large"):
        load_model(path)


def test_external_data_of_constants_is_counted_and_written(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = written(path, "m (float[2, 6] x) => (float[2, 5] y) { W = Constant()  y = MatMul(x, W) }")
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    tensor = onnx.TensorProto(name="W", dims=WEIGHT.shape, data_type=1, data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    model.graph.node[0].attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=tensor)
    onnx.save(model, path)
    loaded = load_model(path)
    assert file_bytes(path, loaded) == path.stat().st_size + WEIGHT.nbytes
    (tmp_path / "elsewhere").mkdir()
    save_model(loaded, tmp_path / "elsewhere" / "out.onnx")
    x = np.ones((2, 6), np.float32)
    np.testing.assert_array_equal(run(tmp_path / "elsewhere" / "out.onnx", x=x)[0], x @ WEIGHT)


@pytest.mark.parametrize("place", [b"\x0a\x01x", b"a node", b"a domain"])
def test_a_text_that_is_not_utf_8_is_refused(tmp_path: Path, place: bytes) -> None:
    model = written(tmp_path / "m.onnx", "m (float[2, 6] x) => (float[2, 5] y) { y = MatMul(x, W) }", W=WEIGHT)
    model.graph.node[0].name, model.domain = "a node", "a domain"
    content = model.SerializeToString().replace(place, place[:-1] + b"\xff", 1)
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"not UTF-8, b'.*\\xff'"):
        load_model(tmp_path / "m.onnx")


def test_a_training_graph_is_not_lost_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = written(path, "m (float[2, 6] x) => (float[2, 5] y) { y = MatMul(x, W) }", W=WEIGHT)
    model.training_info.add()
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"m\.onnx: holds training_info"):
        load_model(path)


def test_a_value_that_nothing_gives_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    written(path, "m (float[2, 6] x) => (float[2, 5] y) { y = MatMul(x, W) }")
    with pytest.raises(ModelError, match=r"m\.onnx: node 'MatMul' reads 'W', which nothing gives"):
        load_model(path)


def test_attributes_and_types_that_an_operator_does_not_have_are_named(tmp_path: Path) -> None:
    path, text = (
        tmp_path / "m.onnx",
        'm (float[2, 6] x) => (float[2, 5] y) { y = Einsum <equation = "bi,io->bo"> (x, W) }',
    )
    for change, said in {
        "type": r"m\.onnx: node 'Einsum': attribute 'equation' is INT, Einsum needs STRING",
        "reference": r"m\.onnx: node 'Einsum': attribute 'equation' refers to one of a function",
        "elements": r"m\.onnx: 'x' is declared without the type of its elements",
        "device": r"m\.onnx: node 'Einsum' is for a device that has no name",
    }.items():
        model = written(path, text, W=WEIGHT)
        attribute = model.graph.node[0].attribute[0]
        if change == "type":
            attribute.CopyFrom(onnx.AttributeProto(name="equation", type=onnx.AttributeProto.INT, i=3))
        elif change == "device":
            model.graph.node[0].device_configurations.add()
        elif change == "reference":
            attribute.CopyFrom(onnx.AttributeProto(name="equation", type=attribute.type, ref_attr_name="_"))
        else:
            model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UNDEFINED
        onnx.save(model, path)
        with pytest.raises(ModelError, match=said):
            load_model(path)


@pytest.mark.parametrize("change", ["offset", "length", "shape"])
def test_external_data_that_lies_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "m.onnx"
    model = written(path, "m (float[2, 6] x) => (float[2, 5] y) { y = MatMul(x, W) }", W=WEIGHT)
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    told = {"location": "w.bin", "offset": "0", "length": str(WEIGHT.nbytes)}
    if change == "shape":
        tensor.dims[0] = -6
    else:
        told[change] = {"offset": "-4", "length": "100"}[change]
    for key, value in told.items():
        tensor.external_data.add(key=key, value=value)
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"m\.onnx: .*(damaged|truncated)"):
        load_model(path)
