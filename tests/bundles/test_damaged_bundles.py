"""Bundles that came to harm, or were made to do some: `dtc deploy --check` says it in a line before anything runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from switched_model import write_switched

from dtc.bundles import deploy

Dtc = Callable[..., tuple[int, str, str]]
MODEL = "model.onnx"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    deploy(write_switched(folder / "switched.onnx"), "portable", folder / "bundle")
    return folder / "bundle"


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def change(bundle: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = bundle / "deploy.json"
    told = json.loads(path.read_text())
    edit(told)
    path.write_text(json.dumps(told))


def named(path: str) -> dict[str, Any]:
    return {"path": path, "bytes": 1, "gzip": 1, "sha256": 64 * "0"}


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda told: told["files"].append(named("../../letter.txt")), "(file '../../letter.txt')"),
        (lambda told: told["files"].append(named("/etc/hostname")), "(file '/etc/hostname')"),
        (lambda told: told["files"].append(named(".")), "(file '.')"),
        (lambda told: told["files"].append(named("a\0b")), "is missing; write the bundle again"),
        (lambda told: told["files"].clear(), "(files without model.onnx)"),
        (lambda told: told.update(target="../web"), "(target '../web' for processor '')"),
        (lambda told: told.update(target="onnxruntime"), "(target 'onnxruntime' for processor '')"),
        (lambda told: told.update(processor="z80"), "(target 'portable' for processor 'z80')"),
        (lambda told: told.update(tolerance=float("inf")), "(tolerance: "),
        (lambda told: told.update(tolerance=-1), "(tolerance: "),
        (lambda told: told.update(more=1), "(more: "),
    ],
)
def test_a_description_that_dtc_does_not_write_is_refused(
    bundle: Path, dtc: Dtc, edit: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    change(bundle, edit)
    status, _, told = dtc("deploy", "--check", bundle)
    assert (status, told.count("\n")) == (2, 1)
    assert complaint in told


@pytest.mark.parametrize("path", [MODEL, "vectors/0.input.0.npy", "vectors/tolerance.txt", "README.md"])
def test_a_file_of_which_a_bit_changed_or_that_is_missing_is_named(bundle: Path, dtc: Dtc, path: str) -> None:
    content = bytearray((bundle / path).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / path).write_bytes(content)
    status, _, told = dtc("deploy", "--check", bundle)
    assert (status, told.count("\n")) == (2, 1)
    assert f"{path}: is not as dtc wrote it" in told
    (bundle / path).unlink()
    assert f"{path}: is missing" in dtc("deploy", "--check", bundle)[2]


def test_files_that_are_not_named_take_no_part(bundle: Path, dtc: Dtc) -> None:
    for name in ("3.input.0.npy", "3.output.0.npy"):
        (bundle / "vectors" / name).write_bytes(b"none of dtc's")
    assert dtc("deploy", "--check", bundle, "--seconds", "0")[0] == 0


def test_a_bundle_that_cannot_be_written_is_checked_all_the_same(
    bundle: Path, dtc: Dtc, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def refused(self: Path, *words: Any, **more: Any) -> int:
        if self.parent == bundle:
            raise OSError(30, "Read-only file system")
        return write(self, *words, **more)

    monkeypatch.setattr(Path, "write_text", refused)
    status, told, _ = dtc("deploy", "--check", bundle, "--seconds", "0")
    assert status == 0
    assert "right" in told
    assert "what came of it cannot be written there (Read-only file system)" in told
