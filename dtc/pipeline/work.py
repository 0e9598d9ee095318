"""The object that the stages of a compression work on, one after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy.typing as npt
import onnx_ir as ir

from dtc.checking import CheckReport
from dtc.checking.fidelity import Comparable
from dtc.checking.options import CheckedBatch
from dtc.checking.session_memory import memory_of_whole
from dtc.checking.sites import Regions, SiteChecks
from dtc.data import Samples, fixed_batch
from dtc.errors import ModelError
from dtc.formatting import size
from dtc.forms import Array
from dtc.graph import Site, check_space, load_model, model_files, only_writer, relocate
from dtc.graph.file_tensor import on_disk
from dtc.job import Job
from dtc.memory import free_memory
from dtc.passes.lean import Folded
from dtc.passes.lower import Lowered, Target, find_target
from dtc.passes.method import Gram, Grams
from dtc.passes.plan import Distorted, Plan
from dtc.passes.prepare.quantize_activations import Quantization
from dtc.pipeline.progress import ModelProbed, SiteDone, StageBegan
from dtc.recipe import Recipe
from dtc.report import Report
from dtc.scratch import scratch_folder
from dtc.storage import ArrayStore
from dtc.training.events import Event
from dtc.training.launch import Result
from dtc.training.run import Run

OnEvent = Callable[[Event | CheckedBatch | ModelProbed | SiteDone | StageBegan], None]


class KnownMoments(Protocol):
    """Second moments of the inputs of sites: measured now (`Calibration`), or read from a folder (`StoredMoments`)."""

    def gram_of(self, site: Site, /) -> Gram:
        """Return a function that gives the moments of a site; None for a site that has none."""
        ...

    def all_moments(self) -> Iterator[tuple[str, Grams]]:
        """Yield the names of all sites that have moments, with these."""
        ...


@dataclass(frozen=True)
class Known:
    """What samples have told of a model before, so that a compression of it need not measure it again.

    Attributes:
        moments: Second moments of the inputs of sites.
        gradients: Mean magnitudes of gradients, by parameter; empty where they cannot be had.
    """

    moments: KnownMoments
    gradients: Mapping[str, Array]


@dataclass(frozen=True)
class Tried:
    """A lowered copy of the model, how each site stands in it, and what became of its BatchNormalizations.

    `rounding` is the largest relative L2 that rounding other numbers may make in the outputs; 0: none was rounded.
    """

    model: ir.Model
    lowered: tuple[Lowered, ...]
    folded: Folded
    rounding: float = 0.0


@dataclass(eq=False, repr=False)
class Work:
    """One compression: its inputs, and the results of its stages so far.

    A field without a value is set by the stage that is named at it; to read it before is an AttributeError.

    Attributes:
        original: The model file that the result is held to.
        files: That file, and those of its external data.
        recipe: What to do with the weights.
        job: Where the result goes, and how it is checked.
        model: The model; stages change it in place.
        samples: The data of the recipe.
        target: What the file is written for.
        memory: Bytes that the work may take, all of its processes together.
        whole_memory: Bytes that running whole models takes, the original or what is written, one at a time.
        run_folder: The run directory to make; None where none is asked for.
        run: The run directory; None while there is none.
        began_run: Whether this work made it.
        on_event: Is told how a retraining and the check after it go.
        levels: The levels of quantized activations, fitted before they are put into the model.
        errors: The methods' own relative squared errors, by site; empty after retraining.
        training: What a retraining did.
        remarks: What is to be known of the model as it came, in words for the report.
        renormalised: Whether BatchNormalizations have other statistics than they came with (set_statistics).
        notes: What was done beside what the recipe says, in words for the report.
        leaner: What got smaller beside the weights of sites, in words for the report.
        pages: The pages of the report that were written.
        moments: Second moments of the inputs of sites (measure_moments); None where no method asks for them.
        gradients: Mean magnitudes of the gradients, by site, where they are known beforehand; None: they are measured
            where a method asks for them.
        given: The arrays of the user's model, by name (normalise).
        undistorted: The user's model, regular, with its own weights (normalise).
        plan: Which method has which sites (choose).
        untouched: The original's weights, by site (choose).
        distorted: The weights to write, and their forms (distort, or take_trained).
        tried: The model as it will be lowered (weigh).
        dense: The user's model with the distorted weights, in a file (write_dense).
        lowered: How each site stands in the file, by site (lower).
        regular: The model with the distorted weights, before it was lowered (lower).
        regions: Where each compressed site can be run alone (lower).
        written: The lowered model in a file, not yet at its place (write).
        by_site: The sites in the written file, one by one (check_sites).
        faithful: The written file against the distorted model (check_faithful); None where they are not run whole.
        outcome: The written file against the original (check_outcome).
        report: All of it as a document (describe).
        store: Large arrays of forms and of the lowered model, in `scratch`; in memory while there is no such folder.
        scratch: A folder beside the output that is gone when the work ends: what lies there can be moved to its place.
    """

    original: Path
    files: tuple[Path, ...]
    recipe: Recipe
    job: Job
    model: ir.Model
    samples: Samples
    target: Target
    memory: int
    whole_memory: int
    run_folder: Path | None = None
    run: Run | None = None
    began_run: bool = False
    on_event: OnEvent | None = None
    levels: list[Quantization] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)
    training: Result | None = None
    remarks: list[str] = field(default_factory=list)
    renormalised: bool = False
    notes: list[str] = field(default_factory=list)
    leaner: list[str] = field(default_factory=list)
    pages: list[Path] = field(default_factory=list)
    moments: KnownMoments | None = None
    gradients: Mapping[str, Array] | None = None
    given: Mapping[str, ir.TensorProtocol] = field(init=False)
    undistorted: ir.Model = field(init=False)
    plan: Plan = field(init=False)
    untouched: Mapping[str, ir.TensorProtocol] = field(init=False)
    distorted: Distorted = field(init=False)
    tried: Tried = field(init=False)
    dense: Comparable = field(init=False)
    lowered: Mapping[str, Lowered] = field(init=False)
    regular: ir.Model = field(init=False)
    regions: Regions = field(init=False)
    written: Comparable = field(init=False)
    by_site: SiteChecks = field(init=False)
    faithful: CheckReport | None = None
    outcome: CheckReport = field(init=False)
    report: Report = field(init=False)
    scratch: Path = field(init=False)
    store: ArrayStore = field(default_factory=lambda: ArrayStore(Path(), large=sys.maxsize))
    _resources: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Work:
        with self._resources:  # given up where a later one of these fails
            self._resources.enter_context(only_writer(self.job.output))
            check_space(self.job.output, sum(file.stat().st_size for file in self.files))
            self.scratch = self._resources.enter_context(_beside(self.job.output))
            self.store = ArrayStore(self.scratch / "arrays")
            self.store.folder.mkdir()
            self._resources = self._resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    @property
    def runs_whole(self) -> bool:
        """True where whole models are run: the original, the distorted dense one, the written file.

        Where they do not fit into memory only sites are checked, and nothing is written that the whole alone needs.
        """
        return self.whole_memory <= self.memory

    @property
    def words_on_whole(self) -> str:
        """That the whole was not run, and what it would take."""
        needed, given = size(self.whole_memory), size(self.memory)
        return f"the whole model was not run: that takes {needed} of memory, and {given} may be used (--memory)"

    def on_disk(self, array: npt.NDArray[Any] | ir.TensorProtocol) -> ir.TensorProtocol:
        """Return a tensor of an array; the numbers of a large one go into the scratch folder."""
        return on_disk(self.store, array)

    def gram_of(self, site: Site) -> Gram | None:
        """Return what computes the second moments of a site's inputs; None where no method asks for them."""
        return None if self.moments is None else self.moments.gram_of(site)

    def move_into(self, run: Run) -> None:
        """Continue with the copies of model and data in a run directory, which nobody changes meanwhile."""
        folder = self.original.parent
        copies = {file: run.model_path.parent / file.relative_to(folder) for file in self.files}
        self.files = tuple(copies.values())
        relocate(self.model, copies)  # its clones share the tensors
        self.original, self.run, self.recipe = run.model_path, run, run.recipe
        self.samples = replace(self.samples, names=run.recipe.data, base=run.folder)


