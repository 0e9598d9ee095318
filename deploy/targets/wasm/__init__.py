"""Bundles for browsers and Node without a runtime: a model and its kernels as one WebAssembly module."""

from __future__ import annotations

from collections.abc import Sequence

from dtc.deploy.codegen.generating import generate
from dtc.deploy.page import page_ways, write_page
from dtc.deploy.programs import MissingError, ProgramError
from dtc.deploy.target import BundleRun, DeployTarget, Draft
from dtc.deploy.targets.wasm.building import MODULE, SOURCE, build, require_module
from dtc.deploy.targets.wasm.face import write_example, write_face
from dtc.deploy.targets.wasm.tiles import BROWSER
from dtc.formatting import size


class WasmTarget(DeployTarget):
    """The program that target `c` writes, with kernels of 128 bits, built by emscripten; for inputs of one size."""

    name = "wasm"
    title = "browsers and Node without a runtime: model and kernels in one WebAssembly module"
    shipped = MODULE
    one_size = True
    lowering = "compute"

    def complete(self, draft: Draft) -> list[str]:
        """Write the program, and build the module where emscripten is.

        Raises:
            ModelError: It holds an operator that the kernels do not have; the message names the node.
        """
        write_page(draft.folder)
        made = generate(draft.model, draft.folder / SOURCE, BROWSER)
        memory = write_face(made, draft.folder / SOURCE)
        write_example(made.program, draft.folder)
        draft.figures.update({**made.figures, "memory": memory})
        constants = f"{size(made.weights)} of weights and {size(made.constants)} of other constants"
        taken = f"The module holds {constants} besides code, and takes {size(memory)} of memory"
        return [f"{taken}; a run adds {made.program.multiply_adds:,} products.", *_built(draft)]

    def runs(self, processor: str) -> Sequence[BundleRun]:
        """Return Node and a headless Chromium."""
        return page_ways(require_module)


def _built(draft: Draft) -> list[str]:
    try:
        build(draft.folder)
    except (MissingError, ProgramError) as error:
        return [f"{MODULE} is not built: {error}; then make -C {SOURCE} in the bundle builds it, and so does --check."]
    return []
