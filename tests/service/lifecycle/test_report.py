from dataclasses import replace

import pytest

from service.lifecycle.report import Reporter, incompatible_changes
from service.lifecycle.served_models import Problem
from service.types import HeadSpec, InputSpec, ModelSpec, TensorSpec

YEAR, TITLE = InputSpec("year", "int64", (-1,)), InputSpec("title", "string", (-1,))
GENRES = HeadSpec("genres", (TensorSpec("probabilities", "float32", (-1, 7)), TensorSpec("classes", "string", (-1, 7))))
RATING = HeadSpec("rating", (TensorSpec("predictions", "float32", (-1, 1)),))
SPEC = ModelSpec("films", 1, (YEAR, TITLE), (GENRES, RATING), signatures={}, example={})


@pytest.mark.parametrize(
    ("changed", "changes"),
    [
        pytest.param({"version": 2}, [], id="none"),
        pytest.param({"inputs": (TITLE, YEAR)}, [], id="another order"),
        pytest.param({"heads": (RATING, HeadSpec("age", ()), GENRES)}, [], id="new head"),
        pytest.param({"inputs": (YEAR,)}, ["input 'title' is missing"], id="missing input"),
        pytest.param(
            {"inputs": (YEAR, TITLE, InputSpec("budget", "float32", (-1,)))},
            ["input 'budget' is new and required"],
            id="new input",
        ),
        pytest.param(
            {"inputs": (YEAR, TITLE, InputSpec("budget", "float32", (-1,), required=False, missing=0))},
            [],
            id="new optional input",
        ),
        pytest.param(
            {"inputs": (InputSpec("year", "float32", None), TITLE)},
            ["input 'year' was int64 [-1] and is float32 of any shape"],
            id="input of another type",
        ),
        pytest.param({"heads": (RATING,)}, ["head 'genres' is missing"], id="missing head"),
        pytest.param(
            {"heads": (HeadSpec("genres", GENRES.keys[:1]), RATING)}, ["key 'genres/classes' is missing"], id="missing key"
        ),
        pytest.param(
            {"heads": (HeadSpec("genres", (TensorSpec("probabilities", "float32", (-1, 8)), GENRES.keys[1])), RATING)},
            ["key 'genres/probabilities' was float32 [-1, 7] and is float32 [-1, 8]"],
            id="key of another shape",
        ),
    ],
)
def test_incompatible_changes(changed, changes):
    assert incompatible_changes(SPEC, replace(SPEC, **changed)) == changes


def test_a_problem_is_logged_once_while_it_lasts(logged):
    reporter = Reporter()
    folder, options = Problem("folder", "a", "misplaced", folder="a"), Problem("options", "b", "no such model")
    failed = Problem("version", "c", "Version 2 failed: no", version=2)
    for problems in ([folder, failed], [folder, options], [options], [options, folder]):
        reporter.problems(problems)
    assert [(line["event"], line["model"], line["problem"]) for line in logged] == [
        ("folder not served", "a", "misplaced"),
        ("configuration not satisfied", "b", "no such model"),
        ("folder not served", "a", "misplaced"),
    ]
