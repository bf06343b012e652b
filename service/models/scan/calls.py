"""Calls between the functions of a graph: none may lead back to its caller, and their depth and number are limited.

TensorFlow follows calls by recursion and without a limit when it imports a graph. A function that calls itself, or a chain of
10,000 calls, overflows the stack, which ends the process. If each function of a chain calls the next one twice, the time
doubles with each of them.
"""

from collections import Counter
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple, TypeAlias

from service.models.scan.findings import MAX_LISTED, Finding, shown
from service.models.scan.graph import Graph

MAX_DEPTH = 100
"""Limit of calls within calls. Ordinary models have up to 10. A chain of 100 takes TensorFlow a second, 1,000 take minutes."""
MAX_NODES = 1_000_000
"""Limit of nodes if every call is replaced by the nodes of its function. TensorFlow imports some 100,000 per second."""


class _Kind(Enum):
    FUNCTION = auto()
    GRADIENT = auto()
    INTERFACE = auto()


_Callee: TypeAlias = tuple[_Kind, str | None]
"""A function, its gradient, or any of the functions with the same interface as it. The main graph is the function None."""


class _Size(NamedTuple):
    nodes: int
    depth: int


def findings(graph: Graph) -> Iterator[Finding]:
    """Return a function that calls itself, or that calls are too deep or too many; at most one finding of each kind."""
    calls = {(_Kind.FUNCTION, name): _calls_of(graph, (_Kind.FUNCTION, name)) for name in graph.scopes}
    sizes: dict[_Callee, _Size] = {}
    for root in list(calls):
        path = {} if root in sizes else {root: iter(calls[root])}  # the callers, each with its calls that are not followed yet
        while path:
            caller, waiting = next(reversed(path.items()))
            callee = next(waiting, None)
            if callee is None:
                sizes[caller] = _size(graph, caller, calls[caller], sizes)
                path.popitem()
            elif callee in path:
                yield _cycle(list(path), callee)
                return
            elif callee not in sizes:
                if callee not in calls:
                    calls[callee] = _calls_of(graph, callee)
                path[callee] = iter(calls[callee])
    if max(size.depth for size in sizes.values()) > MAX_DEPTH:
        yield Finding("a chain of calls of functions", f"is longer than {MAX_DEPTH}")
    if max(size.nodes for size in sizes.values()) > MAX_NODES:
        yield Finding("the graph", f"has more than {MAX_NODES:,} nodes if every call is replaced by the function's nodes")


def _calls_of(graph: Graph, caller: _Callee) -> Counter[_Callee]:
    """Return what a function, a gradient or an interface may call, each with the number of nodes that call it."""
    kind, name = caller
    if kind is _Kind.INTERFACE:
        return Counter((_Kind.FUNCTION, function) for function in graph.interchangeable[str(name)])
    if kind is _Kind.GRADIENT and name in graph.gradients:
        return Counter(_run(graph, function) for function in graph.gradients[name])
    found: Counter[_Callee] = Counter()
    for node in graph.scopes[name].nodes.values():
        for function in graph.functions_of_node[name, node.name]:
            found[_run(graph, function)] += 1
            if kind is _Kind.GRADIENT or node.op == "SymbolicGradient":
                found[_Kind.GRADIENT, function] += 1
    return found


def _run(graph: Graph, function: str) -> _Callee:
    """Return what TensorFlow may run for a call of the function."""
    names = graph.interchangeable.get(function)
    return (_Kind.FUNCTION, function) if names is None else (_Kind.INTERFACE, names[0])


def _size(graph: Graph, caller: _Callee, calls: Counter[_Callee], sizes: dict[_Callee, _Size]) -> _Size:
    """Return the nodes with those of all calls, at most one more than the limit, and the longest chain of calls."""
    if caller[0] is _Kind.INTERFACE:
        return _Size(*map(max, zip(*(sizes[callee] for callee in calls), strict=True)))
    nodes = len(graph.scopes[caller[1]].nodes) + sum(sizes[callee].nodes * times for callee, times in calls.items())
    return _Size(min(nodes, MAX_NODES + 1), 1 + max((sizes[callee].depth for callee in calls), default=0))


def _cycle(path: list[_Callee], callee: _Callee) -> Finding:
    """Return the finding that the calls of a path lead back to one of its callers."""
    names = [name for kind, name in path[path.index(callee) :] if kind is not _Kind.INTERFACE and name is not None]
    others = f", {len(names) - MAX_LISTED} more functions" if len(names) > MAX_LISTED else ""
    chain = " calls ".join(map(shown, names[:MAX_LISTED]))
    return Finding(f"the function {shown(names[0])}", f"calls itself: {chain}{others} calls {shown(names[0])}")
