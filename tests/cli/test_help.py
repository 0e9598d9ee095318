"""Help answers at once and says what is asked: sections, methods, and one line for a mistake."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest

import dtc as package
from dtc.passes.method import methods

Dtc = Callable[..., tuple[int, str, str]]

SECTIONS = ["Model and output:", "Method:", "Data:", "Objective:", "Retraining:", "Checking:", "Methods:"]


def imported(*words: str) -> set[str]:
    """Return the names of all modules that a command line imports, in a process of its own."""
    script = (
        f"import atexit, sys; sys.argv = ['dtc', *{list(words)!r}]; "
        "atexit.register(lambda: print('modules', *sys.modules)); from dtc.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("words", [("--version",), ("--help",)])
def test_a_short_answer_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    heavy = {"onnxruntime", "onnx", "onnx_ir", "scipy", "numpy", "pydantic", "yaml", "rich", "sympy"}
    assert not heavy & imported(*words)


@pytest.mark.parametrize("words", [("compress", "--help"), ("methods", "svd"), ("check", "--help")])
def test_help_of_options_runs_no_model(words: tuple[str, ...]) -> None:
    assert not {"onnxruntime", "onnx", "onnx_ir", "sympy"} & imported(*words)


def test_what_reads_a_model_loads_symbols_late(tmp_path: Path) -> None:
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["N", 4]))
    node = ir.node("Relu", [x])
    node.outputs[0].name = "y"
    graph = ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 17}, name="relu")
    ir.save(ir.Model(graph, ir_version=8), tmp_path / "relu.onnx")
    seen = imported("inspect", str(tmp_path / "relu.onnx"))
    assert "onnx_ir" in seen
    assert "sympy.core" not in seen


def test_symbolic_sizes_are_computed_with_late_symbols() -> None:
    script = """
import sys
from dtc.late_imports import LateImports
LateImports().install()
import onnx_ir
print(onnx_ir.SymbolicDim("N") + 1, "sympy.core" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["N", "+", "1", "True"]


def test_python_runs_the_package() -> None:
    done = subprocess.run([sys.executable, "-m", "dtc", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: dtc [OPTIONS] COMMAND")


def test_the_commands_are_listed_with_a_whole_sentence(dtc: Dtc) -> None:
    _, out, _ = dtc("--help")
    lines = [line.split(maxsplit=1) for line in out[out.index("Commands:") :].splitlines()[1:]]
    told = dict(lines)
    assert {"bench", "check", "compress", "engine", "inspect", "methods", "models", "ops", "report"} <= set(told)
    assert all(text.endswith(".") and not text.endswith("...") for text in told.values()), told


def test_options_stand_in_sections_in_order(dtc: Dtc) -> None:
    _, out, _ = dtc("compress", "--help")
    places = [out.index(f"\n{section}\n") for section in SECTIONS]
    assert places == sorted(places)
    words = " ".join(out.split())
    assert "[required, or --recipe]" in words
    assert "--held-out FLOAT share of the samples held out for evaluation [above 0, below 1; default: 0.1]" in words
    assert all(f"  {name} " in out[places[-1] :] for name in methods())
    assert "--rank" not in out.replace("--rank 96", "")


@pytest.mark.parametrize(
    ("method", "shown", "hidden"),
    [("svd", ["--rank", "--energy"], "--sparsity"), ("prune+codebook", ["--sparsity", "--codewords"], "--rank-ratio")],
)
def test_the_options_of_the_told_method_are_shown(dtc: Dtc, method: str, shown: list[str], hidden: str) -> None:
    for words in (("--method", method, "--help"), ("-h", "-m", method)):
        _, out, _ = dtc("compress", *words)
        for part in method.split("+"):
            assert f"Options of method {part}:" in out
        assert all(f"  {option} " in out for option in shown)
        assert hidden not in out
        assert "Data:" in out


def test_what_has_to_be_given_is_marked(dtc: Dtc) -> None:
    binary = " ".join(dtc("methods", "binary")[1].split())
    assert "--bits INTEGER bits a weight [required; 1 to 8; worth trying: 1, 2, 3, 4]" in binary
    svd = " ".join(dtc("methods", "svd")[1].split())
    assert svd.count("required: one of --rank, --rank-ratio, --energy") == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("compress", "m.onnx", "--method", "svd", "--bits", 2), "--bits is no option of method svd; it belongs to bi"),
        (("compress", "m.onnx", "--method", "svd", "--ranke", 2), "No such option '--ranke'"),
        (("compress", "m.onnx", "--rank", "many"), "'many' is not a valid integer; see dtc compress --help"),
        (("compress", "--method", "svdd", "--help"), "no method is called 'svdd'; there are: binary, bins"),
        (("methods", "svdd"), "no method is called 'svdd'; there are: binary, bins"),
        (("models", "build"), "Missing argument 'NAME'; see dtc models build --help"),
        (("compres",), "No such command 'compres'. Did you mean compress?"),
    ],
)
def test_a_mistake_is_one_line(dtc: Dtc, words: tuple[object, ...], message: str) -> None:
    status, out, err = dtc(*words)
    assert status == 2
    assert out == ""
    assert err.startswith("dtc: error: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_public_names_are_found_when_they_are_used() -> None:
    script = """
import sys, dtc
assert not {"onnxruntime", "numpy"} & set(sys.modules)
import dtc.checking, dtc.session
assert all(callable(getattr(dtc, name)) for name in dtc.__all__)
assert dtc.check is sys.modules["dtc.checking"].check
assert dtc.session.__name__ == "session"
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="module 'dtc' has no attribute 'nothing'"):
        package.nothing  # noqa: B018
