"""Models of the size and make of today's language models, with drawn weights: to try what size does.

`python -m dtc.models.transformers llama -o llama.onnx --gigabytes 3 --dtype float16` writes one, weight by weight, its
weights into a file beside it. Every option of the family can be given, such as `--attention rotary`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
from pydantic import ValidationError

from dtc.errors import UsageError
from dtc.models.decoder import DecoderOptions
from dtc.models.gpt2 import build_gpt2
from dtc.models.llama import LlamaOptions, build_llama

_WIDTHS = {4.0: 4096, 0.7: 2048, 0.0: 512}
"""Width of layers by the gigabytes of float32 from which on it is taken; a model of 7 billion weights has 4096."""

_HEAD = 128
"""Numbers of a head."""


@dataclass(frozen=True)
class Family:
    """A kind of transformer: its options, and what builds it."""

    options: type[DecoderOptions]
    builder: Callable[[Any], ir.Model]


FAMILIES: Mapping[str, Family] = {
    "gpt2": Family(DecoderOptions, build_gpt2),
    "llama": Family(LlamaOptions, build_llama),
}


def build_transformer(family: str, **options: Any) -> ir.Model:
    """Return a model whose weights are drawn when they are read.

    Raises:
        UsageError: No such family, or an option that it does not have or whose value it refuses.
    """
    if family not in FAMILIES:
        raise UsageError(f"no family is called {family!r}; there are: {', '.join(FAMILIES)}")
    try:
        return FAMILIES[family].builder(FAMILIES[family].options.model_validate(options))
    except ValidationError as error:
        first = error.errors()[0]
        which = f"--{first['loc'][0]} {first['input']}: " if first["loc"] else ""
        raise UsageError(f"{family}: {which}{first['msg'].removeprefix('Value error, ')}") from error


def sizes_for(family: str, gigabytes: float, **options: Any) -> dict[str, Any]:
    """Return the options with the width and the number of layers that come closest to a size of the whole file."""
    as_float32 = gigabytes * (2 if options.get("dtype") == "float16" else 1)
    width = next(width for least, width in _WIDTHS.items() if as_float32 >= least)
    chosen = {"width": width, "heads": width // _HEAD} | options
    one, two = (_bytes(build_transformer(family, **chosen, layers=layers)) for layers in (1, 2))
    return chosen | {"layers": 1 + max(0, round((gigabytes * 1e9 - one) / (two - one)))}


def write(model: ir.Model, path: Path) -> None:
    """Write a model, one weight at a time, its weights into `path` + `.data`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ir.save(model, path, external_data=f"{path.name}.data")


def _bytes(model: ir.Model) -> int:
    tensors = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def main(arguments: list[str]) -> None:
    """Write a model by command line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--gigabytes", type=float, help="size of the whole, by width and layers")
    known = LlamaOptions.model_fields
    for name, field in known.items():
        action = argparse.BooleanOptionalAction if field.annotation is bool else "store"
        parser.add_argument(f"--{name}", help=field.description, default=None, action=action)
    given = parser.parse_args(arguments)
    options = {name: value for name in known if (value := getattr(given, name)) is not None}
    try:
        if given.gigabytes is not None:
            options = sizes_for(given.family, given.gigabytes, **options)
        model = build_transformer(given.family, **options)
    except UsageError as error:
        parser.error(str(error))
    write(model, given.output)
    sys.stdout.write(f"written: {given.output}, {_bytes(model) / 1e9:.2f} GB, {options}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
