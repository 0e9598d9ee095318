"""What the test program of a bundle has to know of the model: its inputs and outputs, and how it is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dtc.deploy.codegen.emitting import HEAD
from dtc.deploy.codegen.program import C_BYTES, CProgram, Tensor


def write_test_tensors(program: CProgram, folder: Path) -> None:
    """Write `test/tensors.h`, which the test program includes."""
    arguments = ", ".join(tensor.place for tensor in (*program.inputs, *program.outputs))
    tables = _table("inputs", program.inputs) + _table("outputs", program.outputs)
    both = _buffers(program.inputs) + _buffers(program.outputs)
    text = f"{HEAD}{both}\n{tables}\nstatic void run(void) {{ model_run({arguments}); }}\n"
    (folder / "test/tensors.h").write_text(text, encoding="ascii")


def _buffers(tensors: Sequence[Tensor]) -> str:
    return "".join(f"static {each.ctype} {each.place}[{each.size}];\n" for each in tensors)


def _table(name: str, tensors: Sequence[Tensor]) -> str:
    rows = "".join(
        f'    {{"{each.place}", "{each.ctype}", {each.place}, {each.size}, {C_BYTES[each.ctype]}}},\n'
        for each in tensors
    )
    return f"static const tensor {name}[] = {{\n{rows}    {{0}}}};\n"
