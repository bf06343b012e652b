"""A MetaGraph for the scan: which nodes a run can reach, and where the value of a tensor comes from.

Only protocol buffers are read; nothing is computed. A `NodeRef` is the name of a function, or None for the main graph, and the
name of a node or tensor in it.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
"""Operations whose inputs are, in order, the arguments of the function that they call."""

MAX_STEPS = 1_000_000
"""Limit of all searches for origins together, in tensors visited. Ordinary models take some hundreds. A model exceeds the limit
if thousands of calls pass tensors to functions that use them in thousands of places."""

NodeRef: TypeAlias = tuple[str | None, str]


@dataclass(frozen=True)
class Scope:
    """The main graph, or the body of a function."""

    function: str | None
    nodes: dict[str, Any]
    arguments: Mapping[str, int] = field(default_factory=dict)
    """Name of each argument of the function → its position."""
    one_tensor_each: bool = True
    """Whether every argument is one tensor. A list argument takes several inputs of a call, so that positions do not match."""


class Reachable(NamedTuple):
    """What a run may execute: nodes of the main graph, and all nodes of these functions."""

    nodes: frozenset[str]
    functions: frozenset[str]

    def contains(self, ref: NodeRef) -> bool:
        """Return whether a run may execute the node."""
        function, name = ref
        return name in self.nodes if function is None else function in self.functions


class TooTangledError(ValueError):
    """The search for the origins of tensors takes too long."""


class Graph:
    """A MetaGraphDef with its functions.

    Attributes:
        functions: by name.
        scopes: the functions, and the main graph under None.
        gradients: function → functions that are its gradient.
        interchangeable: function → all functions with the same `api_implements`, of which TensorFlow may run each in its place.
    """

    def __init__(self, meta_graph: Any):
        library = meta_graph.graph_def.library
        self.main = Scope(None, {node.name: node for node in meta_graph.graph_def.node})
        self.functions = {function.signature.name: _function(function) for function in library.function}
        self.scopes: dict[str | None, Scope] = {None: self.main, **self.functions}
        self.gradients: dict[str, list[str]] = defaultdict(list)
        for gradient in library.gradient:
            if gradient.gradient_func in self.functions:
                self.gradients[gradient.function_name].append(gradient.gradient_func)
        self.interchangeable = _interchangeable(library)
        self._replacements = _replacements(self.gradients, self.interchangeable)
        self._replacing = {name for names in self._replacements.values() for name in names}
        self._steps = 0

    def node(self, ref: NodeRef) -> Any:
        """Return the node that the reference, or its tensor, belongs to; None if there is none."""
        return self.scopes[ref[0]].nodes.get(node_of(ref[1]))

    @cached_property
    def functions_of_node(self) -> dict[NodeRef, set[str]]:
        """For each node the functions that it names, as its operation or in its attributes."""
        return {
            (scope.function, name): self._named_by(node) if self.functions else set()
            for scope in self.scopes.values()
            for name, node in scope.nodes.items()
        }

    def reachable_from(self, tensors: Iterable[str]) -> Reachable:
        """Return what a run that fetches these tensors, or nodes, of the main graph may execute."""
        nodes: set[str] = set()
        functions: set[str] = set()
        todo = [node_of(tensor) for tensor in tensors]
        while todo:
            name = todo.pop()
            node = self.main.nodes.get(name)
            if node is not None and name not in nodes:
                nodes.add(name)
                todo += map(node_of, node.input)
                functions |= self.functions_of_node[None, name]
        waiting = list(functions)
        while waiting:
            new = self._functions_of_function[waiting.pop()] - functions
            functions |= new
            waiting += new
        return Reachable(frozenset(nodes), frozenset(functions))

    def origins(self, ref: NodeRef, through: Collection[str]) -> set[NodeRef]:
        """Return the tensors in which the value of a tensor originates, spelled as `tensor_name` spells them.

        Args:
            ref: a tensor.
            through: operations to follow to all of their inputs. Variables and arguments of functions are followed as well,
                if it is certain what is assigned to them.

        Raises:
            TooTangledError: all calls of this method together took more than MAX_STEPS.
        """
        found: set[NodeRef] = set()
        seen: set[NodeRef] = set()
        todo = [ref]
        while todo:
            function, tensor = todo.pop()
            self.step()
            current = (function, tensor_name(tensor))
            if current in seen:
                continue
            seen.add(current)
            node = self.node(current)
            if node is None:
                sources = self._argument_values(current)
            elif node.op in through:
                sources = [(function, tensor) for tensor in data_inputs(node)]
            elif node.op == "ReadVariableOp":
                sources = self._assigned_values(function, node)
            else:
                sources = None
            if sources is None:
                found.add(current)
            else:
                todo += sources
        return found

    def _named_by(self, node: Any) -> set[str]:
        found = {node.op}
        for value in node.attr.values():
            found.update(functions_in(value))
        return found & self.functions.keys()

    @cached_property
    def _functions_of_function(self) -> dict[str, set[str]]:
        """Function → functions that a call of it may run: named by its nodes, or run in place of it."""
        return {
            name: set(self._replacements.get(name, ())).union(*(self.functions_of_node[name, node] for node in scope.nodes))
            for name, scope in self.functions.items()
        }

    @cached_property
    def _call_sites(self) -> dict[str, list[tuple[str | None, tuple[str, ...]]]]:
        """For each function the callers and their inputs for its arguments; no inputs if these are uncertain."""
        sites: dict[str, list[tuple[str | None, tuple[str, ...]]]] = defaultdict(list)
        for scope in self.scopes.values():
            for node in scope.nodes.values():
                named = self.functions_of_node[scope.function, node.name]
                for function in named:
                    inputs = tuple(data_inputs(node)) if len(named) == 1 and _only_calls(node, function) else ()
                    sites[function].append((scope.function, inputs))
        return sites

    def _argument_values(self, argument: NodeRef) -> list[NodeRef] | None:
        """Return the tensors that all callers pass for an argument of a function; None if that is uncertain."""
        function, name = argument
        scope = self.scopes[function]
        if function is None or function in self._replacing or name not in scope.arguments or not scope.one_tensor_each:
            return None
        position = scope.arguments[name]
        values: list[NodeRef] = []
        for caller, inputs in self._call_sites[function]:
            self.step()
            if position >= len(inputs):
                return None
            values.append((caller, inputs[position]))
        return values

    def _assigned_values(self, function: str | None, read: Any) -> list[NodeRef] | None:
        """Return all tensors that are ever assigned to the variable that `read` reads; None if that is uncertain.

        It is certain if one node of the main graph has the variable's name, and only assignments and reads use its handle.
        """
        handle = self.node((function, next(data_inputs(read), "")))
        if function is not None or handle is None or handle.op != "VarHandleOp":
            return None
        if self._variables[_shared_name(handle)] != 1 or self._variables[None]:
            return None
        assigned: list[NodeRef] = []
        for user in self._users[handle.name]:
            self.step()
            if user.op not in {"AssignVariableOp", "ReadVariableOp", "VarIsInitializedOp"}:
                return None
            if user.op == "AssignVariableOp":
                assigned += [(None, tensor) for tensor in list(data_inputs(user))[1:]]
        return assigned

    def step(self, count: int = 1) -> None:
        """Count steps of a search for origins. Raises TooTangledError beyond MAX_STEPS."""
        self._steps += count
        if self._steps > MAX_STEPS:
            raise TooTangledError("the search for the origins of its tensors takes too long")

    @cached_property
    def _variables(self) -> Counter[bytes | None]:
        """Number of handle nodes by the variable's name at run time; None counts those whose name the caller gives."""
        nodes = (node for scope in self.scopes.values() for node in scope.nodes.values())
        return Counter(_shared_name(node) for node in nodes if node.op == "VarHandleOp")

    @cached_property
    def _users(self) -> dict[str, list[Any]]:
        """For each node of the main graph the nodes that take its outputs as inputs."""
        found: dict[str, list[Any]] = defaultdict(list)
        for node in self.main.nodes.values():
            for tensor in data_inputs(node):
                found[node_of(tensor)].append(node)
        return found


