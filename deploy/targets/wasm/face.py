"""What a module offers to JavaScript: memory for inputs and outputs, what they are, and one function that runs it.

A page that runs the model goes along, as short as one may be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dtc.deploy.codegen.emitting import HEAD
from dtc.deploy.codegen.generating import Generated
from dtc.deploy.codegen.program import C_BYTES, CProgram, Tensor

_TYPES: Mapping[str, str] = {"float": "float32", "int64_t": "int64", "int32_t": "int32", "bool": "bool"}

_STACK = 1 << 16
_PAGE = 1 << 16
_CODE_DATA = 1 << 16
"""Bytes for what the kernels and the C library hold besides constants; their tables are far smaller."""


EXAMPLE = "example.html"
"""The file of a page that runs the model, in a bundle."""

_ARRAYS: Mapping[str, str] = {
    "float": "Float32Array",
    "int64_t": "BigInt64Array",
    "int32_t": "Int32Array",
    "bool": "Uint8Array",
}


def write_example(program: CProgram, folder: Path) -> None:
    """Write a page that runs the model on zeros, of fewer than ten lines, and shows what comes out."""
    # As JSON has them, names are strings of JavaScript; of HTML once no tag begins in them.
    inputs = ", ".join(f"{json.dumps(each.name)}: new {_ARRAYS[each.ctype]}({each.size})" for each in program.inputs)
    given = inputs.replace("<", "\\u003c")
    text = f"""<!doctype html>
<meta charset="utf-8" />
<script type="module">
  import {{ load }} from "./model.js";
  const model = await load(await (await fetch("model.wasm")).arrayBuffer());
  const outputs = model.run({{ {given} }});
  for (const [name, {{ data }}] of Object.entries(outputs)) document.body.append(`${{name}}: ${{data.join(" ")}} `);
</script>
"""
    (folder / EXAMPLE).write_text(text, encoding="utf-8")


def write_face(made: Generated, folder: Path) -> int:
    """Write `face.c`, and `memory.mk` for the Makefile; return the bytes of memory that the module takes."""
    inputs, outputs = made.program.inputs, made.program.outputs
    both = (*inputs, *outputs)
    buffers = "".join(f"static {each.ctype} {each.place}[{each.size}];\n" for each in both)
    places = ", ".join(each.place for each in both)
    text = f"""{HEAD}#include "model.h"

{buffers}
static const char description[] = {_string(_described(inputs, outputs))};
static void *const tensors[] = {{{places}}};

/* Names, types and sizes of inputs and outputs, as JSON. */
const char *model_description(void) {{ return description; }}

/* Where the numbers of an input, or of an output behind all inputs, begin. */
void *model_tensor(int index) {{ return tensors[index]; }}

void model_step(void) {{ model_run({places}); }}
"""
    (folder / "face.c").write_text(text, encoding="ascii")
    held = sum(C_BYTES[each.ctype] * each.size for each in both)
    memory = _whole_pages(made.weights + made.constants + made.arena + held + len(text) + _STACK + _CODE_DATA)
    (folder / "memory.mk").write_text(f"MEMORY = {memory}\nSTACK = {_STACK}\n", encoding="ascii")
    return memory


def _described(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Mapping[str, object]:
    def listed(tensors: Sequence[Tensor]) -> list[Mapping[str, object]]:
        return [
            {"name": each.name, "type": _TYPES[each.ctype], "dims": each.shape, "size": each.size} for each in tensors
        ]

    return {"inputs": listed(inputs), "outputs": listed(outputs)}


def _string(told: Mapping[str, object]) -> str:
    """Return what is told as JSON in a C string; two question marks and another character are one character of C."""
    return json.dumps(json.dumps(told).replace("?", "\\u003f"))


def _whole_pages(count: int) -> int:
    return math.ceil(count / _PAGE) * _PAGE
