"""The examples of the documentation and of the docstrings of `heads` are run; links within the repository lead somewhere."""

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import heads

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "docker", "docs", "examples", "heads", "service", "tests")


class Block(NamedTuple):
    """A fenced block of Python in a page, and the line of the page that it starts on."""

    line: int
    code: str


def blocks(text: str) -> list[Block]:
    """Blocks that open with exactly ```python; those marked `no-run` are left out."""
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


def pages() -> list[Any]:
    found = []
    for path in sorted((ROOT / "docs").rglob("*.md")):
        code = "".join(block.code for block in blocks(path.read_text()))
        marks = [pytest.mark.train] if "estimator" in code.lower() else []
        found += [pytest.param(path, id=str(path.relative_to(ROOT)), marks=marks)] if code else []
    return found


@pytest.mark.parametrize("path", pages())
def test_page(path: Path) -> None:
    namespace: dict[str, Any] = {"__name__": path.stem}
    for block in blocks(path.read_text()):
        # Blank lines in front make a traceback name the line of the page.
        exec(compile("\n" * (block.line - 1) + block.code, str(path), "exec"), namespace)


def modules() -> list[Any]:
    found = []
    for path in sorted((ROOT / "heads").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        marks = [pytest.mark.train] if name.startswith(("heads.estimator", "heads.training", "heads.cli")) else []
        found += [pytest.param(name, id=name, marks=marks)] if ">>>" in path.read_text() else []
    return found


@pytest.mark.parametrize("name", modules())
def test_docstrings(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0


@pytest.mark.parametrize("name", [name for name in heads.__all__ if name.endswith(("Head", "Wrapper"))])
def test_every_head_has_an_example_and_a_page(name: str) -> None:
    head = getattr(heads, name)
    if not inspect.isabstract(head):
        assert ">>>" in head.__doc__
        titles = [path.read_text().splitlines()[0] for path in (ROOT / "docs" / "heads").glob("*.md")]
        assert any(re.search(rf"\b{name}\b", title) for title in titles)


def tracked_pages() -> list[Any]:
    """Every page of the repository; none of those that environments and builds bring."""
    found = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))]
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in sorted(found)]


def links(text: str) -> list[str]:
    """Where the page's links lead, except for those to other sites; blocks of code have none."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"[a-z]+:", link)]


def anchors(text: str) -> set[str]:
    """What links can name of a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(path: Path) -> list[str]:
    """The links of the page that lead nowhere."""
    found = []
    for link in links(path.read_text()):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            found.append(link)
    return found


@pytest.mark.parametrize("path", tracked_pages())
def test_links_lead_somewhere(path: Path) -> None:
    assert broken(path) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A b\n[1](nix.md) [2](#a-b) [3](#nix) [4](page.md#a-b) [5](https://a.example/)\n```\n[6](nix)\n```\n")
    assert broken(page) == ["nix.md", "#nix"]
