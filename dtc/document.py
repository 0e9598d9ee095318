"""Documents: what a command prints as JSON or leaves in a file, declared once.

A document is validated when it is made and when it is read back. Its `schema` names the command and a version, so that
a program which reads it knows what it has. Numbers that are not finite are null in JSON.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dtc.errors import UsageError


def _or_nan(value: Any) -> Any:
    return math.nan if value is None else value


Real: TypeAlias = Annotated[float, BeforeValidator(_or_nan)]
"""A number that need not be finite; read back from null it is NaN."""

_NOT_ASCII = re.compile(r"[^ -~\n]")


class DocumentPart(BaseModel):
    """A part of a document; it never changes, and has no keys but those that it declares."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Document(DocumentPart):
    """A whole document; each kind declares the one `schema` that it has."""

    schema_: str = Field(alias="schema")

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the document as JSON; with `indent`, on lines for people.

        What a terminal would obey, as names from a file may hold, is escaped.
        """
        return _NOT_ASCII.sub(_escaped, self.model_dump_json(by_alias=True, indent=indent))


Read = TypeVar("Read", bound=Document)


def read_document(kind: type[Read], path: Path, called: str) -> Read:
    """Read a document from a file; `called` is what messages call one of its kind.

    Raises:
        UsageError: There is none, or it is none of this version.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        # Of a page of errors the first is enough: a document of another version fails at many places.
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: no {called} that this dtc reads ({place or 'file'}: {first['msg']})") from error


def _escaped(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]
