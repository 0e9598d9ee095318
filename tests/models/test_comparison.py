"""Files of a model by size and loss: what is lost, and which files no other beats."""

from __future__ import annotations

from pathlib import Path

from dtc.models.reproduce.comparison import SCHEMA, ComparedFile, ComparedModel, Way, front, read_comparisons


def file(words: str, size: int, value: float, way: Way = "one-shot") -> ComparedFile:
    return ComparedFile(words=words, way=way, ratio=1000 / size, value=value)


def comparison(metric: str, value: float, *files: ComparedFile, model: str = "m") -> ComparedModel:
    return ComparedModel(
        schema=SCHEMA,
        model=model,
        command="python -m some.module",
        metric=metric,
        samples="some:samples",
        versions={"dtc": "1", "machine": "a machine"},
        bytes=1000,
        value=value,
        files=files,
    )


def test_points_of_accuracy_and_percent_of_perplexity_are_lost() -> None:
    accuracy, perplexity = (comparison(metric, 0.5) for metric in ("accuracy", "perplexity"))
    worse = file("w", 250, 0.4)
    assert round(accuracy.lost(worse), 9) == 10
    assert round(perplexity.lost(worse), 9) == -20


def test_a_file_that_another_beats_is_not_at_the_front_whichever_command_measured_it() -> None:
    first = comparison("accuracy", 0.9, file("a", 500, 0.90), file("b", 250, 0.85), file("b again", 250, 0.84))
    other = comparison("accuracy", 0.8, file("c", 100, 0.70, "retrained"), file("d", 300, 0.75), file("e", 400, 0.79))
    assert [each.words for _, each in front([first, other])] == ["a", "e", "b", "c"]
    assert front([first])[0][0] is first


def test_what_is_written_is_read_by_model(tmp_path: Path) -> None:
    documents = [comparison("accuracy", 0.9, file("a", 500, 0.9)), comparison("perplexity", 90.0, model="n")]
    paths = [each.write(tmp_path, "one-shot") for each in documents]
    assert [path.name for path in paths] == ["m-one-shot.json", "n-one-shot.json"]
    assert dict(read_comparisons(tmp_path)) == {"m": [documents[0]], "n": [documents[1]]}
