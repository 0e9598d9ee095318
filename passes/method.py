"""What a compression method is, and how the ones in `dtc.passes.methods` are found.

To write a method:

1. Choose. A method is a distortion: it takes the matrices of sites and returns them in a compressed form. Look whether
   a form of `dtc.forms` holds what the method makes; most methods need no new one. One module with one subclass of
   `Method` is all there is to write, in `dtc.passes.methods` or in a distribution of somebody else, which names the
   module under the entry-point group `dtc.passes.methods`. The command line, its help, recipes, the retraining loop,
   the report and compositions find the method there.
2. Lifecycle. `make_method` validates the options and makes one object for each rule of a recipe. The object sees its
   sites as `Weights`: arrays and plain facts, no graph. Without training `distort` is called once; with training it is
   called every so many steps and at the end, and `DistortionStep` says when. In between the loop asks
   `at_full_strength` (is the schedule at its end?), `keeps_mask` (do zeros have to stay zero?) and `latents` (is
   something else trained than the weights?). The forms of a distortion come back at the next one as
   `Weights.previous`; the object itself remembers nothing, so that a run can be killed and resumed.
3. Test. The contract tests take every method that is found, with the options of its `example`, and hold it to what it
   declares: `gives`, `heeds_mask`, `compensates`, options with descriptions, a pure `distort`, and every composition.
   A test file of the method's own shows what it promises beyond that, against numbers of its paper.

What a method can do is told by attributes of its class, never by its name: compositions, help and the loop ask them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from pydantic.fields import FieldInfo

import dtc.passes.methods
from dtc.device_arrays import on_host
from dtc.errors import RuleError, UsageError
from dtc.forms import Array, Form
from dtc.passes.options import Compensation, Options, flag, refuse_clashes
from dtc.registry import collect, own_classes

Grams: TypeAlias = npt.NDArray[np.float64]
"""Second moments of the inputs of matrices, `X^T X / n`, float64 `[count, in, in]`."""

Gram: TypeAlias = Callable[[], Grams | None]
"""Computes second moments; None where the run means that errors are not made up for there."""


@dataclass(frozen=True)
class Weights:
    """What a method sees of a site: its arrays and plain facts, no graph.

    Attributes:
        site: Name of the site.
        matrices: float32 `[count, out, in]`.
        node: Name of the node that reads the site first, for messages.
        is_table: True if rows are looked up, as in an embedding, and nothing is multiplied with a matrix.
        partner: For a recurrent weight, the site of the input weight of its own layer; None where there is none.
        feeds: For a recurrent weight, the sites of input weights that read nothing but its layer's output.
        kernel: Spatial size of a convolution's kernel, `in` being channels times its product; empty otherwise.
        mask: Boolean `[count, out, in]`, False where an earlier method of a composition pruned; None: all are kept.
        gradient: Mean magnitude of the loss's gradient, float32 `[count, out, in]`, where the run has one.
        gram: Returns the second moments of the inputs `X^T X / n`, float64 `[count, in, in]`, where the run has
            calibration data, or None at a site that is to do without; called for one site at a time, so that memory
            stays bounded.
        previous: The forms of the last distortion, to start from; None at the first one.
    """

    site: str
    matrices: Array
    node: str
    is_table: bool = False
    partner: str | None = None
    feeds: tuple[str, ...] = ()
    kernel: tuple[int, ...] = ()
    mask: npt.NDArray[np.bool_] | None = None
    gradient: Array | None = None
    gram: Gram | None = None
    previous: tuple[Form, ...] | None = None

    def on_host(self) -> Weights:
        """Return the same site with its arrays in host memory."""
        if isinstance(self.matrices, np.ndarray):
            return self
        gradient = None if self.gradient is None else on_host(self.gradient)
        return replace(self, matrices=on_host(self.matrices), gradient=gradient)

    @property
    def out_in(self) -> tuple[int, int]:
        """Rows and columns of each matrix."""
        return self.matrices.shape[1], self.matrices.shape[2]

    @property
    def sums(self) -> bool:
        """True if an output is a sum over a row's weights, in which the error of one can make up for another's."""
        return not self.is_table


Probe: TypeAlias = Callable[[Mapping[str, Array]], float]
"""What the model loses when the matrices `[count, out, in]` of the given sites are replaced; lower is better."""


@dataclass(frozen=True)
class DistortionStep:
    """When and where a distortion happens.

    Attributes:
        step: Optimizer steps done; 0 where there is no training.
        steps: Steps of the whole run; 0 where there is no training.
        seed: Of everything random in a method.
        probe: Evaluates the model with some weights replaced, where the run can; sensitivity methods need it.
    """

    step: int = 0
    steps: int = 0
    seed: int = 0
    probe: Probe | None = None


@dataclass(frozen=True)
class Skip:
    """A site left alone, and why."""

    reason: str


Outcome: TypeAlias = "tuple[Form, ...] | Skip"
"""One form for each matrix of a site, or the reason why there is none."""


Need: TypeAlias = Literal["gradient", "gram", "probe", "previous"]


class Latents(Protocol):
    """Fewer numbers that the weights of some sites are made of, to be trained in their place.

    Attributes:
        arrays: float32, by a name that no initializer has; live: training changes them in place.
    """

    arrays: dict[str, Array]

    def gradients(self, slopes: Mapping[str, Array], /) -> dict[str, Array]:
        """Return the gradients of `arrays`, given those of the matrices, float32 `[count, out, in]`, by site."""
        ...

    def forms(self) -> Mapping[str, tuple[Form, ...]]:
        """Return what the present numbers make, by site."""
        ...


class Method(ABC):
    """A distortion: weights in, their compressed forms out. A pure function of its arguments.

    A subclass declares what it is called, what it can do and what it needs as attributes of the class, and writes
    `estimate` and `distort`; the rest has defaults that suit most methods. Its docstring is the text of its help page.
    """

    name: ClassVar[str]
    """What `--method` and a recipe call it."""
    title: ClassVar[str]
    """What it is, in a few words for a table."""
    paper: ClassVar[str]
    """Where it comes from: authors, title, year, a number to find it by; several are joined by semicolons."""
    options_type: ClassVar[type[Options]]
    """Its options; what it shares with other methods is declared in `dtc.passes.options`."""
    example: ClassVar[Mapping[str, Any]] = {}
    """Options, by name, that make something of nearly any matrix: for the command in its help, and for tests."""

    on_device: ClassVar[bool] = False
    """True if `distort` takes matrices that lie on a device (`dtc.device_arrays`), and does the most of its arithmetic
    there; forms are in host memory always. The others are given copies of the matrices in host memory."""

    gives: ClassVar[type[Form]]
    """The form that it gives. What gives `Sparse` can be followed by a code of the survivors, or by factors of the
    remainder; what gives `LowRank` by a treatment of both factors."""
    heeds_mask: ClassVar[bool] = False
    """True if weights where `Weights.mask` is False are exactly zero in its forms, and count for nothing else."""
    compensates: ClassVar[str | None] = None
    """How it makes up for errors at a layer's outputs where there are samples, by name; None: it cannot.
    The options of a method that can are a subclass of `Compensation`."""
    rounds_activations: ClassVar[bool] = False
    """True if what flows into its weights, and out of them, is rounded to 8 bits too where there are samples, so that
    products may be computed in integers."""
    keeps_mask: ClassVar[bool] = False
    """True if weights that a distortion made zero have to stay zero until the next one, in the training loop too."""
    latent_option: ClassVar[str | None] = None
    """Name of the option with which `latents` are trained in place of weights; None: never."""
    needs: frozenset[Need] = frozenset()
    """What of `Weights` and `DistortionStep` a run provides where it can; an option may add to it, or take away."""

    def __init__(self, options: Options) -> None:
        self.options = options
        if self.compensating:
            self.needs = self.needs | {"gram"}

    @classmethod
    @abstractmethod
    def estimate(cls, rows: int, cols: int) -> str:
        """Return in a few words what the method can save at a matrix `[rows, cols]`, for `dtc inspect`."""

    @property
    def compensating(self) -> bool:
        """True if the method makes up for errors at the outputs of layers where there are samples of the inputs."""
        return isinstance(self.options, Compensation) and self.options.compensate is not False

    @property
    def told_to_compensate(self) -> bool:
        """True if the method was told to make up for errors, so that it cannot do without samples."""
        return isinstance(self.options, Compensation) and bool(self.options.compensate)

    @property
    def by_site(self) -> bool:
        """True if what becomes of a site depends on no other one.

        Sites are given one at a time then, so that the largest one bounds the memory, and on several cores.
        """
        return False

    def refuse_sizes(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Stop where the options suit none of the matrices `(out, in)` of the sites; asked before they are distorted.

        Raises:
            UsageError: They do.
        """
        return

    @property
    def trains_latents(self) -> bool:
        """True if the method was told to have something else trained than the weights."""
        return self.latent_option is not None and bool(getattr(self.options, self.latent_option))

    def moments(self, weights: Weights) -> Grams | None:
        """Return the second moments to make up for errors by, float64 `[count, in, in]`; None where that is not meant.

        It is not meant with `--no-compensate`, nor for a table, whose rows are looked up: nothing is summed there.
        Unless it is asked for, it is not meant without samples either, nor where it would take minutes. A run may leave
        out sites, too: what they read is not seen, or another distortion has made up for errors before.

        Raises:
            UsageError: The run has no samples of the inputs.
        """
        if not self.compensating or not weights.sums:
            return None
        asked = self.told_to_compensate
        if weights.gram is None and asked:
            raise UsageError(f"--compensate needs samples of the inputs of {weights.node!r}: give --data")
        rows, cols = weights.out_in
        if weights.gram is None or (not asked and cols * cols * (rows + cols) > MOST_PRODUCTS):
            return None
        return weights.gram()

    def probes(self, sites: int) -> int:
        """Return how often the method asks the probe for so many sites, at the most; 0 where that is not known."""
        return 0

    def at_full_strength(self, at: DistortionStep) -> bool:
        """True where a distortion has its full strength; before, its result is no candidate for the best one."""
        return True

    def latents(self, forms: Mapping[str, tuple[Form, ...]], trained: Container[str]) -> Latents | None:
        """Return what training shall change from now on in place of weights; None: the weights themselves.

        `forms` are those of a distortion; of their sites the `trained` ones can change.
        """
        return None

    def foresee(self, rows: int, cols: int) -> int | Skip | None:
        """Return the bytes of a form of a matrix whose shape alone tells them, or why there would be none.

        None: the numbers of the matrix decide, or the bytes grow with its rows, which a few rows of it show.
        """
        return None

    @abstractmethod
    def distort(self, weights: Sequence[Weights], at: DistortionStep = DistortionStep()) -> dict[str, Outcome]:
        """Return the outcome of every site, by name."""


