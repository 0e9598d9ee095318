"""A recipe file: what it says, where its mistakes are, and that writing and reading are inverse."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dtc.errors import RecipeError
from dtc.recipe import Data, Objective, Optimizer, Recipe, Rule, Schedule, Training

finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=1e-300, max_value=1e300, exclude_min=True)
words = st.text(max_size=20) | st.sampled_from(
    ["off", "on", "1e-3", "1:30", "null", "~", "=", "<<", "0x1f", "2026-01-01"]
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
globs = st.lists(words, max_size=3).map(tuple)
rules = st.builds(Rule, method=words, options=st.dictionaries(words, plain, max_size=3), include=globs, exclude=globs)
schedules = st.builds(
    Schedule,
    kind=st.sampled_from(["constant", "step", "cosine", "decay"]),
    factor=st.floats(min_value=1e-9, max_value=1),
    every=st.integers(min_value=1),
)
optimizers = st.builds(
    Optimizer,
    kind=st.sampled_from(["sgd", "adam", "adamw"]),
    learning_rate=positive,
    betas=st.tuples(finite, finite),
    clip_norm=st.none() | positive,
)
trainings = st.builds(
    Training,
    epochs=positive,
    steps=st.none() | st.integers(min_value=1),
    optimizer=optimizers,
    schedule=schedules,
    freeze=globs,
)
recipes = st.builds(
    Recipe,
    rules=st.lists(rules, max_size=3).map(tuple),
    objective=st.builds(Objective, output=st.none() | words, carry=st.dictionaries(words, words, max_size=2)),
    data=st.builds(Data, train=words, evaluate=st.none() | words, held_out=st.floats(min_value=0.001, max_value=0.99)),
    training=st.none() | trainings,
    lower=st.sampled_from(["compute", "standard"]),
    seed=st.integers(min_value=0, max_value=2**32 - 1),
)


@settings(max_examples=50, deadline=None)
@given(recipes)
def test_reading_is_the_inverse_of_writing(recipe: Recipe) -> None:
    text = recipe.to_yaml()
    again = Recipe.from_yaml(text)
    assert again == recipe
    assert again.to_yaml() == text


@settings(max_examples=50, deadline=None)
@given(recipes)
def test_a_yaml_1_1_reader_reads_the_same_rules(recipe: Recipe) -> None:
    found = yaml.safe_load(recipe.to_yaml()).get("rules", [])
    assert [(rule["method"], rule.get("options", {})) for rule in found] == [
        (r.method, r.options) for r in recipe.rules
    ]


def test_what_is_written_says_everything_and_is_read_easily() -> None:
    rule = Rule(method="svd", options={"rank": 8, "shared_projection": "off"}, exclude=("fc3*", "head"))
    text = Recipe(rules=(rule,), data=Data(train="a.npz"), training=Training(steps=5)).to_yaml()
    head, _, rest = text.partition("objective:")
    assert head == (
        "format: 1\nrules:\n  - method: svd\n    options:\n      rank: 8\n      shared_projection: 'off'\n"
        "    include: ['*']\n    exclude: [fc3*, head]\n"
    )
    for line in (
        "  steps: 5",
        "  distort_every: 100",
        "    betas: [0.9, 0.999]",
        "    learning_rate: 0.001",
        "seed: 0",
    ):
        assert line in rest.splitlines()
    assert "null" not in text


def test_words_are_words_and_numbers_numbers() -> None:
    recipe = Recipe.from_yaml(
        "rules: [{method: svd, options: {a: off, b: 1e-3, c: 1:30, d: yes, e: true, f: 2026-01-01}}]"
    )
    assert recipe.rules[0].options == {"a": "off", "b": 1e-3, "c": "1:30", "d": "yes", "e": True, "f": "2026-01-01"}


GOOD = """\
rules:
  - method: svd
    options:
      rank: 8
    include: ["fc*"]
