"""The native library: where it is looked for, how it is loaded, and what runs with it and without."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from native_cases import Case, binary, model_of, with_input
from needed import lacking
from running import EAGER

from dtc.checking import CheckOptions, check
from dtc.deploy.ops import DOMAIN, Operator, operators
from dtc.deploy.ops.library import library_path, register
from dtc.errors import LibraryError, ModelError
from dtc.graph import load_model, save_model
from dtc.models import build
from dtc.session import runner, session

Dtc = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library that is found by itself; in CI a missing one is a failure."""
    monkeypatch.delenv("DTC_OPS", raising=False)
    path = library_path()
    if path is None:
        lacking("the native library of the operators is not built")
    return path


@pytest.fixture
def product() -> Case:
    return with_input(binary(33, 70, kind="MatMul"), "MatMul", (3,))


@pytest.fixture
def model(tmp_path: Path, product: Case) -> Path:
    """One product with binary codes, with its function."""
    ir.save(model_of(product, dims={"x": ["N", 70]}), tmp_path / "product.onnx")
    return tmp_path / "product.onnx"


@pytest.fixture
def bare(tmp_path: Path, model: Path) -> Path:
    """The same without its function: the library alone knows the operator."""
    loaded = load_model(model)
    loaded.functions.clear()
    ir.save(loaded, tmp_path / "bare.onnx")
    return tmp_path / "bare.onnx"


