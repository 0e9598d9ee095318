"""What `deploy.json` tells of files, tensors and versions."""

from __future__ import annotations

import gzip
import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from dtc.bundles.document import DESCRIPTION, BundleDescription, BundleFile, BundleTensor, NamedFile
from dtc.deploy.target import MODEL, deploy_targets
from dtc.document import read_document
from dtc.errors import UsageError
from dtc.graph.signature import TensorSpec


def files_of(folder: Path) -> tuple[BundleFile, ...]:
    """Return what is told of the files of a bundle, the description itself left out."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / DESCRIPTION)
    return tuple(_file(path, path.relative_to(folder).as_posix()) for path in paths)


def named(path: Path) -> NamedFile:
    """Return what is told of a model outside of the bundle."""
    return NamedFile(name=path.name, bytes=path.stat().st_size, sha256=digest(path))


def tensor(spec: TensorSpec) -> BundleTensor:
    """Return what is told of an input or output."""
    return BundleTensor(name=spec.name, dtype=spec.dtype, shape=spec.shape)


def versions() -> dict[str, str]:
    """Return the versions of what makes a bundle."""
    found = {"python": platform.python_version()}
    found |= {module.__name__: module.__version__ for module in (onnx, ir, onnxruntime, np)}
    try:
        return {"dtc": version("dtc")} | found
    except PackageNotFoundError:
        return found


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_description(folder: Path) -> BundleDescription:
    """Read the description of a bundle.

    Raises:
        UsageError: The folder holds none, or one of another version of dtc, or a file that is not as it was written, or
            it names what is no file or target.
    """
    description = read_document(BundleDescription, folder / DESCRIPTION, "bundle")
    if (stranger := _stranger(description)) is not None:
        raise UsageError(f"{folder / DESCRIPTION}: no bundle that this dtc reads ({stranger})")
    for file in description.files:
        path = folder / file.path
        if not path.is_file() or digest(path) != file.sha256:
            what = "is not as dtc wrote it" if path.is_file() else "is missing"
            raise UsageError(f"{path}: {what}; write the bundle again with dtc deploy")
    return description


def _stranger(description: BundleDescription) -> str | None:
    """Return what no description of this dtc holds: a target that there is not, or a file that lies elsewhere."""
    target = deploy_targets().get(description.target)
    if target is None or description.processor not in (target.processors or ("",)):
        return f"target {description.target!r} for processor {description.processor!r}"
    paths = [PurePosixPath(file.path) for file in description.files]
    if PurePosixPath(MODEL) not in paths:
        return f"files without {MODEL}"
    outside = (path for path in paths if path.is_absolute() or ".." in path.parts or not path.name)
    return next((f"file {path.as_posix()!r}" for path in outside), None)


def _file(path: Path, name: str) -> BundleFile:
    content = path.read_bytes()
    digested = hashlib.sha256(content).hexdigest()
    return BundleFile(path=name, bytes=len(content), gzip=len(gzip.compress(content, 6)), sha256=digested)
