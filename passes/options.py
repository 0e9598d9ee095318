"""Options of methods: what all have in common, those that several methods share, and that no two mean different things.

An option is declared once, as a field of a method's options: its type, default, bounds and description validate a
recipe, make the command line's option and write its help. The command line is one for all methods, so that two methods
that have an option of the same name must mean the same by it; what is shared is declared here and imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo


class Options(BaseModel):
    """Options of a method, declared once: they validate a recipe and make the command line's options."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)  # `rank: true` is no number, nor is '8'

    one_of: ClassVar[tuple[str, ...]] = ()
    """Names of options of which exactly one has to be given."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if self.one_of and sum(getattr(self, name) is not None for name in self.one_of) != 1:
            raise ValueError(f"give exactly one of {', '.join(map(flag, self.one_of))}")
        return self


class Compensation(Options):
    """The option of methods that can make up for errors at the outputs of a layer; see `Method.compensates`."""

    compensate: bool | None = Field(
        default=None,
        description="keep what the layers' outputs need rather than the weights themselves; needs samples (--data), "
        "and is done where there are some unless said otherwise",
    )


@dataclass(frozen=True)
class Try:
    """Values of an option that are worth trying, from the smallest file to the largest: where a search begins.

    Written beside the type: `rank: Annotated[int | None, Try(8, 16, 32)] = Field(None, ge=1, ...)`. A search tries
    those of the first option that has some, or of each of which one has to be given, and all that are `crossed` with
    each of them.

    Attributes:
        values: Worth trying where the method works alone.
        crossed: Whether each of them is, with each rate of the others.
        first: Worth trying where the method is the first of two.
        second: Where it is the second.
        closer: Worth trying for the best of the rates alone: they change what a site takes, and not what it computes.
        alone: Whether each of them is a rate by itself, beside those of the first option, and crossed with nothing.
        between: Distance of the values between two of these that are worth trying for the best of the rates alone, and
            at single sites: whole files are too much alike; 0: there are none.
    """

    values: tuple[Any, ...]
    crossed: bool = False
    first: tuple[Any, ...] = ()
    second: tuple[Any, ...] = ()
    closer: tuple[Any, ...] = ()
    alone: bool = False
    between: float = 0.0

    def __init__(
        self,
        *values: Any,
        crossed: bool = False,
        first: tuple[Any, ...] = (),
        second: tuple[Any, ...] = (),
        closer: tuple[Any, ...] = (),
        alone: bool = False,
        between: float = 0.0,
    ) -> None:
        for name, given in (("values", values), ("first", first), ("second", second), ("closer", closer)):
            object.__setattr__(self, name, given)
        for name, told in (("crossed", crossed), ("alone", alone), ("between", between)):
            object.__setattr__(self, name, told)


def tried(field: FieldInfo) -> tuple[Any, ...]:
    """Return the values of an option that are worth trying; none where the option is no rate."""
    return _tries(field).values


def is_crossed(field: FieldInfo) -> bool:
    """Return whether each value of an option is worth trying with each rate of the others."""
    return _tries(field).crossed


def tried_alone(kind: type[Options]) -> dict[str, tuple[Any, ...]]:
    """Return the options whose values worth trying are rates by themselves."""
    found = {name: _tries(field) for name, field in kind.model_fields.items()}
    return {name: each.values for name, each in found.items() if each.alone}


def tried_between(kind: type[Options]) -> dict[str, float]:
    """Return the options of which values between two others are worth trying, and the distance of these values."""
    found = {name: _tries(field).between for name, field in kind.model_fields.items()}
    return {name: distance for name, distance in found.items() if distance}


def tried_in_pairs(kind: type[Options], place: Literal["first", "second"]) -> dict[str, tuple[Any, ...]]:
    """Return the options with values that are worth trying where a method is the first of two, or the second."""
    found = {name: getattr(_tries(field), place) for name, field in kind.model_fields.items()}
    return {name: values for name, values in found.items() if values}


def tried_closer(kind: type[Options]) -> dict[str, tuple[Any, ...]]:
    """Return the options with values that are worth trying for the best of the rates alone."""
    found = {name: _tries(field).closer for name, field in kind.model_fields.items()}
    return {name: values for name, values in found.items() if values}


def _tries(field: FieldInfo) -> Try:
    return next((each for each in field.metadata if isinstance(each, Try)), Try())


def _whole_bytes(size: int) -> int:
    if size % 8:
        raise ValueError("give a multiple of 8, or 0 for whole rows")
    return size


Bits: TypeAlias = Annotated[int, Field(ge=1, le=8, description="bits a weight")]

GroupSize: TypeAlias = Annotated[
    int,
    Field(ge=0, description="weights of a row that share a scale, a multiple of 8; 0: the whole row"),
    AfterValidator(_whole_bytes),
]

ScaleType: TypeAlias = Annotated[
    Literal["float16", "float32"],
    Field(description="how scales are stored; float32 is taken where float16 is too narrow"),
]

Share: TypeAlias = Annotated[
    bool, Field(description="one table of values for all sites (of the same block), scaled to each")
]

Huffman: TypeAlias = Annotated[
    bool,
    Try(second=(True,), closer=(True,)),
    Field(description="store indices Huffman coded where that is smaller; decoded when a session loads"),
]


def flag(option: str) -> str:
    """Return an option as it is written on the command line."""
    return "--" + option.replace("_", "-")


def refuse_clashes(options: Mapping[str, type[Options]]) -> None:
    """Refuse an option that two methods have under one name and declare differently.

    Type, default, bounds and description have to be the same; values worth trying may differ.

    Raises:
        RuntimeError: There is one; the message names it, both methods, and what differs.
    """
    first: dict[str, tuple[str, dict[str, str]]] = {}
    for method, kind in options.items():
        for name, field in kind.model_fields.items():
            facts = _facts(field)
            # The first method that has an option declares it; later ones are compared with that.
            owner, known = first.setdefault(name, (method, facts))
            differing = [f"{fact} {known[fact]} and {facts[fact]}" for fact in facts if facts[fact] != known[fact]]
            if differing:
                raise RuntimeError(
                    f"methods {owner} and {method} declare {flag(name)} differently ({'; '.join(differing)}): an "
                    "option has one meaning, so share its declaration (dtc.passes.options) or choose another name"
                )


def _facts(field: FieldInfo) -> dict[str, str]:
    """Return what a user can tell an option by, in words that can be compared and shown."""
    bounds = sorted(repr(each) for each in field.metadata if not isinstance(each, Try))
    return {
        "type": field.annotation.__name__ if isinstance(field.annotation, type) else str(field.annotation),
        "default": "none, it is required" if field.is_required() else repr(field.default),
        "bounds": ", ".join(bounds) or "none",
        "description": repr(field.description),
    }
