import re
from pathlib import Path

import pytest

import service.cli.client
import service.server.rejections  # noqa: F401 - adds its classes to the tree
from service import errors
from service.errors import HeadserveError


def tree(base: type[HeadserveError]) -> list[type[HeadserveError]]:
    return [base, *(below for child in base.__subclasses__() for below in tree(child))]


PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
DOCUMENTED = re.findall(r"(\w+Error) +(\d{3})  (\w+)", PAGE.read_text())


def test_the_page_shows_the_whole_tree():
    """Every class of the module is in the page, with its own status and code."""
    classes = [error for error in tree(HeadserveError) if error.__module__ == errors.__name__]
    assert sorted(DOCUMENTED) == sorted((error.__name__, str(error.status), error.code) for error in classes)


@pytest.mark.parametrize("error", tree(HeadserveError), ids=lambda error: error.__name__)
def test_every_error_has_a_status_and_a_unique_code(error):
    assert "code" in vars(error), "every class has its own code"
    assert "title" in vars(error)
    assert 400 <= error.status < 600
    assert [other.code for other in tree(HeadserveError)].count(error.code) == 1


def test_details_without_a_value_are_left_out():
    assert HeadserveError("x", row=0, input=None).details == {"row": 0}
