"""What a compression method is, and how the ones in this folder are found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

import dtc.passes.methods
from dtc.errors import RuleError
from dtc.forms import Array, Form
from dtc.registry import collect, own_classes


class Options(BaseModel):
    """Options of a method, declared once: they validate a recipe and make the command line's options."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Gram: TypeAlias = Callable[[], npt.NDArray[np.float64]]
"""Computes second moments, float64 `[count, in, in]`."""


@dataclass(frozen=True)
class Weights:
    """What a method sees of a site: its arrays and plain facts, no graph.

    Attributes:
        site: Name of the site.
        role: What the weight does, in the words of `dtc.graph.Role`.
        matrices: float32 `[count, out, in]`.
        node: Name of the node that reads it first; the weights of one LSTM have the same.
        feeds: Names of the recurrent input weights that read nothing but this node's output; shared projections
            need them.
        kernel: Spatial size of a convolution's kernel, `in` being channels times its product; empty otherwise.
        mask: Boolean `[count, out, in]`, False where an earlier method of a composition pruned; None: all are kept.
        gradient: Mean magnitude of the loss's gradient, float32 `[count, out, in]`, where the run has one.
        gram: Returns the second moments of the inputs `X^T X / n`, float64 `[count, in, in]`, where the run has
            calibration data; called for one site at a time, so that memory stays bounded.
        previous: The forms of the last distortion, to start from; None at the first one.
    """

    site: str
    role: str
    matrices: Array
    node: str
    feeds: tuple[str, ...] = ()
    kernel: tuple[int, ...] = ()
    mask: npt.NDArray[np.bool_] | None = None
    gradient: Array | None = None
    gram: Gram | None = None
    previous: tuple[Form, ...] | None = None

    @property
    def out_in(self) -> tuple[int, int]:
        """Rows and columns of each matrix."""
        return self.matrices.shape[1], self.matrices.shape[2]


Probe: TypeAlias = Callable[[Mapping[str, Array]], float]
"""What the model loses when the matrices `[count, out, in]` of the given sites are replaced; lower is better."""


@dataclass(frozen=True)
class DistortionStep:
    """The step of a run at which a distortion happens, and what that distortion may use besides the weights.

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

    Writing a subclass in a module of `dtc.passes.methods` is all it takes for the command line, the recipe, the
    retraining loop and the report to know it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    options_type: ClassVar[type[Options]]
    needs: frozenset[Need] = frozenset()
    """What of `Weights` and `DistortionStep` a run provides where it can; an option may add to it."""
    keeps_mask: ClassVar[bool] = False
    """True if weights that a distortion made zero have to stay zero until the next one, in the training loop too."""

    def __init__(self, options: Options) -> None:
        self.options = options
        if getattr(options, "compensate", False):
            self.needs = self.needs | {"gram"}

    @classmethod
    @abstractmethod
    def estimate(cls, rows: int, cols: int) -> str:
        """Return in a few words what the method can save at a matrix `[rows, cols]`, for `dtc inspect`."""

    def at_full_strength(self, at: DistortionStep) -> bool:
        """True where a distortion has its full strength; before, its result is no candidate for the best one."""
        return True

    def latents(self, forms: Mapping[str, tuple[Form, ...]], trained: Container[str]) -> Latents | None:
        """Return what training shall change from now on in place of weights; None: the weights themselves.

        `forms` are those of a distortion; of their sites the `trained` ones can change.
        """
        return None

    @abstractmethod
    def distort(self, weights: Sequence[Weights], at: DistortionStep = DistortionStep()) -> dict[str, Outcome]:
        """Return the outcome of every site, by name."""


@cache
def methods() -> dict[str, type[Method]]:
    """Return every method by name; a name taken twice and an import error are loud."""
    return collect(dtc.passes.methods, _offered, "methods")


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
        fields |= _known(part).options_type.model_fields
    return fields


def make_method(name: str, options: dict[str, Any]) -> Method:
    """Return the method of that name with validated options.

    Raises:
        UsageError: No such method, or an option that it does not have or whose value it refuses.
    """
    method = _known(name)
    try:
        return method(method.options_type.model_validate(options))
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else "options"
        message = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"method {name} has no such option; it has: {', '.join(sorted(method.options_type.model_fields))}"
        reason = "is required" if first["type"] == "missing" else f"{message} (given: {first['input']!r})"
        raise RuleError(f"method {name}, {option}: {reason}", ("options", *first["loc"]), reason) from error


def _known(name: str) -> type[Method]:
    if name not in methods():
        raise RuleError(f"no method is called {name!r}; there are: {', '.join(sorted(methods()))}", ("method",))
    return methods()[name]