@contextmanager
def _beside(output: Path) -> Iterator[Path]:
    try:
        with scratch_folder(output.absolute().parent) as folder:
            yield folder
    except OSError as error:
        raise ModelError(f"{output}: cannot be written ({error.strerror}); choose another --output") from error


def begin(path: Path, recipe: Recipe, job: Job, base: Path) -> Work:
    """Open the work on a model file; relative paths of the recipe's data start at `base`.

    Raises:
        ModelError: The model cannot be loaded.
        UsageError: There is no such target, or the file of costs is none.
    """
    costs = None if recipe.costs is None else base / recipe.costs
    target = find_target(recipe.lower, costs, inlined=recipe.inline)
    model = load_model(path)
    files = model_files(path, model)
    if job.output.resolve() in {file.resolve() for file in files}:
        raise ModelError(f"{job.output}: holds weights of the model itself; choose another --output")
    objective = recipe.objective
    samples = Samples(recipe.data, base, fixed_batch(model, objective), bool(objective.carry), "calibration")
    memory = free_memory() if job.memory is None else job.memory
    return Work(path, files, recipe, job, model, samples, target, memory, memory_of_whole(model))


def begin_again(run: Run, job: Job) -> Work:
    """Open the work of a run directory.

    Raises:
        ModelError: The copy of the model cannot be loaded.
    """
    work = begin(run.model_path, run.recipe, job, run.folder)
    work.run, work.levels = run, run.quantizations()
    return work