def test_a_library_can_be_named(monkeypatch: pytest.MonkeyPatch, library: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other.so"
    copy.write_bytes(library.read_bytes())
    monkeypatch.setenv("DTC_OPS", str(copy))
    assert library_path() == copy
    assert register(ort.SessionOptions())


def test_none_leaves_models_to_their_functions(
    monkeypatch: pytest.MonkeyPatch, model: Path, bare: Path, product: Case
) -> None:
    monkeypatch.setenv("DTC_OPS", "none")
    assert library_path() is None
    assert not register(ort.SessionOptions())
    found = runner(session(model, threads=1))(product.given)["out"]
    assert product.distance(found, product.expected()) <= 2e-6
    with pytest.raises(ModelError, match="BinaryMatMul"):
        session(bare)


def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setenv("DTC_OPS", "nowhere.so")
    with pytest.raises(LibraryError, match=r"^DTC_OPS=nowhere\.so: no such file; unset it, or say DTC_OPS=none"):
        session(model)


@pytest.mark.parametrize("wrong", ["text", "another library"])
def test_a_file_that_is_no_such_library_is_named(
    monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path, wrong: str
) -> None:
    path = tmp_path / "wrong.so"
    other = Path(str(np._core._multiarray_umath.__file__))
    path.write_bytes(b"no library" if wrong == "text" else other.read_bytes())
    monkeypatch.setenv("DTC_OPS", str(path))
    with pytest.raises(LibraryError, match=rf"wrong\.so: ONNX Runtime {ort.__version__} does not load it: ") as caught:
        session(model)
    assert "\n" not in str(caught.value)


OLD_RUNTIME = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
Create = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
GetApi = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)
Version = ctypes.CFUNCTYPE(ctypes.c_char_p)
create = Create(lambda code, message: print(code, message.decode()) or 1)
slots = (ctypes.c_void_p * 8)(ctypes.cast(create, ctypes.c_void_p))
api = GetApi(lambda version: ctypes.addressof(slots) if version < 17 else None)
version = Version(lambda: b"1.16.3")
base = (ctypes.c_void_p * 2)(*(ctypes.cast(each, ctypes.c_void_p) for each in (api, version)))
library.RegisterCustomOps.restype = ctypes.c_void_p
assert library.RegisterCustomOps(None, base) == 1
"""


def test_a_runtime_that_is_too_old_is_told(library: Path) -> None:
    done = subprocess.run([sys.executable, "-c", OLD_RUNTIME, library], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 the dtc operators need ONNX Runtime 1.17 or newer, this is 1.16.3\n"


def test_a_session_has_the_library_unless_told_otherwise(bare: Path, product: Case) -> None:
    found = runner(session(bare, threads=1))(product.given)["out"]
    assert product.distance(found, product.expected()) <= product.tolerance
    with pytest.raises(ModelError, match="BinaryMatMul"):
        session(bare, native=False)


RUN_ONCE = {"BinaryUnmask"}
"""Operators without a kernel: their functions run when a session loads, and are folded."""


@pytest.mark.parametrize("operator", operators().values(), ids=lambda operator: operator.name)
def test_every_operator_has_a_kernel_with_as_many_inputs(operator: Operator, tmp_path: Path) -> None:
    """What else is wrong with the node does not matter here."""
    inputs = [
        ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([None])) for name in operator.inputs
    ]
    node = ir.node(operator.name, inputs, domain=DOMAIN, name="node")
    output = node.outputs[0]
    output.name, output.type = "out", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(inputs, [output], nodes=[node], opset_imports={"": 18, DOMAIN: 1}, name="g")
    ir.save(ir.Model(graph, ir_version=10), tmp_path / "node.onnx")
    try:
        session(tmp_path / "node.onnx")
        said = ""
    except ModelError as error:
        said = str(error)
    assert ("is not a registered function/op" in said) == (operator.name in RUN_ONCE)
    assert "not in range" not in said


def test_ops_tells_where_the_library_is(dtc: Dtc, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dtc("ops", "--path") == (0, f"{library}\n", "")
    status, out, _ = dtc("ops")
    assert status == 0
    assert all(name in out for name in operators())
    assert str(library) in out.replace("\n", "")
    monkeypatch.setenv("DTC_OPS", "none")
    status, out, err = dtc("ops", "--path")
    assert (status, out) == (2, "")
    assert "there is no native library here" in err
    assert "Traceback" not in err


def test_check_tells_what_the_kernels_change(model: Path, dtc: Dtc) -> None:
    native, portable = (
        check(model, model, options=CheckOptions(seconds=0, native=kernels)) for kernels in (True, False)
    )
    assert native.kernels is not None
    assert 0 < native.kernels < 5e-5
    assert portable.kernels is None
    for flags, told in (((), True), (("--portable",), False)):
        status, out, _ = dtc("check", model, model, "--seconds", "0", *flags)
        assert status == 0
        assert ("native kernels against the functions" in out) == told


def test_what_needs_the_library_does_not_run_portably(bare: Path, dtc: Dtc) -> None:
    for command in (("bench", bare), ("check", bare, bare)):
        assert dtc(*command, "--seconds", "0.1")[0] == 0
        status, _, err = dtc(*command, "--seconds", "0.1", "--portable")
        assert status == 2
        assert "BinaryMatMul" in err


@pytest.mark.parametrize("level", [None, 0, 4])
def test_the_accuracy_level_reaches_the_nodes(dtc: Dtc, tmp_path: Path, level: int | None) -> None:
    (tmp_path / "costs.json").write_text(EAGER.model_dump_json())
    save_model(build("digits-mlp"), tmp_path / "digits.onnx")
    command = ["compress", tmp_path / "digits.onnx", "--method", "binary", "--bits", "1", "--seconds", "0"]
    command += ["--costs", tmp_path / "costs.json"]
    command += [] if level is None else ["--accuracy-level", level]
    assert dtc(*command, "-o", tmp_path / "small.onnx")[0] == 0
    nodes = [node for node in load_model(tmp_path / "small.onnx").graph if node.op_type == "BinaryMatMul"]
    assert nodes
    assert {node.attributes["accuracy_level"].as_int() for node in nodes} == {1 if level is None else level}


def test_an_accuracy_level_of_a_recipe(dtc: Dtc, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(json.dumps({"accuracy_level": 2, "rules": [{"method": "svd", "rank": 4}]}))
    save_model(build("digits-mlp"), tmp_path / "digits.onnx")
    status, _, err = dtc("compress", tmp_path / "digits.onnx", "--recipe", tmp_path / "r.yaml")
    assert status == 2
    assert "accuracy_level" in err


def test_the_table_of_operators_keeps_its_brackets(dtc: Callable[..., tuple[int, str, str]]):
    _, out, _ = dtc("ops")
    assert "[out, in]" in " ".join(out.split())
