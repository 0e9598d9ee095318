"""Bundles for microcontrollers: a model as C11 without heap, weights computed on in their compressed form."""

from __future__ import annotations

from collections.abc import Sequence

from dtc.deploy.codegen.generating import generate
from dtc.deploy.target import BundleRun, DeployTarget, Draft
from dtc.deploy.targets.c.running import ways
from dtc.deploy.targets.c.testing import write_test_tensors
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
        made = generate(draft.model, draft.folder)
        write_test_tensors(made.program, draft.folder)
        draft.figures.update(made.figures)
        constants = f"{size(made.weights)} of weights and {size(made.constants)} of other constants"
        memory = f"RAM an arena of {size(made.arena)}, besides inputs and outputs"
        return [f"Flash takes {constants}, besides code; {memory}; a run adds {made.program.multiply_adds:,} products."]

    def runs(self, processor: str) -> Sequence[BundleRun]:
        """Return the host, then the processors that an emulator is for."""
        return ways()
