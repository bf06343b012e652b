from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.auth.keys import Key
from service.auth.model_access import AuthorizedManager
from service.errors import (
    InsufficientScopeError,
    ModelLoadError,
    UnauthorizedError,
    UnknownLabelError,
    UnknownModelError,
    UnknownVersionError,
)
from service.inference.request_context import RequestContext, current
from service.lifecycle.manager import Manager
from service.lifecycle.served_models import Problem, ServedModels
from service.protocols.native.paths import NATIVE
from tests.service.lifecycle.conftest import FakeLoader, put
from tests.waiting import GENEROUS_S, until

RESTRICTED = {
    "load": lambda manager: manager.load("a"),
    "demand": lambda manager: manager.demand("a"),
    "unload": lambda manager: manager.unload("a"),
    "options": lambda manager: manager.options("a"),
    "status": lambda manager: manager.status("a"),
    "acquire": lambda manager: manager.acquire("a"),
    "lookup": lambda manager: manager.lookup("a"),
    "served": lambda manager: manager.served,
}
FILTERED = {"statuses", "specs", "models_file", "problems", "loads_on_demand"}
OPEN = {"settled", "draining", "knows"}


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith(("_", "xǁ"))}  # `make mutants` adds members of the second form


def manager_of(folder: Path) -> Manager:
    return Manager(folder, load=lambda *_: pytest.fail("nothing is loaded"))


def result_of(call: Callable[[], Any]) -> Any:
    """The answer, or what the future that is returned holds in the end."""
    answer = call()
    return answer.result(GENEROUS_S) if isinstance(answer, Future) else answer


@contextmanager
def calling_with(models: set[str] | None) -> Iterator[None]:
    """Handle a request whose key is for these models."""
    request = RequestContext("1", {}, NATIVE)
    request.key = Key("1", "k", b"", frozenset({"read"}), None if models is None else frozenset(models))
    token = current.set(request)
    try:
        yield
    finally:
        current.reset(token)


def test_every_member_that_routes_use_is_restricted_filtered_or_open():
    assert public(AuthorizedManager) == public(ServedModels) == RESTRICTED.keys() | FILTERED | OPEN


@pytest.mark.parametrize("name", RESTRICTED)
def test_models_of_others_are_refused(tmp_path, name):
    manager = AuthorizedManager(manager_of(tmp_path))
    with pytest.raises(UnauthorizedError, match=r"^This needs a key\.$"):
        RESTRICTED[name](manager)
    with calling_with({"b"}), pytest.raises(InsufficientScopeError, match=r"not for the model 'a'|for some of them only"):
        RESTRICTED[name](manager)


@pytest.mark.parametrize(
    ("models", "named"),
    [pytest.param({"a"}, "this key is for 'a'", id="restricted"), pytest.param(None, "secret", id="all models")],
)
@pytest.mark.parametrize("name", ["load", "demand", "unload", "options", "status", "acquire", "lookup"])
def test_an_unknown_model_s_error_names_only_models_of_the_key(tmp_path, name, models, named):
    (tmp_path / "secret" / "1").mkdir(parents=True)
    (tmp_path / "secret" / "1" / "saved_model.pb").touch()
    unrestricted = manager_of(tmp_path)
    unrestricted.start()
    try:
        with calling_with(models), pytest.raises(UnknownModelError) as error:
            result_of(lambda: RESTRICTED[name](AuthorizedManager(unrestricted)))
    finally:
        unrestricted.stop()
    assert named in error.value.message
    assert ("secret" in f"{error.value.message} {error.value.details}") == (models is None)
    assert error.value.details == {"model": "a", "expected": ["secret"] if models is None else ["a"]}


@pytest.mark.parametrize("models", [{"a"}, None], ids=["restricted", "all models"])
def test_other_errors_and_answers_stay_as_they_are(tmp_path, models):
    """Version and label reach the manager."""
    put(tmp_path, "a/1", "fail: no")
    unrestricted = Manager(tmp_path, FakeLoader())
    unrestricted.start()
    try:
        until(lambda: unrestricted.settled)
        manager = AuthorizedManager(unrestricted)
        with calling_with(models):
            for find in (manager.acquire, manager.lookup):
                with pytest.raises(UnknownVersionError, match="no version 7"):
                    find("a", 7)
                with pytest.raises(UnknownLabelError, match="no label 'stable'"):
                    find("a", label="stable")
            with pytest.raises(ModelLoadError, match="RuntimeError: no"):
                manager.load("a").result(GENEROUS_S)
            assert manager.unload("a").result(GENEROUS_S) is None
    finally:
        unrestricted.stop()


def test_lists_hold_the_models_of_the_key(tmp_path):
    for name in ("a", "b"):
        put(tmp_path, f"{name}/1")
    unrestricted = Manager(tmp_path, FakeLoader())
    unrestricted.start()
    try:
        until(lambda: unrestricted.settled)
        manager = AuthorizedManager(unrestricted)
        for models, names in (({"b", "c"}, ["b"]), (None, ["a", "b"])):
            with calling_with(models):
                assert sorted(manager.statuses) == sorted(spec.name for spec in manager.specs) == names
                assert [manager.knows(model) for model in ("a", "b", "c")] == [True, True, False]
        assert sorted(manager.statuses) == ["a", "b"]  # a path without a key, whose responses name no model
    finally:
        unrestricted.stop()


@pytest.mark.parametrize(
    ("models", "is_shown"), [pytest.param({"a"}, False, id="restricted"), pytest.param(None, True, id="all models")]
)
def test_only_a_key_for_all_models_sees_the_errors_of_models_toml(tmp_path, models, is_shown):
    """The error may name models of others."""
    (tmp_path / "models.toml").write_text("[models.secret]\nbatch = 'x'\n")
    unrestricted = manager_of(tmp_path)
    unrestricted.start()
    try:
        until(lambda: unrestricted.models_file.error)
        with calling_with(models):
            status = AuthorizedManager(unrestricted).models_file
    finally:
        unrestricted.stop()
    assert status.error
    assert ("secret" in status.error) == is_shown


def test_problems_are_shown_to_keys_of_their_model(tmp_path):
    manager = manager_of(tmp_path)
    misplaced, unknown = Problem("folder", "b", "misplaced", folder="b"), Problem("options", "b", "Did you mean 'secret'?")
    manager.problems = (misplaced, unknown, Problem("version", "a", "Version 1 failed: no", version=1))
    seen = {}
    for models in (None, {"b"}):
        with calling_with(models):
            seen[models is None] = AuthorizedManager(manager).problems
    assert seen == {True: manager.problems, False: (misplaced,)}
