"""From a model to a folder of C: compiled, its memory planned, and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from dtc.deploy.codegen.compiling import compile_model
from dtc.deploy.codegen.emitting import write_program
from dtc.deploy.codegen.kernel_set import MICROCONTROLLER, KernelSet
from dtc.deploy.codegen.planning import arena_bytes, plan
from dtc.deploy.codegen.program import CProgram


@dataclass(frozen=True)
class Generated:
    """A program that was written.

    Attributes:
        program: The program.
        weights: Bytes of its weights, in their forms.
        constants: Bytes of its other constants.
        arena: Bytes of the memory that it computes in.
    """

    program: CProgram
    weights: int
    constants: int
    arena: int

    @property
    def figures(self) -> Mapping[str, int]:
        """What is counted of it, by name."""
        bytes_of = {"weights": self.weights, "other constants": self.constants, "arena": self.arena}
        return bytes_of | {"multiply-adds": self.program.multiply_adds}


def generate(model: ir.Model, folder: Path, kernels: KernelSet = MICROCONTROLLER) -> Generated:
    """Write a model whose inputs have known sizes as C into a folder.

    Raises:
        ModelError: It holds an operator that the kernels do not have; the message names the node.
    """
    program = compile_model(model, kernels)
    arena = plan(program)
    write_program(program, arena, folder, kernels.headers)
    weights = sum(weight.nbytes for weight in program.weights)
    constants = sum(tensor.array.nbytes for tensor in program.constants if tensor.array is not None)
    return Generated(program, weights, constants, arena_bytes(arena))
