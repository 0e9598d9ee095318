"""`dtc deploy` on the command line: writing a bundle, running it in Python, and every way to be told no."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest
from switched_model import write_switched

from dtc.bundles import DeployOptions, deploy
from dtc.bundles.description import digest
from dtc.deploy.programs import MissingError, require_program
from dtc.deploy.targets.onnxruntime import OnnxRuntimeTarget
from dtc.errors import UsageError

Dtc = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_switched(tmp_path / "model.onnx")


@pytest.fixture
def python_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the ways to run a bundle the first one, which takes no compiler."""
    ways = OnnxRuntimeTarget.runs
    monkeypatch.setattr(OnnxRuntimeTarget, "runs", lambda self, processor: ways(self, processor)[:1])


@pytest.mark.usefixtures("python_alone")
def test_a_bundle_is_written_run_beside_another_and_remembers_it(model: Path, dtc: Dtc) -> None:
    for name in ("one", "two"):
        status, told, complaint = dtc("deploy", model, "--target", "onnxruntime", "-o", name, "--input", "sr=16000")
        assert (status, complaint) == (0, "")
        assert "With sr=16000 fixed" in told
    status, told, complaint = dtc("deploy", "--check", "one", "--beside", "two", "--seconds", "0.01", "--json")
    assert (status, complaint) == (0, "")
    found = json.loads(told)
    assert [[run["outcome"] for run in found[each]["runs"]] for each in ("bundle", "beside")] == [["right"], ["right"]]
    assert found["bundle"]["runs"][0]["found"]["latency"] > 0
    assert [run["name"] for run in json.loads(Path("one/deploy.json").read_text())["ran"]] == ["Python"]
    assert dtc("deploy", "--check", "one", "--seconds", "0")[0] == 0
    assert not any(path.name.startswith(".") for path in (*Path().iterdir(), *Path("one").iterdir()))