def node_of(tensor: str) -> str:
    """Return the name of the node that a tensor, or a control input, comes from."""
    return tensor.removeprefix("^").partition(":")[0]


def tensor_name(tensor: str) -> str:
    """Return a tensor's name without the optional `:0` of a first output."""
    return tensor.removesuffix(":0")


def data_inputs(node: Any) -> Iterator[str]:
    """Return a node's inputs without the control inputs."""
    return (tensor for tensor in node.input if not tensor.startswith("^"))


def attribute(node: Any, name: str) -> Any:
    """Return an attribute's value, None if the node has none; indexing the map would add an entry to the model."""
    return node.attr.get(name)


def _shared_name(node: Any) -> bytes | None:
    value = attribute(node, "shared_name")
    if value is None:
        return b""
    return bytes(value.s) if value.WhichOneof("value") == "s" else None


def _only_calls(node: Any, function: str) -> bool:
    """Return whether the node names this function only, and passes its inputs to it as the arguments."""
    named = [name for value in node.attr.values() for name in functions_in(value)]
    return named == [function] if node.op in CALLS else node.op == function and not named


def _interchangeable(library: Any) -> dict[str, list[str]]:
    groups: dict[bytes, list[str]] = defaultdict(list)
    for function in library.function:
        interface = attribute(function, "api_implements")
        if interface is not None:
            groups[interface.s].append(function.signature.name)
    return {name: names for names in groups.values() for name in names}


def _replacements(gradients: Mapping[str, list[str]], interchangeable: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Function → functions that TensorFlow may run in place of it: its gradient, and one with the same interface.

    TensorFlow replaces a function by another with the same `api_implements` that prefers the device of the call. Such functions
    form a ring here, so that each of them leads to all the others.
    """
    found: dict[str, list[str]] = defaultdict(list, {function: list(names) for function, names in gradients.items()})
    for names in {names[0]: names for names in interchangeable.values()}.values():
        for name, other in zip(names, [*names[1:], names[0]], strict=True):
            if other != name:
                found[name].append(other)
    return found


def _function(function: Any) -> Scope:
    arguments = function.signature.input_arg
    return Scope(
        function.signature.name,
        {node.name: node for node in function.node_def},
        {argument.name: position for position, argument in enumerate(arguments)},
        not any(argument.number_attr or argument.type_list_attr for argument in arguments),
    )


def values_in(value: Any) -> Iterator[Any]:
    """Return an attribute's value, and the values that it passes to the functions that it names."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        yield value
        for function in _functions_of_value(value):
            waiting += function.attr.values()


def functions_in(value: Any) -> Iterator[str]:
    """Return the functions that an attribute's value names, also as values that are passed to functions."""
    return (function.name for passed in values_in(value) for function in _functions_of_value(passed))


def _functions_of_value(value: Any) -> Sequence[Any]:
    kind = value.WhichOneof("value")
    named: Sequence[Any] = [value.func] if kind == "func" else value.list.func if kind == "list" else ()
    return named
