"""What is written as C: tensors in memory, and calls of kernels on them, in order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from dtc.deploy.codegen.weights.stored import StoredWeight

AnyArray: TypeAlias = npt.NDArray[np.generic]

C_TYPES: Mapping[ir.DataType, str] = {
    ir.DataType.FLOAT: "float",
    ir.DataType.INT64: "int64_t",
    ir.DataType.INT32: "int32_t",
    ir.DataType.BOOL: "bool",
}
"""The types of numbers that the kernels take; the words before `_t` are in the kernels' names."""

C_BYTES: Mapping[str, int] = {"float": 4, "int64_t": 8, "int32_t": 4, "bool": 1}


@dataclass(eq=False)
class Tensor:
    """Numbers in memory when the program runs.

    Attributes:
        name: Of the value in the model.
        ctype: Of a number.
        shape: Sizes; all are known.
        base: The tensor whose memory this one is a part of; None where it has memory of its own.
        offset: Where in the memory of `base` it begins, in numbers, as a C expression.
        place: A C expression of where it begins; of a tensor with a base, and before memory is planned: empty.
        array: Its numbers, of a constant.
    """

    name: str
    ctype: str
    shape: tuple[int, ...]
    base: Tensor | None = None
    offset: str = "0"
    place: str = ""
    array: AnyArray | None = None

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def word(self) -> str:
        """The word for its type in the names of kernels."""
        return self.ctype.removesuffix("_t")

    @property
    def root(self) -> Tensor:
        """The tensor whose memory this one lies in."""
        tensor = self
        while tensor.base is not None:
            tensor = tensor.base
        return tensor

    @property
    def expression(self) -> str:
        """A C expression of where it begins, once all memory is planned."""
        if self.base is None:
            return self.place
        return self.base.expression if self.offset == "0" else f"{self.base.expression} + {self.offset}"


@dataclass(frozen=True, eq=False)
class Struct:
    """A constant of a kernel's own type: numbers, lists of numbers and truth values by member."""

    ctype: str
    members: Mapping[str, object]


Argument: TypeAlias = Tensor | Struct | StoredWeight | int | float | str | None
"""Of a call: None is NULL, a string stands as it is."""


@dataclass(eq=False)
class KernelCall:
    """A call of a kernel.

    Attributes:
        function: The kernel's name.
        arguments: In order.
        node: Of the model, for a comment.
        over: The tensor that the result may be written over, number by number.
        multiply_adds: How many products of two numbers it adds up.
    """

    function: str
    arguments: Sequence[Argument]
    node: str
    over: Tensor | None = None
    multiply_adds: int = 0

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors that it reads and writes."""
        return [each for each in self.arguments if isinstance(each, Tensor)]


@dataclass(eq=False)
class Loop:
    """Steps that are repeated; within, `variable` counts from 0."""

    variable: str
    count: int
    body: list[Step] = field(default_factory=list)


Step: TypeAlias = KernelCall | Loop


@dataclass(frozen=True, eq=False)
class CProgram:
    """A model as calls of kernels.

    Attributes:
        inputs: In the model's order.
        outputs: Likewise; memory that the caller gives.
        steps: In order.
    """

    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    steps: Sequence[Step]

    @property
    def multiply_adds(self) -> int:
        """How many products of two numbers a run adds up."""
        return sum(times * call.multiply_adds for call, times in calls(self.steps))

    @property
    def weights(self) -> list[StoredWeight]:
        """The weights that its calls take, each once."""
        found = [each for call, _ in calls(self.steps) for each in call.arguments if isinstance(each, StoredWeight)]
        return list(dict.fromkeys(found))

    @property
    def constants(self) -> list[Tensor]:
        """The constant tensors that its calls read, each once."""
        found = [each.root for call, _ in calls(self.steps) for each in call.arguments if isinstance(each, Tensor)]
        return [each for each in dict.fromkeys(found) if each.array is not None]


def calls(steps: Sequence[Step], times: int = 1) -> Iterator[tuple[KernelCall, int]]:
    """Yield every call with the number of times that a run makes it."""
    for step in steps:
        if isinstance(step, KernelCall):
            yield step, times
        else:
            yield from calls(step.body, times * step.count)
