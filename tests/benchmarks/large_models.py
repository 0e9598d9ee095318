"""Large models: memory and throughput of each method, and what is left when a run is cut off.

    python tests/benchmarks/large_models.py [--gigabytes 1 --gigabytes 10] [--workers 1 --workers 2] [--method NAME]
    python tests/benchmarks/large_models.py --gigabytes 1 --kills 20

Models are made by `dtc.models.transformers`, in a folder of their own below `--scratch`, which is removed at the end.
Throughput is bytes of the model's floats by wall time. Memory is that of all processes of the command, looked at every
0.1 s: `anon` is what they hold themselves, `file` what is mapped from files, which the system takes back at need.
"""

from __future__ import annotations

import hashlib
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import onnx_ir as ir
import onnxruntime
import scipy
from process_tree import Ran, below, run

METHODS: dict[str, tuple[str, ...]] = {
    "prune": ("--sparsity", "0.9"),
    "uniform": ("--bits", "4"),
    "svd": ("--rank", "128"),
    "binary": ("--bits", "2"),
    "codebook": ("--codewords", "16", "--block", "1"),
    "bins": ("--bins", "16"),
    "prune+binary": ("--sparsity", "0.8", "--bits", "2"),
    "svd+uniform": ("--rank", "256", "--bits", "4"),
}
"""The methods that need no data, at usual settings."""

SHORT = ("prune", "uniform")
"""Those that are run where no method is named and a model has more than `LONG_FROM` gigabytes."""

LONG_FROM = 5.0


@dataclass(frozen=True)
class Model:
    """A model made here: its file, and the bytes of all floats and of the largest tensor."""

    path: Path
    floats: int
    largest: int


def make(folder: Path, family: str, gigabytes: float, dtype: str, *, tied: bool) -> Model:
    """Write a model by the command line of `dtc.models.transformers`."""
    path = folder / f"{family}-{gigabytes:g}.onnx"
    options = ["--gigabytes", str(gigabytes), "--dtype", dtype, "--tied" if tied else "--no-tied"]
    made = run([sys.executable, "-m", "dtc.models.transformers", family, "-o", str(path), *options])
    if made.status:
        raise click.ClickException(made.out)
    tensors = [v.const_value for v in ir.load(path).graph.initializers.values() if v.const_value is not None]
    sizes = [tensor.nbytes for tensor in tensors if tensor.dtype.is_floating_point()]
    print(f"{path.name}: {made.out.strip().partition(', ')[2]}, made in {_took(made)}", flush=True)
    return Model(path, sum(sizes), max(sizes))


def compress(model: Model, output: Path, method: str, workers: int, further: Sequence[str]) -> list[str]:
    """Return the command line of one compression."""
    pool = ["--workers", str(workers)] if _knows("--workers") else []
    options = [*METHODS[method], *pool, "--seconds", "0", "--force", *further]
    return [sys.executable, "-m", "dtc", "compress", str(model.path), "-o", str(output), "--method", method, *options]


