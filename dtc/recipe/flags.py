"""How a field of a recipe is set on the command line, declared beside the field."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True)
class Flag:
    """The option of the command line that sets a field; a field without one is set in a recipe file alone.

    Written beside the type: `learning_rate: Annotated[float, Flag("--lr")] = Field(1e-3, ...)`.
    """

    text: str

    @property
    def parameter(self) -> str:
        """Name of the argument of a command that this flag fills: `--lr-factor` fills `lr_factor`."""
        return self.text.removeprefix("--").replace("-", "_")


def flags_of(part: type[BaseModel]) -> dict[str, Flag]:
    """Return the flags of a part of a recipe, by the name of the field that each of them sets."""
    return {
        name: each for name, field in part.model_fields.items() for each in field.metadata if isinstance(each, Flag)
    }
