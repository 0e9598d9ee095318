"""What a target of `dtc deploy` is, and which there are.

A target is a folder in `deploy/targets/` whose module has a subclass of `DeployTarget`; what lies in the folder `files`
beside it goes into each of its bundles as it is, but for the placeholders of `README.md`. What all bundles hold is
made by `dtc.bundles`, and no target has to know of it.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import onnx_ir as ir

import dtc.deploy.targets
from dtc.deploy.programs import ProgramReport
from dtc.errors import UsageError
from dtc.registry import collect, own_classes

MODEL = "model.onnx"
"""The model's file in a bundle."""

VECTORS = "vectors"
"""The folder of test vectors in a bundle."""


@dataclass(frozen=True)
class Draft:
    """A bundle that is being written.

    Attributes:
        folder: Where it is written; the model is there, and so are the target's `files`.
        model: The model, as it is in the file.
        processor: What the bundle is for, of the target's `processors`; empty where the target has none.
        library: The native library that the user names for it; None for what is at hand.
        custom_ops: The libraries of custom operators that the model needs to run.
        ort: Whether the user wants it in ONNX Runtime's own format too.
        figures: What the target counts, such as bytes of memory; it goes into `deploy.json`.
    """

    folder: Path
    model: ir.Model
    processor: str = ""
    library: Path | None = None
    custom_ops: Sequence[Path] = ()
    ort: bool = False
    figures: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a bundle is run.

    Attributes:
        folder: A copy of the bundle, in which programs may build.
        scratch: A folder for what is fetched, the same for all ways, of other bundles too.
        processor: What the bundle is for.
        seconds: For measuring latency.
    """

    folder: Path
    scratch: Path
    processor: str
    seconds: float


@dataclass(frozen=True)
class BundleRun:
    """One way in which a bundle runs.

    Attributes:
        name: What runs it, in a word or two: Python, C, Node.
        start: Builds and installs what the way needs, and returns what runs the bundle once, as often as it is called.
            MissingError tells what is not on this machine, ProgramError what went wrong.
        timed: Whether it measures time, which takes turns; a count of instructions is the same each time.
    """

    name: str
    start: Callable[[Place], Callable[[], ProgramReport]]
    timed: bool = True


class DeployTarget(ABC):
    """A kind of bundle.

    Attributes:
        name: On the command line.
        title: What its bundles are for, in a sentence without a full stop.
        processors: Those that a bundle may be for; empty where its files are the same for all.
        pinned: The packages that a bundle names by version, for whoever runs it to install.
        lowering: What `dtc compress --lower` writes for it.
        shipped: The file that a device takes, whose size is told; the model's where that is not built.
        custom_ops: Whether its bundles may take along libraries of custom operators, which are ONNX Runtime's.
        ort: Whether its bundles may hold the model in ONNX Runtime's own format.
        one_size: Whether its bundles take inputs of one size alone, which free sizes get before all else: 1 for those
            that count samples, small ones that the model accepts for others.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    processors: ClassVar[tuple[str, ...]] = ()
    pinned: ClassVar[Mapping[str, str]] = {}
    shipped: ClassVar[str] = MODEL
    custom_ops: ClassVar[bool] = False
    ort: ClassVar[bool] = False
    one_size: ClassVar[bool] = False
    lowering: ClassVar[str] = "standard"

    def prepare(self, model: ir.Model) -> list[str]:
        """Bring a model into the form that the target takes, in place; return what a user should know, in sentences.

        Raises:
            ModelError: The target cannot take it; the message says why, and what to do.
        """
        return []

    def complete(self, draft: Draft) -> list[str]:
        """Write what depends on the model or the processor; return what a user should know, in sentences.

        Raises:
            ModelError: The target cannot take the model; the message says why, and what to do.
            DtcError: Something for it is not on this machine.
        """
        return []

    @abstractmethod
    def runs(self, processor: str) -> Sequence[BundleRun]:
        """Return the ways in which a bundle for a processor runs, the one that users take first."""

    @property
    def files(self) -> Path:
        """The folder whose content goes into each bundle."""
        return Path(inspect.getfile(type(self))).parent / "files"


@cache
def deploy_targets() -> dict[str, DeployTarget]:
    """Return every target by name; a name taken twice is loud."""
    return collect(dtc.deploy.targets, _offered, "targets of dtc deploy")


def find_deploy_target(name: str) -> DeployTarget:
    """Return the target of that name.

    Raises:
        UsageError: There is no such target.
    """
    if name not in deploy_targets():
        raise UsageError(f"--target: none is called {name!r}; there are: {', '.join(sorted(deploy_targets()))}")
    return deploy_targets()[name]


def _offered(module: ModuleType) -> Iterator[tuple[str, DeployTarget]]:
    for each in own_classes(module, DeployTarget):  # type: ignore[type-abstract]  # its concrete subclasses
        yield each.name, each()
