"""Writing a program as C: the files that are made for a model, beside the kernels, which are the same for all."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from dtc.deploy.codegen import literals
from dtc.deploy.codegen.planning import MEMBERS, arena_bytes
from dtc.deploy.codegen.program import Argument, CProgram, KernelCall, Loop, Step, Struct, Tensor, calls
from dtc.deploy.codegen.weights.stored import StoredWeight

HEAD = "/* Written by dtc deploy. */\n"
"""The first line of each file that is made for a model."""

KERNELS = Path(__file__).parent / "kernels"
"""What is the same for all models."""

_TAKEN: Mapping[str, Sequence[str]] = {
    "dtc_rows_int64": ("row",),
    "dtc_rows_int32": ("row",),
    "dtc_conv_depthwise": ("row",),
    "dtc_conv": ("products",),
    "dtc_conv_few": ("product",),
    "dtc_linear_many": ("products",),
    "dtc_linear": ("product",),
    "dtc_conv_transpose": ("product",),
}
"""What kernels take of a weight; all others take its products with one vector and with several."""

_MEMBERS = ("product", "products", "row")
"""The functions of dtc_matrix, in order."""


def write_program(program: CProgram, arena: Mapping[str, int], folder: Path, headers: Sequence[str] = ()) -> None:
    """Write `model.h`, `model.c`, `weights.h`, `weights.c`, and the kernels; `headers` declare further forms."""
    names = {weight: f"weight_{index}" for index, weight in enumerate(program.weights)}
    files = {
        "model.h": _model_header(program, arena),
        "model.c": _model(program, arena, names),
        "weights.h": _weights_header(names, headers),
        "weights.c": _weights(program, names),
    }
    for path, text in files.items():
        (folder / path).write_text(text, encoding="ascii")
    shutil.copytree(KERNELS, folder / KERNELS.name)


def _signature(program: CProgram) -> str:
    given = [f"const {tensor.ctype} *{tensor.place}" for tensor in program.inputs]
    made = [f"{tensor.ctype} *{tensor.place}" for tensor in program.outputs]
    return f"void model_run({', '.join([*given, *made])})"


def _model_header(program: CProgram, arena: Mapping[str, int]) -> str:
    weights = sum(weight.nbytes for weight in program.weights)
    told = [
        f" *   {tensor.place}: {tensor.ctype} {list(tensor.shape)}" for tensor in (*program.inputs, *program.outputs)
    ]
    lines = "\n".join(literals.comment(line)[3:-3] for line in told)
    return f"""{HEAD}#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stdint.h>

/* Memory that the model computes in, constant weights, and products of two numbers that a run adds up. */
#define MODEL_ARENA_BYTES {arena_bytes(arena)}
#define MODEL_WEIGHT_BYTES {weights}
#define MODEL_MULTIPLY_ADDS {program.multiply_adds}

#ifdef __cplusplus
extern "C" {{
#endif

/* Run the model. State that goes on from run to run is an input and an output: hand the output in again. Outputs must
 * not overlap inputs. Not for two threads at once.
{lines}
 */
{_signature(program)};

#ifdef __cplusplus
}}
#endif

#endif
"""


def _model(program: CProgram, arena: Mapping[str, int], names: Mapping[StoredWeight, str]) -> str:
    constants = {tensor: f"constant_{index}" for index, tensor in enumerate(program.constants)}
    for tensor, name in constants.items():
        tensor.place = name
    structs = _Structs(names)
    body = "".join(_statements(program.steps, structs, 1))
    arrays = [literals.array(name, tensor.array) for tensor, name in constants.items() if tensor.array is not None]
    read = {tensor.root for call, _ in calls(program.steps) for tensor in call.tensors}
    unread = "".join(f"    (void){tensor.place};\n" for tensor in program.inputs if tensor not in read)
    fields = "".join(f"    {ctype} {MEMBERS[ctype]}[{count}];\n" for ctype, count in arena.items())
    memory = f"static struct {{\n{fields}}} arena;\n\n" if arena else ""
    return f"""{HEAD}#include "model.h"

#include <math.h>
#include <string.h>

#include "kernels/elementwise.h"
#include "kernels/moves.h"
#include "kernels/products.h"
#include "kernels/recurrent.h"
#include "kernels/reductions.h"
#include "weights.h"

