"""`tests/benchmarks/measure_code.py` counts what it says that it counts."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parent / "benchmarks" / "measure_code.py"

BRANCHES = '''
def branches(a, b):
    """A docstring
    of two lines."""
    if a and b:
        return [x for x in a if x]
    return a or b
'''


@pytest.fixture(scope="module")
def code() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure_code", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure_code"] = module  # a dataclass looks for its module there
    spec.loader.exec_module(module)
    return module


def test_a_function_is_measured_without_its_docstring(code: ModuleType) -> None:
    function = ast.parse(BRANCHES).body[0]
    assert code.length(function) == 4
    assert code.complexity(function) == 6  # itself, if, and, comprehension, its if, or
    assert code.arguments(function) == 2


def test_comments_count_where_they_stand_alone_and_behind_code(code: ModuleType) -> None:
    module = code.Module(Path("m.py"), "# one\nx = 1  # two\ny = '# none'\n")
    assert code.comment_lines(module) == (1, 2)


def test_a_passage_is_found_once_however_long_it_is(code: ModuleType) -> None:
    body = "".join(f"x{i} = {i}\n" for i in range(8))
    files = [code.Module(Path(f"{n}.py"), f"{n} = 0\n{body}\n# note\nz{n} = 0\n") for n in "ab"]
    assert code.passages(files) == ["8 lines: a.py:2, b.py:2"]


def test_imports_and_blank_lines_make_no_passage(code: ModuleType) -> None:
    body = "".join(f"import x{i}\n\n" for i in range(8))
    assert code.passages([code.Module(Path(f"{n}.py"), body) for n in "ab"]) == []


def test_names_of_several_classes_and_inner_imports_are_found(code: ModuleType) -> None:
    one = code.Module(Path("a.py"), "class Same: ...\nclass One: ...\n")
    other = code.Module(Path("b.py"), "class Same:\n    def f(self):\n        import os\n")
    assert code.repeated_names([one, other]) == {"Same": ["a.py:1", "b.py:1"]}
    assert code.inner_imports([one, other]) == ["b.py:3"]


def test_a_link_is_not_measured_twice(code: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "passes").mkdir()
    (tmp_path / "dtc").mkdir()
    (tmp_path / "passes" / "m.py").write_text("x = 1\n")
    (tmp_path / "dtc" / "passes").symlink_to(tmp_path / "passes")
    assert [str(module.path) for module in code.modules(tmp_path)] == ["passes/m.py"]