class SiteMethod(Method):
    """A method to which each site is one by itself: it says what becomes of one."""

    @property
    def by_site(self) -> bool:
        """True."""
        return True

    def distort(self, weights: Sequence[Weights], at: DistortionStep = DistortionStep()) -> dict[str, Outcome]:
        """Return the outcome of every site, by name.

        Raises:
            DtcError: As `distort_site`.
        """
        return {w.site: self.distort_site(w) for w in weights}

    @abstractmethod
    def distort_site(self, w: Weights) -> Outcome:
        """Return the outcome of a site with these weights."""


MOST_PRODUCTS = 5e11
"""Multiplications that a weight may take to make up for its errors without being asked: half a minute of one core, and
second moments of 500 MB."""

_DECLARED = ("title", "paper", "options_type", "gives")


@cache
def methods() -> dict[str, type[Method]]:
    """Return every method by name.

    Raises:
        RuntimeError: Two have one name, one does not declare what it is, or two mean different things by one option.
        ImportError: A module cannot be imported.
    """
    found = collect(dtc.passes.methods, _offered, "methods")
    for name, method in found.items():
        missing = [attribute for attribute in _DECLARED if not hasattr(method, attribute)]
        if missing:
            raise RuntimeError(f"method {name} ({method.__module__}) does not declare {', '.join(missing)}")
    refuse_clashes({name: method.options_type for name, method in found.items()})
    return found