{"".join(arrays)}{"".join(structs.definitions)}
{memory}{_signature(program)} {{
{unread}{body}}}
"""


class _Structs:
    """The constant structs that calls are told by, each once, and how arguments are written."""

    def __init__(self, weights: Mapping[StoredWeight, str]) -> None:
        self._weights = weights
        self._names: dict[tuple[str, str], str] = {}
        self.definitions: list[str] = []

    def argument(self, given: Argument) -> str:
        """Return an argument of a call as C."""
        if given is None:
            return "NULL"
        if isinstance(given, str):
            return given
        if isinstance(given, Tensor):
            return given.expression
        if isinstance(given, StoredWeight):
            return f"&{self._weights[given]}"
        return self._reference(given) if isinstance(given, Struct) else literals.number(given)

    def _reference(self, struct: Struct) -> str:
        key = struct.ctype, literals.members(struct.members)
        if key not in self._names:
            self._names[key] = f"shape_{len(self._names)}"
            self.definitions.append(f"static const {struct.ctype} {self._names[key]} = {{{key[1]}}};\n")
        return f"&{self._names[key]}"


def _statements(steps: Sequence[Step], structs: _Structs, depth: int) -> Iterator[str]:
    indent = "    " * depth
    for step in steps:
        if isinstance(step, Loop):
            index = step.variable
            yield f"{indent}for (size_t {index} = 0; {index} < {step.count}; ++{index}) {{\n"
            yield from _statements(step.body, structs, depth + 1)
            yield f"{indent}}}\n"
        else:
            yield f"{indent}{_statement(step, structs)}\n"


def _statement(call: KernelCall, structs: _Structs) -> str:
    return f"{call.function}({', '.join(map(structs.argument, call.arguments))}); {literals.comment(call.node)}"


def _weights_header(names: Mapping[StoredWeight, str], headers: Sequence[str]) -> str:
    included = "".join(f'#include "{header}"\n' for header in ("kernels/matrix.h", *headers))
    told = "".join(f"extern const dtc_matrix {name};\n" for name in names.values())
    return f"{HEAD}#ifndef WEIGHTS_H\n#define WEIGHTS_H\n\n{included}\n{told}\n#endif\n"


def _weights(program: CProgram, names: Mapping[StoredWeight, str]) -> str:
    used: dict[StoredWeight, set[str]] = {}
    for call, _ in calls(program.steps):
        for given in call.arguments:
            if isinstance(given, StoredWeight):
                used.setdefault(given, set()).update(_TAKEN.get(call.function, ("product", "products")))
    parts = [_weight(weight, name, used[weight], extern=True) for weight, name in names.items()]
    return f'{HEAD}#include "weights.h"\n\n#include <math.h>\n\n{"".join(parts)}'


def _weight(weight: StoredWeight, name: str, used: Collection[str], *, extern: bool) -> str:
    """Return the definition of a weight: its arrays, what they are to its form, and the matrix with its kernels."""
    parts = "".join(_weight(part, f"{name}_{member}", used, extern=False) for member, part in weight.parts.items())
    arrays = {member: f"{name}_{member}" for member, array in weight.arrays.items() if array is not None}
    definitions = "".join(
        literals.array(f"{name}_{member}", array) for member, array in weight.arrays.items() if array is not None
    )
    if weight.form == "dense":
        form, own = arrays["values"], ""
    else:
        given = {**weight.numbers, **{member: arrays.get(member, "NULL") for member in weight.arrays}}
        given |= {member: f"&{name}_{member}" for member in weight.parts}
        form = f"&{name}_form"
        own = f"static const dtc_{weight.form} {name}_form = {{{literals.members(given)}}};\n"
    there = [each for each in used if each != "products" or weight.several is not None]
    told = {each: f"dtc_{weight.form}_{each}" if each in there else "NULL" for each in _MEMBERS}
    matrix = literals.members({**told, "rows": weight.rows, "cols": weight.cols, "form": form})
    linkage = "" if extern else "static "
    return f"{parts}{definitions}{own}{linkage}const dtc_matrix {name} = {{{matrix}}};\n\n"
