"""Bundles for ONNX Runtime: Python without dtc, C and C++, and the native kernels where the model uses them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial

from dtc.deploy.ops import DOMAIN
from dtc.deploy.ops.library import library_path
from dtc.deploy.programs import ProgramReport, run_program, run_reporting
from dtc.deploy.target import MODEL, BundleRun, DeployTarget, Draft, Place
from dtc.deploy.targets.onnxruntime.ort_format import ORT_MODEL, write_ort
from dtc.deploy.targets.onnxruntime.processors import HOST, PROCESSORS
from dtc.errors import LibraryError
from dtc.graph import all_nodes

_LIBRARIES = "lib"

_LIST = "libraries.txt"
"""Their names in that folder, a line each, which the bundle's programs load."""


class OnnxRuntimeTarget(DeployTarget):
    """A model as it is, whatever it holds, and the native kernels for the operators of dtc."""

    name = "onnxruntime"
    lowering = "compute"
    custom_ops = True
    ort = True
    shipped = ORT_MODEL
    title = "ONNX Runtime from Python, C and C++, with the native kernels"
    processors = tuple(sorted(PROCESSORS, key=lambda name: name != HOST))

    def complete(self, draft: Draft) -> list[str]:
        """Put the libraries in that the model needs, and the list of them that the programs read.

        Raises:
            LibraryError: The native library of another processor cannot be built here, or those of custom operators
                are for this machine's.
            ModelError: ONNX Runtime's own format would hold decoded weights.
        """
        if draft.custom_ops and draft.processor != HOST:
            raise LibraryError(
                f"--processor {draft.processor}: the libraries of --custom-ops run the model here, and are for {HOST}; "
                f"build them for {draft.processor} and put them into lib/ of a bundle for {HOST}"
            )
        folder, notes = draft.folder / _LIBRARIES, self._put_native(draft)
        for library in draft.custom_ops:
            folder.mkdir(exist_ok=True)
            shutil.copyfile(library, folder / library.name)
        if folder.is_dir():
            names = sorted(path.name for path in folder.iterdir())
            (folder / _LIST).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        if draft.ort:
            write_ort(draft.folder / MODEL, draft.folder / ORT_MODEL)
            notes.append(f"{ORT_MODEL} is what the programs load; it carries no functions in the place of lib/.")
        return notes

    def _put_native(self, draft: Draft) -> list[str]:
        """Put the native library in where the model has operators for it; return what a user should know."""
        if not any(node.domain == DOMAIN for node in all_nodes(draft.model)):
            return ["The model has no operators of dtc, so that no native library is needed."]
        library = draft.library or (library_path() if draft.processor == HOST else None)
        if library is None and draft.processor == HOST:
            return ["This dtc came without its native library: the model runs on the functions that it carries."]
        folder = draft.folder / _LIBRARIES
        folder.mkdir()
        if library is None:
            PROCESSORS[draft.processor].build_library(folder)
        else:
            shutil.copyfile(library, folder / library.name)
        return []

    def runs(self, processor: str) -> Sequence[BundleRun]:
        """Return C and C++ for the processor, emulated if it is another one, and Python on this machine's own."""
        how = "" if processor == HOST else f" ({processor}, emulated)"
        native = [BundleRun(f"C{how}", partial(_built, "run_c")), BundleRun(f"C++{how}", partial(_built, "run_cc"))]
        return native if how else [BundleRun("Python", _python), *native]


def _python(place: Place) -> Callable[[], ProgramReport]:
    command = [sys.executable, "python/run.py", f"{place.seconds:g}"]
    return partial(run_reporting, command, place.folder)


def _built(program: str, place: Place) -> Callable[[], ProgramReport]:
    """Build a program against ONNX Runtime's library alone, on the declarations that the bundle brings."""
    processor = PROCESSORS[place.processor]
    options, before = processor.cross_compiling(), processor.running()
    build = place.folder / "build"
    options.append(f"-DONNXRUNTIME={processor.runtime(place.scratch)}")
    run_program(["cmake", "-S", "native", "-B", build, *options], place.folder)
    run_program(["cmake", "--build", build, "--target", program], place.folder)
    return partial(run_reporting, [*before, build / program, ".", f"{place.seconds:g}"], place.folder)