data: {train: a.npz}
training:
  optimizer:
    learning_rate: 1e-2
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    include:", "    inclde:", "r.yaml:5:5: rules.0.inclde: no such key; did you mean include?"),
        ("learning_rate:", "learning-rate:", "r.yaml:9:5: training.optimizer.learning-rate: no such key; did you mean"),
        ("training:", "trainig:", "r.yaml:7:1: trainig: no such key; did you mean training?"),
        ("1e-2", "-1", "r.yaml:9:5: training.optimizer.learning_rate: Input should be greater than 0 (given: -1)"),
        ("1e-2", "fast", "r.yaml:9:5: training.optimizer.learning_rate: Input should be a valid number"),
        ("1e-2", "1e999", "r.yaml:9:5: training.optimizer.learning_rate: Input should be a finite number"),
        ("method: svd\n    options", "options", "r.yaml:2:5: rules.0.method: is missing"),
        ("data: {train: a.npz}\n", "", "r.yaml:1:1: retraining needs data"),
        ("train: a.npz", "train: a.npz, train: b.npz", "r.yaml:6:22: 'train' is given twice, first in line 6"),
        ("rank: 8", "rank: 8\n      rank: 9", "r.yaml:5:7: 'rank' is given twice, first in line 4"),
        ("rank: 8", "1: 8", "r.yaml:4:7: a key must be a word"),
        ("rank: 8", "? [a]\n      : 8", "r.yaml:4:9: a key must be a word"),
        ("rank: 8", "rank: !!python/name:os.system x", "r.yaml:4:13: the tag"),
        ("rank: 8", "rank: !!binary aGVsbG8=", "r.yaml:4:13: the tag"),
        ("rank: 8", "rank: " + "9" * 5000, "r.yaml:4:13: not a number that can be read"),
        ("rank: 8", "rank: [8", "r.yaml:5:12: not YAML"),
        ("rank: 8", "rank: *none", "r.yaml:4:13: not YAML (found undefined alias"),
        ("    options:\n      rank: 8\n", "    options: &o\n      rank: *o\n", "nested deeper than 32 levels"),
        ("rules:", "format: 2\nrules:", "r.yaml:1:1: format: Input should be 1 (given: 2)"),
        (GOOD, "- svd\n", "r.yaml:1:1: Input should be a valid dictionary"),
        (GOOD, "--- {}\n--- {}\n", "r.yaml:2:1: not YAML (but found another document)"),
        (GOOD, "a: \x00", "r.yaml: not YAML"),
        (GOOD, "[" * 100_000, "nested deeper than 32 levels"),
        (GOOD, "# " + "x" * (1 << 20), "larger than 1 MiB"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_place(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(RecipeError) as caught:
        Recipe.from_yaml(GOOD.replace(old, new, 1), "r.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("r.yaml:")
    assert "\n" not in str(caught.value)


def test_aliases_are_allowed_and_bounded() -> None:
    recipe = Recipe.from_yaml("rules: [{method: svd, options: &o {rank: 3}}, {method: svd, options: *o}]")
    assert recipe.rules[0].options == recipe.rules[1].options == {"rank": 3}
    laughs = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    with pytest.raises(RecipeError, match="holds more than 20000 values"):
        Recipe.from_yaml(f"a0: &a0 lol\n{laughs}", "r.yaml")


def test_the_place_of_a_value_and_of_a_missing_one() -> None:
    recipe = Recipe.from_yaml(GOOD, "r.yaml")
    assert recipe.place(("rules", 0, "options", "rank")) == "r.yaml:4:7"
    assert recipe.place(("rules", 0, "options", "energy")) == "r.yaml:3:5"
    assert recipe.model_copy(update={"seed": 3}).place(("data", "train")) == "r.yaml:6:8"
    assert Recipe().place(("rules",)) is None


def test_where_a_recipe_came_from_is_no_part_of_it() -> None:
    assert Recipe.from_yaml("seed: 1", "a") == Recipe.from_yaml("\n\nseed: 1", "b") == Recipe(seed=1)
    assert Recipe.from_yaml("", "empty") == Recipe()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", object(), {1: 2}, [{3}]])
def test_options_that_yaml_cannot_hold_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="x: a recipe holds words, finite numbers, lists and mappings"):
        Rule(method="svd", options={"x": value})


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b""])
def test_load_reads_a_file_or_says_why_not(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "r.yaml"
    if content is not None:
        path.write_bytes(content)
    if content == b"":
        assert Recipe.load(path) == Recipe()
        return
    with pytest.raises(RecipeError, match=r"r\.yaml: cannot be read"):
        Recipe.load(path)
