"""Processors that bundles for ONNX Runtime are for: this machine's, and others by cross-compiler and emulator."""

from __future__ import annotations

import platform
import shutil
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

import dtc.deploy
from dtc.cores import cores
from dtc.deploy.programs import MissingError, ProgramError, require_program, run_program
from dtc.errors import LibraryError
from dtc.scratch import scratch_folder

_EMULATED_RUNTIME = "1.23.2"
"""The ONNX Runtime that is run in emulation: qemu 7.2 dies in 1.30 and 1.31."""

_BUILD_LIMIT = 3600.0
"""Seconds for compiling the native library, which takes minutes on one core."""


@dataclass(frozen=True)
class Processor:
    """A processor under Linux.

    Attributes:
        name: On the command line.
        compilers: Prefix of the cross-compilers' names.
        emulator: The program that runs its programs elsewhere.
        wheel: How pip calls the platform.
    """

    name: str
    compilers: str
    emulator: str
    wheel: str

    def cross_compiling(self) -> list[str]:
        """Return the options of CMake that make it build for the processor; none on the processor itself.

        Raises:
            MissingError: There is no such compiler.
        """
        for program in ("cmake", "make"):
            require_program([program], f"apt install {program}")
        if self.name == HOST:
            require_program(["c++"], "apt install g++")
            return []
        compiler = require_program([f"{self.compilers}-g++"], f"apt install g++-{self.compilers}")
        return [
            "-DCMAKE_SYSTEM_NAME=Linux",
            f"-DCMAKE_SYSTEM_PROCESSOR={self.wheel}",
            f"-DCMAKE_C_COMPILER={compiler.removesuffix('g++')}gcc",
            f"-DCMAKE_CXX_COMPILER={compiler}",
        ]

    def running(self) -> list[str]:
        """Return the words before a command that run it; none on the processor itself.

        Raises:
            MissingError: There is no emulator.
        """
        if self.name == HOST:
            return []
        return [require_program([self.emulator], "apt install qemu-user"), "-L", f"/usr/{self.compilers}"]

    def build_library(self, into: Path) -> None:
        """Build the native library into a folder by a cross-compiler, from the sources that come with dtc.

        Raises:
            LibraryError: There is no compiler, or it fails.
        """
        sources = Path(dtc.deploy.__file__).parent / "native"
        try:
            options = self.cross_compiling()
            with scratch_folder() as build:
                run_program(["cmake", "-S", sources, "-B", build, *options], build)
                compiling = ["cmake", "--build", ".", "--target", "dtc_ops", "-j", str(cores())]
                run_program(compiling, build, limit=_BUILD_LIMIT)
                shutil.copyfile(build / "libdtc_ops.so", into / "libdtc_ops.so")
        except (MissingError, ProgramError) as error:
            mend = "or name a library that is built already: --library FILE"
            raise LibraryError(
                f"--processor {self.name}: its native library cannot be built: {error}; {mend}"
            ) from error

    def runtime(self, scratch: Path) -> Path:
        """Return the folder of an ONNX Runtime for the processor: this machine's own, or one that pip fetches.

        Raises:
            MissingError: pip does not find one.
        """
        if self.name == HOST:
            return Path(onnxruntime.__file__).parent / "capi"
        folder = scratch / "onnxruntime" / "capi"
        if folder.is_dir():
            return folder
        wheel = f"onnxruntime=={_EMULATED_RUNTIME}"
        options = ["--no-deps", "--only-binary=:all:", "--platform", f"manylinux_2_28_{self.wheel}"]
        try:
            run_program([sys.executable, "-m", "pip", "download", "-q", *options, "-d", scratch, wheel], scratch)
        except ProgramError as error:
            raise MissingError(
                f"ONNX Runtime for {self.name} is missing: pip download {wheel} fails ({error})"
            ) from error
        for file in scratch.glob("*.whl"):
            with zipfile.ZipFile(file) as archive:
                archive.extractall(scratch)
        return folder


_MACHINES = {"x86_64": "x86-64", "amd64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64"}

HOST = _MACHINES.get(platform.machine().lower(), platform.machine())
"""The processor of this machine."""

PROCESSORS: Mapping[str, Processor] = {
    each.name: each
    for each in (
        Processor("x86-64", "x86_64-linux-gnu", "qemu-x86_64", "x86_64"),
        Processor("aarch64", "aarch64-linux-gnu", "qemu-aarch64", "aarch64"),
    )
}
