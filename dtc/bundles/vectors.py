"""Test vectors: inputs, and what ONNX Runtime computes of them from the model that is deployed.

In a bundle they are `vectors/CASE.input.INDEX.npy` and `vectors/CASE.output.INDEX.npy`, in the order of the model's
inputs and outputs, which a program in any language can read, and `vectors/tolerance.txt`. Latency is measured on the
first case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from dtc.checking.differences import Comparison
from dtc.checking.noise import is_random
from dtc.errors import DataError, ModelError
from dtc.graph.signature import TensorSpec
from dtc.passes.prepare.fix_shapes import size_inputs
from dtc.sample_inputs import KINDS, Inputs, InputSampler
from dtc.session import Outputs

CASES = 3

Runner = Callable[[Inputs], Outputs]


@dataclass(frozen=True)
class Vectors:
    """Test vectors.

    Attributes:
        inputs: Arrays by name, a case each, the first one of a single sample where the model takes that.
        outputs: Arrays by name, of each case.
    """

    inputs: tuple[Inputs, ...]
    outputs: tuple[Outputs, ...]

    def without(self, fixed: Mapping[str, object]) -> Vectors:
        """Return the vectors of a model that has some inputs no more."""
        kept = tuple({name: value for name, value in case.items() if name not in fixed} for case in self.inputs)
        return Vectors(kept, self.outputs)

    def of(self, run: Runner) -> Vectors:
        """Return what another model makes of the same inputs."""
        return Vectors(self.inputs, tuple(map(run, self.inputs)))

    def errors(self, run: Runner) -> dict[str, float]:
        """Run a model on the inputs; return the relative L2 of each output from that of the vectors.

        Raises:
            ModelError: An output has another shape or type, or is not finite where it should be.
        """
        comparison = Comparison()
        for inputs, outputs in zip(self.inputs, self.outputs, strict=True):
            comparison.update(outputs, run(inputs))
        if comparison.problems:
            raise ModelError("; ".join(comparison.problems))
        return {each.name: each.relative_l2 for each in comparison.differences()}

    def write(self, folder: Path, inputs: Sequence[str], outputs: Sequence[str], tolerance: float) -> None:
        """Write the vectors into a new folder, in the order of the model's inputs and outputs."""
        folder.mkdir()
        for number, (given, wanted) in enumerate(zip(self.inputs, self.outputs, strict=True)):
            for kind, names, arrays in (("input", inputs, given), ("output", outputs, wanted)):
                for index, name in enumerate(names):
                    np.save(folder / f"{number}.{kind}.{index}.npy", np.asarray(arrays[name], order="C"))
        (folder / "tolerance.txt").write_text(f"{tolerance:g}\n", encoding="ascii")


def draw_vectors(
    model: ir.Model,
    specs: Sequence[TensorSpec],
    run: Runner,
    fixed: Mapping[str, Any],
    shapes: Mapping[str, Sequence[int]],
    *,
    one_size: bool = False,
) -> Vectors:
    """Draw inputs on which all outputs of a model are finite, and run them; `fixed` are held as they are.

    Inputs of `shapes` have these. With `one_size` all are of the size of the first.

    Raises:
        ModelError: The model draws random numbers, or an input or output is no tensor of numbers.
        DataError: A name is that of no input, an input cannot have its shape, or the model accepts none of the inputs
            tried, or gives nothing finite.
    """
    if is_random(model):
        raise ModelError("it draws random numbers when it runs, so that no test vector could be compared")
    for spec in specs:
        if "(" in spec.dtype or spec.dtype == "string":
            raise ModelError(f"{spec} is no tensor of numbers, which the programs of a bundle read and compare")
    sized = model.clone() if shapes else model
    sampler = InputSampler(sized, run, seed=0, fixed=fixed, sizes=size_inputs(sized, shapes))
    for kind in KINDS:
        kinds = {spec.name: kind for spec in sampler.free}
        inputs = tuple(sampler.draw(kinds, single=one_size or number == 0) for number in range(CASES))
        outputs = tuple(map(run, inputs))
        if all(_has_finite(value) for case in outputs for value in case.values()):
            return Vectors(inputs, outputs)
    raise DataError("no input was found on which its outputs are finite, so that no test vector could be compared")


def _has_finite(array: Any) -> bool:
    return not array.size or bool(np.isfinite(np.asarray(array, np.float64)).any())
