"""The page docs/settings.md, generated from the settings.

`python -m docs.settings_page`, run in the checkout, writes the page.
"""

from pathlib import Path

from service.cli.serve import description, flag, has_opposite
from service.settings import Settings

HEAD = """# Settings of `headserve serve`

A flag overrides an environment variable, which overrides the TOML file of `--config` (or `HEADSERVE_CONFIG`), which overrides
the default. The names below are the keys of the file; a name ends in its unit. The device, batching and served versions of each
model are set in `models.toml`. `headserve serve --print-config` prints the values in use.

An unknown key in the file is an error. An unknown `HEADSERVE_…` variable that resembles a setting is a warning in the log.

| name | flag | environment | default | meaning |
| --- | --- | --- | --- | --- |
"""


def page() -> str:
    """Return the page's text."""
    return HEAD + "".join(map(_row, Settings.model_fields))


def _row(name: str) -> str:
    meaning = description(name).replace("<", "&lt;")
    return f"| `{name}` | {_flags(name)} | `HEADSERVE_{name.upper()}` | {_default(name)} | {meaning} |\n"


def _flags(name: str) -> str:
    option = flag(name)
    off = f", `--no-{option.removeprefix('--')}`" if has_opposite(name) else ""
    return f"`{option}`{off}"


def _default(name: str) -> str:
    setting = Settings.model_fields[name]
    default = None if setting.default_factory is not None else setting.default  # a computed default depends on the machine
    return "" if default in (None, ()) else f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    Path("docs/settings.md").write_text(page())
