"""Bundles for microcontrollers: a model as C11 without heap, weights computed on in their compressed form."""

from __future__ import annotations

from collections.abc import Sequence

from dtc.deploy.target import BundleRun, DeployTarget, Draft
from dtc.deploy.targets.c.compiling import compile_model
from dtc.deploy.targets.c.emitting import write_program
from dtc.deploy.targets.c.planning import arena_bytes, plan
from dtc.deploy.targets.c.running import ways
from dtc.formatting import size


class CTarget(DeployTarget):
    """A program in C, for inputs of one size."""

    name = "c"
    title = "microcontrollers: C11 without heap or operating system, computing on compressed weights"
    one_size = True
    lowering = "compute"

    def complete(self, draft: Draft) -> list[str]:
        """Write the program.

        Raises:
            ModelError: It holds an operator that the kernels do not have; the message names the node.
        """
        program = compile_model(draft.model)
        arena = plan(program)
        write_program(program, arena, draft.folder)
        weights = sum(weight.nbytes for weight in program.weights)
        constants = sum(tensor.array.nbytes for tensor in program.constants if tensor.array is not None)
        bytes_of = {"weights": weights, "other constants": constants, "arena": arena_bytes(arena)}
        draft.figures.update(bytes_of | {"multiply-adds": program.multiply_adds})
        flash = f"Flash takes {size(weights)} of weights and {size(constants)} of other constants, besides code"
        memory = f"RAM an arena of {size(arena_bytes(arena))}, besides inputs and outputs"
        return [f"{flash}; {memory}; a run adds {program.multiply_adds:,} products."]

    def runs(self, processor: str) -> Sequence[BundleRun]:
        """Return the host, then the processors that an emulator is for."""
        return ways()
