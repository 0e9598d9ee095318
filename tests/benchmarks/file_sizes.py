"""Bytes of compressed files, model by model and setting by setting: what a change of the stored forms is worth.

    python tests/benchmarks/file_sizes.py $DTC_DATA/onnx/resnet20_cifar10_derived.onnx $DTC_DATA/onnx/mnist-8.onnx

Nothing is retrained and no data is given; each file passes the check of `dtc compress`.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

import dtc

SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "uniform 8": ("uniform", {"bits": 8}),
    "uniform 4": ("uniform", {"bits": 4}),
    "uniform 4 in groups of 32": ("uniform", {"bits": 4, "group_size": 32}),
    "binary 2": ("binary", {"bits": 2}),
    "binary 4": ("binary", {"bits": 4}),
    "codebook 8": ("codebook", {"codewords": 8, "block": 1}),
    "codebook 16": ("codebook", {"codewords": 16, "block": 1}),
    "codebook 64": ("codebook", {"codewords": 64, "block": 1}),
    "codebook 256x4": ("codebook", {"codewords": 256, "block": 4}),
    "codebook 256x9, shared": ("codebook", {"codewords": 256, "block": 9, "share": True, "codeword_bits": 8}),
}


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--setting", "chosen", multiple=True, type=click.Choice(list(SETTINGS)), help="all, unless some are given"
)
@click.option("--lower", "targets", multiple=True, default=("compute", "standard"), show_default=True)
def main(models: tuple[Path, ...], chosen: tuple[str, ...], targets: tuple[str, ...]) -> None:
    """Print the bytes of each model's file in each setting, for each target."""
    click.echo(f"{'':44}{''.join(f'{target:>12}' for target in targets)}")
    for model in models:
        click.echo(f"{model.name}, {model.stat().st_size} bytes")
        for setting in chosen or SETTINGS:
            sizes = [_size(model, setting, target) for target in targets]
            click.echo(f"  {setting:42}{''.join(f'{size:>12}' for size in sizes)}")


def _size(model: Path, setting: str, target: str) -> str:
    method, options = SETTINGS[setting]
    recipe = dtc.Recipe(rules=(dtc.Rule(method=method, options=options),), lower=target)
    with TemporaryDirectory() as folder:
        output = Path(folder) / "small.onnx"
        try:
            dtc.compress(model, recipe, dtc.Job(output, seconds=0))
        except dtc.DtcError as error:
            return type(error).__name__
        return str(output.stat().st_size)


if __name__ == "__main__":
    main()
