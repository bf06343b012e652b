"""The version policy: which versions of a model to serve, and the next step towards that. Pure functions of snapshots.

In place of a version that fails, an older one is served. A version with a label is served as well, so that the label stays
valid when the next version arrives.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from service.lifecycle.served_models import State
from service.models.options import VersionPolicy

Transition: TypeAlias = Literal["availability", "resource"]


class Id(NamedTuple):
    """A version number, and how often that version was replaced or got other options."""

    version: int
    revision: int = 0


@dataclass(frozen=True)
class Snapshot:
    """The facts about one version that decisions are made from.

    Attributes:
        id: the version.
        state: its state.
        failing: the last attempt failed and no later one has succeeded; the version may be loading again.
        due: loading may begin: the folder has settled and, after a failure, the next attempt is due.
    """

    id: Id
    state: State
    failing: bool = False
    due: bool = True


@dataclass(frozen=True)
class Load:
    """Load this version."""

    id: Id


@dataclass(frozen=True)
class Unload:
    """Route no new request to this version, and free its memory after the last running one."""

    id: Id


Action: TypeAlias = Load | Unload


def aspired(
    candidates: Sequence[Snapshot], policy: VersionPolicy, labelled: Collection[int] = (), *, unloaded: bool = False
) -> frozenset[Id]:
    """Return the versions to serve.

    If the policy matches no candidate, which is most likely a typing error, the available versions stay.

    Args:
        candidates: the versions on disk with their present options, and available ones with former options.
        policy: the latest n (default: 1), all, or specific versions.
        labelled: versions that a label points to.
        unloaded: the model is out of service, whatever is on disk.
    """
    if unloaded:
        return frozenset()
    newest_first = sorted(candidates, key=lambda snapshot: snapshot.id, reverse=True)
    if policy.specific is not None:
        chosen = _working(newest_first, policy.specific)
    elif policy.all:
        chosen = _working(newest_first, {snapshot.id.version for snapshot in candidates})
    else:
        chosen = _latest(newest_first, policy.latest or 1)
    chosen |= _working(newest_first, labelled)
    return frozenset(chosen or {snapshot.id for snapshot in candidates if snapshot.state is State.AVAILABLE})


def _latest(newest_first: Iterable[Snapshot], count: int) -> set[Id]:
    """Return the newest versions, until `count` of them do not fail."""
    chosen: set[Id] = set()
    working: set[int] = set()
    for snapshot in newest_first:
        if len(working) < count and snapshot.id.version not in working:
            chosen.add(snapshot.id)
            working |= set() if snapshot.failing else {snapshot.id.version}
    return chosen


def _working(newest_first: Sequence[Snapshot], versions: Collection[int]) -> set[Id]:
    """Return these versions; for each, the revisions from the newest to the first that does not fail."""
    return {
        found
        for version in versions
        for found in _latest((snapshot for snapshot in newest_first if snapshot.id.version == version), 1)
    }


def next_action(snapshots: Sequence[Snapshot], wanted: Collection[Id], transition: Transition) -> Action | None:
    """Return the next step for one model; None if there is nothing to do, or work in progress has to end first.

    `availability` loads first: unwanted versions are unloaded when a wanted one is available and every other wanted one is
    available or fails. `resource` unloads first: nothing is loaded before the memory of unwanted versions is free.
    """
    unwanted = [snapshot.id for snapshot in snapshots if snapshot.state is State.AVAILABLE and snapshot.id not in wanted]
    if unwanted and (transition == "resource" or not wanted or _replaced(snapshots, wanted)):
        return Unload(min(unwanted))
    if transition == "resource" and any(snapshot.state is State.UNLOADING for snapshot in snapshots):
        return None
    pending = [
        snapshot.id
        for snapshot in snapshots
        if snapshot.id in wanted and snapshot.state in {State.START, State.FAILED} and snapshot.due
    ]
    return Load(max(pending)) if pending else None


def _replaced(snapshots: Iterable[Snapshot], wanted: Collection[Id]) -> bool:
    """Whether a wanted version is available, and every other wanted one is available or fails."""
    states = [(snapshot.state is State.AVAILABLE, snapshot.failing) for snapshot in snapshots if snapshot.id in wanted]
    return any(available for available, _ in states) and all(available or failing for available, failing in states)