@pytest.mark.usefixtures("python_alone")
def test_a_wrong_output_is_told_by_the_bundle_itself(model: Path, dtc: Dtc) -> None:
    assert dtc("deploy", model, "--target", "onnxruntime", "-o", "bundle")[0] == 0
    expected = Path("bundle/vectors/1.output.0.npy")
    np.save(expected, 1.1 * np.load(expected))
    shutil.copytree("bundle", "alone")
    done = subprocess.run([sys.executable, "alone/python/run.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["relative_l2"] > 0.01
    # The bundle's hashes are made to fit, so that the check comes to run it.
    description = json.loads(Path("bundle/deploy.json").read_text())
    for file in description["files"]:
        if file["path"] == "vectors/1.output.0.npy":
            file["sha256"] = digest(expected)
    Path("bundle/deploy.json").write_text(json.dumps(description))
    status, told, complaint = dtc("deploy", "--check", "bundle", "--seconds", "0")
    assert status == 1
    assert "wrong" in told
    assert "from the test vectors (relative L2), 0.001 allowed" in complaint


@pytest.mark.usefixtures("python_alone")
def test_an_output_that_compares_with_nothing_is_told_beside_one_that_is_right(model: Path, dtc: Dtc) -> None:
    assert dtc("deploy", model, "--target", "onnxruntime", "-o", "bundle")[0] == 0
    for case in range(3):
        sizes = Path(f"bundle/vectors/{case}.output.1.npy")
        np.save(sizes, 0 * np.load(sizes))
    done = subprocess.run([sys.executable, "bundle/python/run.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["relative_l2"]) == (1, None)


def test_vectors_are_of_integers_as_they_are_written(tmp_path: Path, dtc: Dtc) -> None:
    """ONNX Runtime rounds what is multiplied with integers to 8 bits, unless it is told not to."""
    text = "(float[1,64] x) => (float[1,32] y) { w = DequantizeLinear (q, s) y = MatMul (x, w) }"
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> one {text}')
    codes, scale = np.arange(64 * 32).reshape(64, 32) % 13 - 6, np.float32(0.1)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(codes.astype(np.int8), "q"))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(scale, "s"))
    onnx.save(proto, tmp_path / "model.onnx")
    assert dtc("deploy", tmp_path / "model.onnx", "--target", "portable", "-o", tmp_path / "b")[0] == 0
    x, y = (np.load(tmp_path / f"b/vectors/0.{each}.0.npy") for each in ("input", "output"))
    np.testing.assert_allclose(y, x @ (codes * scale), rtol=1e-4, atol=1e-5)
    assert float((tmp_path / "b/vectors/tolerance.txt").read_text()) == 3e-2


def test_a_native_library_goes_along_where_the_model_needs_it(model: Path, dtc: Dtc) -> None:
    proto = onnx.load(model)
    proto.opset_import.add(domain="dtc", version=1)
    proto.functions.add(name="Twice", domain="dtc", input=["a"], output=["b"]).node.add(
        op_type="Add", input=["a", "a"], output=["b"]
    )
    proto.functions[0].opset_import.add(domain="", version=17)
    proto.graph.node.add(op_type="Twice", domain="dtc", input=["x"], output=["z"], name="twice")
    proto.graph.output.add(name="z").type.tensor_type.elem_type = 1
    onnx.save(proto, "own.onnx")
    library = Path("libdtc_ops.so")
    library.write_bytes(b"a library")
    told = ["--processor", "aarch64", "--library", library]
    assert dtc("deploy", "own.onnx", "--target", "onnxruntime", "-o", "bundle", *told)[0] == 0
    assert Path("bundle/lib/libdtc_ops.so").read_bytes() == b"a library"
    assert json.loads(Path("bundle/deploy.json").read_text())["processor"] == "aarch64"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["model.onnx"], "say what to deploy, for what and where"),
        (["model.onnx", "--target", "toaster", "-o", "b"], "none is called 'toaster'; there are: "),
        (["model.onnx", "--target", "onnxruntime", "-o", "b", "--processor", "z80"], "has x86-64, aarch64"),
        (["model.onnx", "--target", "onnxruntime", "-o", "none/b"], "none: no such folder"),
        (["model.onnx", "--target", "onnxruntime", "-o", "."], ".: is the folder that dtc runs in"),
        (["model.onnx", "--target", "onnxruntime", "-o", "mine"], "mine: holds something else than a bundle"),
        (["model.onnx", "--target", "onnxruntime", "-o", "model.onnx"], "model.onnx: is no folder"),
        (["model.onnx", "--target", "onnxruntime", "-o", "b", "--input", "rate=1"], "no input is called 'rate'"),
        (["model.onnx", "--target", "c", "-o", "b", "--input", "sr=1.5"], "'sr' int64 [] cannot be 1.5, float64 []"),
        (["model.onnx", "--target", "c", "-o", "b", "--input", "sr=[1,2]"], "'sr' int64 [] cannot be int64 [2]"),
        (["model.onnx", "--target", "onnxruntime", "-o", "b", "--reference", "no.onnx"], "no.onnx: no such file"),
        (["model.onnx", "--target", "c", "-o", "b", "--shape", "y=1"], "no input is called 'y'; there are: x, sr"),
        (
            ["model.onnx", "--target", "c", "-o", "b", "--shape", "x=2,8"],
            "'x' float32 [N, 16] cannot have the shape [2, 8]",
        ),
        (["model.onnx", "--target", "c", "-o", "b", "--shape", "x=2"], "cannot have the shape [2]"),
        (["model.onnx", "--target", "c", "-o", "b", "--shape", "x=2,0"], "--shape x=2,0: write the sizes as 1,576"),
        (["model.onnx", "--target", "web", "-o", "b", "--ort"], "takes no model.ort; those of onnxruntime do"),
        (["no.onnx", "--target", "onnxruntime", "-o", "b"], "no.onnx: no such file"),
        (["noisy.onnx", "--target", "onnxruntime", "-o", "b"], "noisy.onnx: it draws random numbers"),
        (["texts.onnx", "--target", "onnxruntime", "-o", "b"], "is no tensor of numbers"),
        (["--check", "mine"], "deploy.json: cannot be read"),
        (["model.onnx", "--check", "mine"], "leave MODEL, --target and --output away"),
        (["model.onnx", "--target", "onnxruntime", "-o", "b", "--beside", "mine"], "--beside: goes with --check"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(model: Path, dtc: Dtc, words: list[str], complaint: str) -> None:
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("dear")
    one = '<ir_version: 8, opset_import: ["": 17]> one '
    for name, text in (
        ("noisy", "(float[2] x) => (float[2] y) { n = RandomNormalLike(x) y = Add(x, n) }"),
        ("texts", "(string[2] x) => (string[2] y) { y = Identity(x) }"),
    ):
        onnx.save(onnx.parser.parse_model(one + text), f"{name}.onnx")
    before = sorted(Path().iterdir())
    status, _, told = dtc("deploy", *words)
    assert status == 2
    assert complaint in told
    assert told.count("\n") == 1
    assert sorted(Path().iterdir()) == before


def test_a_bundle_is_replaced_whole_and_by_force_alone(model: Path, dtc: Dtc, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["deploy", model, "--target", "onnxruntime", "-o", "bundle"]
    Path("bundle").mkdir()
    assert dtc(*words)[0] == 0
    Path("bundle/more.txt").write_text("more")
    status, _, told = dtc(*words)
    assert (status, "exists already" in told) == (2, True)
    with monkeypatch.context() as patch:
        patch.setattr(OnnxRuntimeTarget, "complete", lambda self, draft: require_program(["no-such"], "apt install it"))
        with pytest.raises(MissingError):
            dtc(*words, "--force")
    assert Path("bundle/more.txt").is_file()
    assert dtc(*words, "--force")[0] == 0
    assert not Path("bundle/more.txt").exists()
    assert sorted(map(str, Path().iterdir())) == ["bundle", "model.onnx"]


@pytest.mark.usefixtures("python_alone")
def test_onnx_runtimes_own_format_is_written_where_no_weight_is_decoded(model: Path, dtc: Dtc) -> None:
    assert dtc("deploy", model, "--target", "onnxruntime", "-o", "bundle", "--ort")[0] == 0
    status, told, _ = dtc("deploy", "--check", "bundle", "--seconds", "0", "--json")
    found = json.loads(told)["bundle"]
    assert (status, found["runs"][0]["outcome"]) == (0, "right")
    assert found["model_bytes"] == Path("bundle/model.ort").stat().st_size
    # Bytes that a Cast makes floats of: 50 kB, and 200 kB in that format.
    nodes = "{ w = Cast <to = 1> (q) y = MatMul (x, w) }"
    one = '<ir_version: 8, opset_import: ["": 17]> one (float[1,200] x) => (float[1,250] y) '
    coded = onnx.parser.parse_model(one + nodes)
    coded.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((200, 250), np.int8), "q"))
    onnx.save(coded, "coded.onnx")
    status, _, complaint = dtc("deploy", "coded.onnx", "--target", "onnxruntime", "-o", "coded", "--ort")
    assert status == 2
    assert "model.ort would hold 200.00 kB of constants in the place of 50.00 kB" in complaint
    assert not Path("coded").exists()


def test_targets_are_listed(dtc: Dtc) -> None:
    status, told, _ = dtc("deploy", "--targets")
    assert status == 0
    assert "onnxruntime" in told


def test_a_bundle_that_cannot_be_replaced_stays(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "bundle"
    deploy(model, "portable", output)
    before = {file.relative_to(output): file.read_bytes() for file in output.rglob("*") if file.is_file()}
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if self.name == "bundle" and self.parent != tmp_path:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(UsageError, match="cannot be written"):
        deploy(model, "portable", output, DeployOptions(force=True))
    assert {file.relative_to(output): file.read_bytes() for file in output.rglob("*") if file.is_file()} == before


def test_inputs_have_the_shapes_that_are_told(dtc: Dtc, tmp_path: Path) -> None:
    text = "(float[N,M] x, float[2,N] s, float[K,3] t) => (float[N,M] y, float[2,N] z, float[K,3] u) "
    text += "{ y = Neg (x) z = Neg (s) u = Neg (t) }"
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> one {text}'), tmp_path / "model.onnx")
    words = ["deploy", tmp_path / "model.onnx", "--shape", "x=4,7"]
    for target in ("c", "portable"):
        assert dtc(*words, "--target", target, "-o", tmp_path / target)[0] == 0
    vectors = [
        [np.load(tmp_path / target / f"vectors/{case}.input.{index}.npy").shape for index in range(3)]
        for target in ("c", "portable")
        for case in (0, 1)
    ]
    assert [shapes[:2] for shapes in vectors] == 4 * [[(4, 7), (2, 4)]]
    assert "x: float [4, 7]" in (tmp_path / "c/model.h").read_text()
    assert json.loads((tmp_path / "portable/deploy.json").read_text())["inputs"][0]["shape"] == ["N", "M"]
