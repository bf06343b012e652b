import pytest

from service.messages import cut, described, did_you_mean, listed


def test_the_closest_name_is_suggested():
    assert did_you_mean("gendres", ["genres", "rating"]) == " Did you mean 'genres'?"
    assert did_you_mean("xyz", ["genres", "rating"]) == ""


def test_long_lists_are_cut():
    assert listed(["a", "b"]) == "'a', 'b'"
    assert listed([]) == "none"
    assert listed(map(str, range(25))).endswith("'19' and 5 more")


def test_long_names_are_cut_and_not_compared():
    assert cut("n" * 80) == "n" * 80
    assert cut("n" * 81) == "n" * 80 + "…"
    assert did_you_mean("n" * 81, ["n" * 80]) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "the number 1.5"),
        ("n" * 41, f"the string '{'n' * 40}'…"),
        ([1, 2], "a list of 2"),
        ({}, "an object with no members"),
        ({"x": 1, "n" * 81: 2}, f"an object with 'x', '{'n' * 80}…'"),
    ],
)
def test_json_values_are_described_briefly(value, text):
    assert described(value) == text