def _offered(module: ModuleType) -> Iterator[tuple[str, type[Method]]]:
    for method in own_classes(module, Method):  # type: ignore[type-abstract]  # its concrete subclasses
        if "name" in vars(method):
            yield method.name, method


def options_of(name: str) -> dict[str, FieldInfo]:
    """Return the options of a method, or of both methods of a composition, by name.

    Raises:
        UsageError: There is no such method.
    """
    fields: dict[str, FieldInfo] = {}
    for part in name.split("+"):
        fields |= find_method(part).options_type.model_fields
    return fields


def find_method(name: str) -> type[Method]:
    """Return the method of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in methods():
        raise RuleError(f"no method is called {name!r}; there are: {', '.join(sorted(methods()))}", ("method",))
    return methods()[name]


def make_method(name: str, options: dict[str, Any]) -> Method:
    """Return the method of that name with validated options.

    Raises:
        UsageError: No such method, or an option that it does not have or whose value it refuses.
    """
    method = find_method(name)
    try:
        return method(method.options_type.model_validate(options))
    except ValidationError as error:
        # A user corrects one mistake at a time: the first one, at its place in the recipe.
        first = error.errors()[0]
        option = flag(str(first["loc"][0])) if first["loc"] else "options"
        message = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"method {name} has no such option; it has: {', '.join(sorted(method.options_type.model_fields))}"
        reason = "is required" if first["type"] == "missing" else f"{message} (given: {first['input']!r})"
        raise RuleError(f"method {name}, {option}: {reason}", ("options", *first["loc"]), reason) from error