def measure(model: Model, folder: Path, methods: Sequence[str], workers: Sequence[int], further: Sequence[str]) -> None:
    """Print a row for each method and number of workers, and what was checked."""
    inspected = run([sys.executable, "-m", "dtc", "inspect", str(model.path)])
    print(f"inspect: {_took(inspected)}, {_held(inspected)}\n")
    print(
        "| method | workers | MB/s | MB/s a core | wall | peak memory | anon | file | beside 1 GB, tensors | written |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    checked: dict[str, list[str]] = {}
    for method in methods:
        digests = set()
        for count in workers:
            output = folder / "out" / f"{method}.onnx"
            output.parent.mkdir(exist_ok=True)
            done = run(compress(model, output, method, count, further), environment=_environment(folder))
            if done.status:
                print(f"| {method} | {count} | fails, {_took(done)}: {' '.join(done.out.split()[-60:])} |", flush=True)
                continue
            _print_row(method, count, model, done, _size(output.parent))
            digests.add(_digest(output.parent))
            checked.setdefault(method, _checks(done.out))
            shutil.rmtree(output.parent)
        if len(digests) > 1:
            print(f"| {method} | DIFFERENT BYTES by number of workers |")
    for method, lines in checked.items():
        print(f"\n{method}: " + "; ".join(lines), end="")
    print("\n", flush=True)


def _print_row(method: str, workers: int, model: Model, done: Ran, written: int) -> None:
    peak = done.peak
    beside = max(0.0, peak["VmRSS"] - 1e9) / model.largest
    megabytes = model.floats / 1e6
    print(
        f"| {method} | {workers} | {megabytes / done.seconds:.1f} | {megabytes / done.processor:.1f} | "
        f"{done.seconds:.0f} s | {peak['VmRSS'] / 1e9:.2f} GB | {peak['RssAnon'] / 1e9:.2f} GB | "
        f"{peak['RssFile'] / 1e9:.2f} GB | {beside:.1f} | {written / 1e9:.3f} GB |",
        flush=True,
    )


def _checks(out: str) -> list[str]:
    return [" ".join(line.split()) for line in out.splitlines() if re.search("against|whole|not run|checked", line)]


# Runs that are cut off.


@dataclass(frozen=True)
class Cut:
    """A way to cut a run off: its name, and what happens at a moment of it."""

    name: str
    signal_to: str | None = None
    full_disk: bool = False


CUTS = (
    Cut("killed", "all"),
    Cut("parent killed", "parent"),
    Cut("worker killed", "child"),
    Cut("full disk", full_disk=True),
)


def cut_off(model: Model, folder: Path, output: Path, command: Sequence[str], times: int, seed: int) -> None:
    """Cut runs off at random moments; print for each what is left, and whether the next run gives the same bytes."""
    rng, place = random.Random(seed), output.parent
    place.mkdir()
    whole = run(command, environment=_environment(folder))
    if whole.status:
        raise click.ClickException(whole.out)
    expected, source, wrong = _digest(place), _digest(model.path.parent, model.path.name), 0
    written = max(file.stat().st_size for file in place.iterdir())
    print(f"dtc {' '.join(map(str, command[3:]))}, without a cut: {_took(whole)}\n".replace(f"{folder}/", ""))
    for number in range(times):
        cut = CUTS[number % len(CUTS)]
        after = rng.uniform(0.5, whole.seconds)
        limit = rng.randrange(1, written) if cut.full_disk else None

        def meanwhile(pid: int, cut: Cut = cut, after: float = after) -> None:
            time.sleep(after)
            _kill(pid, cut.signal_to, rng)

        done = run(
            command,
            environment=_environment(folder),
            largest_file=limit,
            meanwhile=None if cut.full_disk else meanwhile,
        )
        kept = _digest(place) == expected  # the older output, which has the same bytes, stands whole
        again = run(command, environment=_environment(folder))
        same, intact = _digest(place) == expected, _digest(model.path.parent, model.path.name) == source
        left = [each.name for each in (folder / "tmp").iterdir()] + sorted(each.name for each in place.glob(".*"))
        moment = f"file of {limit / 1e6:.0f} MB" if limit is not None else f"{after:.1f} s"
        fine = kept and same and intact and not left and not again.status
        wrong += not fine
        print(
            f"{number + 1:3} {cut.name:14} {moment:16} status {done.status:4}; older output "
            f"{'whole' if kept else 'BROKEN'}, next run {'the same bytes' if same else 'OTHER BYTES'}, model "
            f"{'intact' if intact else 'CHANGED'}, left: {', '.join(left) or 'nothing'}{'' if fine else '  <-- WRONG'}",
            flush=True,
        )
    print(f"\n{times - wrong} of {times} as they should be")


def _kill(pid: int, which: str | None, rng: random.Random) -> None:
    children = below(pid)
    chosen = {"all": [pid, *children], "parent": [pid], "child": rng.sample(children, 1) if children else []}
    for each in chosen[which or "all"]:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def _digest(folder: Path, name: str = "") -> str:
    """Return what identifies the names and bytes of a folder's files, those of the scratch folders of dtc left out."""
    found = hashlib.sha256()
    for file in sorted(folder.glob(f"{name}*")):
        if file.is_file() and not file.name.startswith("."):
            found.update(file.name.encode())
            with file.open("rb") as content:
                found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment whose temporary files lie in a folder of their own."""
    (folder / "tmp").mkdir(exist_ok=True)
    return os.environ | {"TMPDIR": str(folder / "tmp")}


def _knows(option: str) -> bool:
    command = [sys.executable, "-m", "dtc", "compress", "--help"]
    return option in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _took(done: Ran) -> str:
    return f"{done.seconds:.1f} s, {done.processor:.1f} s of processor time"


def _held(done: Ran) -> str:
    return ", ".join(f"{field} {nbytes / 1e6:.0f} MB" for field, nbytes in done.peak.items())


@contextmanager
def _scratch(place: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="large-models-", dir=place) as folder:
        yield Path(folder)


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}"
    name = model[1] if model else platform.machine()
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GB, {versions}, ONNX Runtime {onnxruntime.__version__}"


@click.command(help=__doc__)
@click.option("--gigabytes", type=float, multiple=True, default=(1.0, 10.0))
@click.option("--family", type=click.Choice(["gpt2", "llama"]), default="gpt2")
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32")
@click.option("--tied", is_flag=True)
@click.option("--method", "methods", multiple=True, type=click.Choice(list(METHODS)))
@click.option("--workers", type=int, multiple=True, default=(1, 2))
@click.option("--scratch", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--kills", type=int, default=0, help="cut off so many runs instead, of the first size and method")
@click.option("--seed", type=int, default=0)
@click.option("--option", "further", multiple=True, help="a further option of dtc compress, such as --memory=4G")
def main(
    gigabytes: tuple[float, ...],
    family: str,
    dtype: str,
    tied: bool,
    methods: tuple[str, ...],
    workers: tuple[int, ...],
    scratch: Path | None,
    kills: int,
    seed: int,
    further: tuple[str, ...],
) -> None:
    print(f"{_machine()}\n", flush=True)
    workers = workers if _knows("--workers") else workers[:1]
    for size in gigabytes[:1] if kills else gigabytes:
        with _scratch(scratch) as folder:
            (folder / "model").mkdir()
            model = make(folder / "model", family, size, dtype, tied=tied)
            if kills:
                output = folder / "out" / "compressed.onnx"
                command = compress(model, output, (methods or SHORT)[0], max(workers), further)
                cut_off(model, folder, output, command, kills, seed)
            else:
                chosen = methods or (SHORT if size > LONG_FROM else tuple(METHODS))
                measure(model, folder, chosen, workers, further)


if __name__ == "__main__":
    main()
