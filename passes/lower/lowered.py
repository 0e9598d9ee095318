"""What lowering did: told by whoever did it, so that no report can say something else than the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import onnx_ir as ir

from dtc.forms import Form
from dtc.graph import Reader, Site


@dataclass(frozen=True, eq=False)
class Compressed:
    """A site and the form of each of its matrices: what lowering is given.

    Attributes:
        site: The site.
        forms: One a matrix.
        rounds_inputs: Whether what it is multiplied with may be rounded to 8 bits as it comes.
    """

    site: Site
    forms: tuple[Form, ...]
    rounds_inputs: bool = False


How: TypeAlias = Literal["operator", "rows", "parts", "factors", "terms", "planes", "integers", "decoded"]
"""How a weight stands in the file for a node that reads it.

`operator`: an operator of the domain `dtc` computes on the stored form; `rows`: rows are decoded as they are looked up;
`parts`: a smaller dense product in standard operators (whole lines of zeros); `factors`: two products with the factors;
`terms`: one product a term, and their sum; `planes`: one product an INT2 plane, and their sum; `integers`: integers
of 8 bits, which a runtime multiplies with such; `decoded`: what stands in front of the reader gives it the dense
weight.
"""


@dataclass(frozen=True)
class ReadBy:
    """How one reader of a site gets the weight.

    Attributes:
        node: Name of the reading node, as it was before lowering.
        role: What the node does with the weight.
        how: How the weight stands in the file for it.
        reason: Why, in words with the numbers.
        speed: How many times faster than the dense product it is expected to be; None: not known.
    """

    node: str
    role: str
    how: How
    reason: str
    speed: float | None = None

    @classmethod
    def of(cls, reader: Reader, how: How, reason: str, speed: float | None = None) -> ReadBy:
        """Return how `reader` gets the weight."""
        return cls(reader.node_name, str(reader.role), how, reason, speed)


@dataclass(frozen=True, eq=False)
class Lowered:
    """A site as it stands in the lowered file.

    Attributes:
        site: The site as it was before.
        forms: The forms that were lowered, one a matrix.
        readers: How each node that read the weight gets it now.
        nbytes: Bytes that the site takes in the file: arrays, tables, nodes and their names. What several sites need
            together (tables, functions of operators) is divided among them, so that the numbers of all sites add up to
            the growth of the file.
        stored: The initializers that hold the form, by name; small sites have parts of the same ones.
        caveats: What a user has to be told of this site.
        tolerance: Largest relative L2 difference that this site may make in the outputs, against its dense weight;
            None: that of the target.
        because: Why it is that much, in words.
        shared_bytes: The part of `nbytes` that is the site's share of what several sites need together.
    """

    site: Site
    forms: tuple[Form, ...]
    readers: tuple[ReadBy, ...]
    nbytes: int = 0
    stored: Mapping[str, ir.Value] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()
    tolerance: float | None = None
    because: str = ""
    shared_bytes: int = 0

    @property
    def how(self) -> How:
        """How the site stands in the file: of readers that differ, the first that does not need the dense weight."""
        return next((reader.how for reader in self.readers if reader.how != "decoded"), "decoded")

    @property
    def reason(self) -> str:
        """Why, in words: the reasons of all readers, each once."""
        return "; ".join(dict.fromkeys(reader.reason for reader in self.readers))

    @property
    def speed(self) -> float | None:
        """How many times faster than dense the slowest reader is expected to be; None where one is not known."""
        speeds = [reader.speed for reader in self.readers]
        known = [speed for speed in speeds if speed is not None]
        return min(known) if known and len(known) == len(speeds) else None
