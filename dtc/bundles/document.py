"""`deploy.json`, which says what a bundle is and what ran where, and what `dtc deploy --check` prints."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from dtc.deploy.programs import ProgramReport
from dtc.document import Document, DocumentPart, Real

DESCRIPTION = "deploy.json"


class BundleFile(DocumentPart):
    """A file of a bundle: its path within, its bytes as they are and by gzip, and the SHA-256 of its content."""

    path: str
    bytes: int
    gzip: int
    sha256: str


class NamedFile(DocumentPart):
    """A model that a bundle was made of, or compared with: its name, bytes and SHA-256."""

    name: str
    bytes: int
    sha256: str


class BundleTensor(DocumentPart):
    """An input or output of a bundle's model; a size without a number is free."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


class RunOutcome(DocumentPart):
    """What came of running a bundle in one way.

    Attributes:
        name: The way: Python, C, Node.
        outcome: `missing` where something for it is not on the machine.
        reason: Why it is not right, in words.
        found: What the program found; the smallest times of its runs.
        machine: Processor and system.
    """

    name: str
    outcome: Literal["right", "wrong", "failed", "missing"]
    reason: str = ""
    found: ProgramReport | None = None
    machine: str


class BundleDescription(Document):
    """What `deploy.json` holds.

    Attributes:
        target: Its name.
        processor: What it is for; empty where it is the same for all.
        source: The model that was deployed.
        fixed: Inputs that were fixed and folded into the model.
        pinned: Packages that the bundle names by version.
        versions: Of what made it.
        tolerance: Largest relative L2 of an output from a test vector that is right.
        cases: The number of test vectors.
        error: Relative L2 of the outputs of the bundle's model from those of the source, in ONNX Runtime, by output.
        reference: The model that `from_reference` compares with.
        from_reference: Relative L2 of the outputs of the source from those of the reference, by output.
        figures: What the target counts, such as bytes of memory and products of a run.
        notes: What a user should know, in sentences.
        files: All others of the bundle.
        ran: What ran where.
    """

    schema_: Literal["dtc-bundle/1"] = Field("dtc-bundle/1", alias="schema")
    target: str
    processor: str = ""
    source: NamedFile
    fixed: dict[str, Any] = Field(default_factory=dict)
    pinned: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str]
    inputs: tuple[BundleTensor, ...]
    outputs: tuple[BundleTensor, ...]
    tolerance: float = Field(gt=0, lt=1)
    cases: int
    error: dict[str, Real]
    reference: NamedFile | None = None
    from_reference: dict[str, Real] = Field(default_factory=dict)
    figures: dict[str, int] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: tuple[BundleFile, ...]
    ran: tuple[RunOutcome, ...] = ()

    def file(self, path: str) -> BundleFile:
        """Return what is told of one file."""
        return next(file for file in self.files if file.path == path)

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def gzip(self) -> int:
        """Bytes of all files, each by gzip."""
        return sum(file.gzip for file in self.files)


class CheckedBundle(DocumentPart):
    """A bundle that was checked: its folder, its sizes, and what came of each way to run it."""

    folder: str
    target: str
    model_bytes: int
    model_gzip: int
    bundle_bytes: int
    bundle_gzip: int
    runs: tuple[RunOutcome, ...]


class BundleCheck(Document):
    """What `dtc deploy --check --json` prints.

    Attributes:
        bundle: The bundle.
        beside: The one that it was measured beside, in turns, in the same run.
        failures: What is wrong, in words.
        notes: What else a user should know.
    """

    schema_: Literal["dtc-bundle-check/1"] = Field("dtc-bundle-check/1", alias="schema")
    bundle: CheckedBundle
    beside: CheckedBundle | None = None
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
