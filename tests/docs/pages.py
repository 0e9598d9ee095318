"""The code blocks of the README and of the pages in docs/, and what a reader would do with them.

    ```sh        a command a line, run one after another in one folder a page
    ```python    executed, in one namespace a page; with a first line `# file: NAME` written to that file instead
    others       written to the file that their first line names

A block of commands that no test can run begins with a line that says why, one of `NOT_RUN`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

NOT_RUN = {
    "# run by .ci/run",
    "# run by a test",
    "# not run: needs hours",
    "# not run: needs the folder of DTC_DATA, and minutes to hours",
    "# not run: needs CMake and a C++ compiler",
    "# not run: needs four GPUs",
}

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# file: (\S+)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, and its text."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """Name of the file that the block is to be written to."""
        found = _FILE.match(self.text)
        return found and found.group(1)

    @property
    def excuse(self) -> str | None:
        """Why the commands of the block are not run."""
        first = self.text.partition("\n")[0]
        return first if first.startswith("#") else None

    def commands(self) -> Iterator[str]:
        """Yield the commands, each on one line."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith("#"):
                yield " ".join(line.split())


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that have a language."""
    return [Block(language, text) for language, text in _FENCE.findall(page.read_text(encoding="utf-8"))]


def name(page: Path) -> str:
    """Return the page's path in the repository."""
    return page.relative_to(ROOT).as_posix()
