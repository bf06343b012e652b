"""The serving half of `headserve inspect`: what a server would serve of a version, and whether the scan accepts it.

The version is neither loaded nor run: its file is read, and its signatures are interpreted as the server interprets them.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.errors import ModelLoadError
from service.models.card import read_card
from service.models.discovery import PREDICT
from service.models.scan import Finding
from service.runtime.saved_model import described, read, scanned, serving, signature_specs
from service.types import ModelSpec, SignatureSpec, TensorSpec


def scan(folder: Path) -> int:
    """Print the findings of the scan. Returns 1 if a server would refuse the version unless it is trusted, else 0."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    findings = scanned(read(folder), folder)
    for finding in findings:
        console.print(str(finding))
    if findings:
        console.print(f"{folder}: {len(findings)} found. It is served only if trusted = true for it in models.toml.")
    else:
        console.print(f"{folder}: nothing found. It only computes.")
    return 1 if findings else 0


def served(folder: Path) -> str:
    """Describe as text what a server would serve: heads, keys, inputs, signatures, and what is wrong.

    The folder is a version's, or any with a SavedModel. Raises ModelLoadError if there is no SavedModel or no graph for
    serving, or if a tensor of a signature is sparse or has no dtype.
    """
    folder = folder.absolute()
    saved_model = read(folder)
    meta_graph = serving(saved_model)
    signatures = signature_specs(meta_graph)
    is_version = folder.name.isdigit() and int(folder.name) > 0
    name, version = (folder.parent.name, int(folder.name)) if is_version else (folder.name, 0)
    console = Console()
    with console.capture() as captured:
        console.print(Text(f"{name}, version {version}" if is_version else name, "bold"))
        try:
            card = read_card(folder)
            spec = described(name, version, meta_graph, card)
        except ModelLoadError as error:
            _print_problem(console, f"A server does not load it: {error.message}")
        else:
            console.print(_source(spec, has_card=card is not None), highlight=False, markup=False, soft_wrap=True)
            console.print(_tensors("inputs", spec.inputs))
            console.print(_heads(spec))
        console.print(_signatures(signatures))
        for problem in _problems(folder, is_version, scanned(saved_model, folder)):
            _print_problem(console, problem)
    return captured.get()


def _source(spec: ModelSpec, has_card: bool) -> str:
    """Return which rule of `service.models.discovery` found the heads."""
    signatures = {signature for signature, _ in spec.sources.values()}
    is_split = any(name != key for (_, key), (_, name) in spec.sources.items())
    if has_card:
        return "Heads are read from the model card."
    if signatures == {PREDICT} and is_split:
        return "No model card. Heads are read from the outputs '<head>/<key>' of the signature 'predict'."
    if all("/" in signature for signature in signatures):
        return "No model card. Heads are read from the signatures '<head>/predict'."
    (signature,) = signatures
    return f"No model card. The outputs of the signature {signature!r} are served as one head."


def _problems(folder: Path, is_version: bool, findings: Sequence[Finding]) -> Iterable[str]:
    if not is_version:
        yield (
            f"{folder} is not the folder of a version, so that no server finds it: "
            "move its content to <models>/<name>/<version>, such as models/movies/1."
        )
    if findings:
        more = f"; and {len(findings) - 1} more, which --scan lists" if len(findings) > 1 else ""
        yield (
            "A server loads it only if trusted = true for it in models.toml, "
            f"because it could do more than compute: {findings[0]}{more}."
        )


def _heads(spec: ModelSpec) -> Table:
    table = _table("heads, the first is the default", "head", "key", "dtype", "shape")
    for head in spec.heads:
        for index, key in enumerate(head.keys):
            last = index == len(head.keys) - 1
            table.add_row("" if index else Text(head.name), Text(key.name), key.dtype, _shape(key), end_section=last)
    return table


def _tensors(title: str, tensors: Iterable[TensorSpec]) -> Table:
    table = _table(title, "name", "dtype", "shape")
    for tensor in tensors:
        table.add_row(Text(tensor.name), tensor.dtype, _shape(tensor))
    return table


def _signatures(signatures: Mapping[str, SignatureSpec]) -> Table:
    table = _table("signatures", "signature", "inputs", "outputs")
    for name, signature in signatures.items():
        tensors = (signature.inputs, signature.outputs)
        table.add_row(Text(name), *(Text("\n").join(map(_described, group)) for group in tensors), end_section=True)
    return table


def _described(tensor: TensorSpec) -> Text:
    return Text(f"{tensor.name}: {tensor.dtype} {_shape(tensor)}")


def _shape(tensor: TensorSpec) -> Text:
    if tensor.shape is None:
        return Text("any rank")
    return Text(f"[{', '.join('?' if size < 0 else str(size) for size in tensor.shape)}]")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print_problem(console: Console, problem: str) -> None:
    console.print(Text(problem, "red"), soft_wrap=True)
