"""Modules of target `wasm` in Node and Chromium: every form of a weight in its kernels of 128 bits."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest

from dtc.bundles import check_bundle, deploy
from dtc.deploy.programs import require_program, run_program
from dtc.session import runner, session

pytestmark = [
    pytest.mark.runtimes,
    pytest.mark.xdist_group("bundles"),
    pytest.mark.skipif(
        not os.environ.get("DTC_BUNDLES"), reason="takes emscripten, Node, Chromium: set DTC_BUNDLES=square"
    ),
]

RNG = np.random.default_rng(0)
ROWS, COLS = 75, 117
"""No whole tiles, quads or vectors."""


def weights() -> dict[str, np.ndarray]:
    """Return matrices `[ROWS, COLS]`, one for each form and way of storing it."""
    signs = 2 * RNG.integers(0, 2, (3, ROWS, COLS)) - 1
    a, b, c = RNG.uniform(0.5, 1, (3, ROWS, 1)) * [[[1]], [[0.5]], [[0.2]]]
    kept = RNG.random((ROWS, COLS)) < 0.1
    groups = np.repeat(RNG.uniform(0.5, 1, (ROWS, 4)).astype(np.float16), 32, axis=1)[:, :COLS]
    found = {
        "dense": RNG.standard_normal((ROWS, COLS)),
        "signs": a * signs[0],
        "two": a * signs[0] + b * signs[1] + 0.3,
        "three": a * signs[0] + b * signs[1] + c * signs[2],
        "groups": groups * signs[0],
        "sparse": RNG.standard_normal((ROWS, COLS)) * kept,
        "palette": RNG.choice(RNG.standard_normal(40), (ROWS, COLS)) * kept,
        "codebook": RNG.choice(RNG.standard_normal(16), (ROWS, COLS)),
        "far": RNG.choice([0.1, 0.2, 0.3, 5.0], (ROWS, COLS), p=[0.4, 0.3, 0.299, 0.001]),
        "blocks": RNG.standard_normal((13, 4))[RNG.integers(0, 13, (ROWS, 30))].reshape(ROWS, 120)[:, :COLS],
    }
    return {name: weight.astype(np.float32) for name, weight in found.items()}


def write_model(path: Path) -> Path:
    """Write a model with products of one vector and of several, a look-up of rows, and convolutions.

    One is in groups, which take parts of tiles; others of each channel by itself.
    """
    lines, outputs = [], []
    constants = weights()
    for name in list(constants):
        constants[f"{name}_image"] = constants[name].reshape(ROWS, 13, 1, 9)
        constants[f"{name}_photo"] = constants[name].reshape(ROWS, 13, 3, 3)
        lines += [
            f"{name}_y = Gemm <transB = 1> (x, {name})",
            f"{name}_many = Gemm <transB = 1> (many, {name})",
            f"{name}_one = Gemm <transB = 1> (one, {name})",
            f"{name}_rows = Gather ({name}, ids)",
            f"{name}_whole = Conv <pads = [1, 2, 1, 0], strides = [2, 1]> (photo, {name}_photo)",
            f"{name}_conv = Conv <group = 3> (image, {name}_image)",
        ]
        outputs += [f"float[9,{ROWS}] {name}_y", f"float[20,{ROWS}] {name}_many", f"float[1,{ROWS}] {name}_one"]
        outputs += [
            f"float[3,{COLS}] {name}_rows",
            f"float[1,{ROWS},3,9] {name}_whole",
            f"float[1,{ROWS},1,3] {name}_conv",
        ]
    for stride, size in ((1, 9), (2, 5), (3, 3)):
        lines.append(f"each_{stride} = Conv <group = 13, pads = [1, 1, 1, 1], strides = [1, {stride}]> (photo, each)")
        outputs.append(f"float[1,13,5,{size}] each_{stride}")
    lines += ["low = Constant <value_float = -0.5> ()", "high = Constant <value_float = 0.7> ()"]
    lines += ["cut = Clip (photo, low, high)", "kept = Relu (photo)"]
    outputs += ["float[1,13,5,9] cut", "float[1,13,5,9] kept"]
    constants["each"] = RNG.standard_normal((13, 1, 3, 3)).astype(np.float32)
    inputs = f"float[9,{COLS}] x, float[20,{COLS}] many, float[1,{COLS}] one, int64[3] ids"
    inputs += ", float[1,39,1,11] image, float[1,13,5,9] photo"
    text = f'<ir_version: 8, opset_import: ["": 17]> forms ({inputs}) => ({", ".join(outputs)}) {{ '
    proto = onnx.parser.parse_model(f"{text}{' '.join(lines)} }}")
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in constants.items())
    onnx.save(proto, path)
    return path


def test_every_form_is_computed_on_in_node_and_in_a_browser(tmp_path: Path) -> None:
    told = deploy(write_model(tmp_path / "forms.onnx"), "wasm", tmp_path / "bundle")
    assert told.file("model.wasm").bytes < 150_000
    found = check_bundle(tmp_path / "bundle", seconds=0)
    assert [(run.name, run.outcome, run.reason) for run in found.bundle.runs] == [
        ("Node", "right", ""),
        ("Chromium", "right", ""),
    ]
    assert all(run.found is not None and run.found.relative_l2 < 1e-4 for run in found.bundle.runs)
    example = (tmp_path / "bundle" / "example.html").read_text()
    assert example.count("\n") <= 10
    shown = ran_in_node(example, tmp_path / "bundle")
    feeds = {
        name: np.zeros(shape, dtype)
        for name, shape, dtype in (
            ("x", (9, COLS), np.float32),
            ("many", (20, COLS), np.float32),
            ("one", (1, COLS), np.float32),
            ("ids", 3, np.int64),
            ("image", (1, 39, 1, 11), np.float32),
            ("photo", (1, 13, 5, 9), np.float32),
        )
    }
    wanted = runner(session(tmp_path / "forms.onnx"))(feeds)
    assert shown.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(shown[name], array.reshape(-1), rtol=1e-4, atol=1e-4)


AGAIN = """import { readFile } from "node:fs/promises";
import { load } from "./model.js";
const model = await load(await readFile("model.wasm"));
const first = model.run({ x: [1, 2] }), kept = model.run({ x: [3, 4] }), again = model.run({ x: [5, 6] }, first);
console.log(JSON.stringify([again.y === first.y, ...first.y.data, ...kept.y.data]));
"""


def test_a_run_writes_into_the_outputs_of_before_where_it_is_given_them(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> double (float[2] x) => (float[2] y) { y = Add (x, x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "double.onnx")
    deploy(tmp_path / "double.onnx", "wasm", tmp_path / "bundle")
    (tmp_path / "bundle" / "again.mjs").write_text(AGAIN)
    told = run_program([require_program(["node"], "apt install nodejs"), "again.mjs"], tmp_path / "bundle")
    assert json.loads(told) == [True, 10, 12, 6, 8]


PAGE = """import { readFile } from "node:fs/promises";
globalThis.fetch = async (path) => ({ arrayBuffer: () => readFile(path) });
globalThis.document = { body: { append: (text) => console.log(text) } };
"""
"""What the script of a page finds in a browser."""


def ran_in_node(example: str, folder: Path) -> dict[str, list[float]]:
    """Return what a page of a bundle shows, by the names of outputs."""
    script = example.partition('<script type="module">')[2].partition("</script>")[0]
    (folder / "example.mjs").write_text(PAGE + script)
    node = require_program(["node"], "apt install nodejs")
    lines = run_program([node, "example.mjs"], folder).splitlines()
    return {
        name: [float(number) for number in numbers.split()] for name, _, numbers in (x.partition(": ") for x in lines)
    }
