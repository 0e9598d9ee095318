"""Building the module of a bundle by emscripten."""

from __future__ import annotations

from pathlib import Path

from dtc.deploy.programs import require_program, run_program
from dtc.deploy.target import Place

MODULE = "model.wasm"
"""The module's file in a bundle."""

SOURCE = "source"
"""The folder of the program in C in a bundle."""


def build(folder: Path) -> None:
    """Build the module of a bundle.

    Raises:
        MissingError: There is no emscripten, or no make.
        ProgramError: It fails.
    """
    make = require_program(["make"], "apt install make")
    emcc = require_program(["emcc"], "apt install emscripten")
    run_program([make, f"EMCC={emcc}"], folder / SOURCE)


def require_module(place: Place) -> None:
    """Build the module of a bundle that came without it.

    Raises:
        MissingError: There is no emscripten.
        ProgramError: It fails.
    """
    if not (place.folder / MODULE).exists():
        build(place.folder)
