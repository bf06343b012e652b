import pytest

from service.lifecycle.policy import Id, Load, Snapshot, Unload, aspired, next_action
from service.lifecycle.served_models import State
from service.models.options import VersionPolicy

START, LOADING, WARMING, AVAILABLE = State.START, State.LOADING, State.WARMING, State.AVAILABLE
UNLOADING, END, FAILED = State.UNLOADING, State.END, State.FAILED
LATEST = VersionPolicy()


def snapshots(**states):
    """`v3=START` is version 3; `v3_1` its revision 1; a tuple has `failing` and `due` as well."""
    made = []
    for name, given in states.items():
        version, _, revision = name.removeprefix("v").partition("_")
        state, failing, due = given if isinstance(given, tuple) else (given, given is FAILED, True)
        made.append(Snapshot(Id(int(version), int(revision or 0)), state, failing, due))
    return made


def ids(*versions):
    return {Id(version) if isinstance(version, int) else Id(*version) for version in versions}


@pytest.mark.parametrize(
    ("there", "policy", "labelled", "wanted"),
    [
        pytest.param({}, LATEST, (), ids(), id="nothing on disk"),
        pytest.param({"v1": END, "v2": START, "v3": START}, LATEST, (), ids(3), id="the latest"),
        pytest.param({"v1": START, "v2": START, "v3": START}, VersionPolicy(latest=2), (), ids(2, 3), id="the latest two"),
        pytest.param({"v2": START}, VersionPolicy(latest=5), (), ids(2), id="more than there are"),
        pytest.param({"v1": START, "v2": START}, VersionPolicy(all=True), (), ids(1, 2), id="all"),
        pytest.param({"v1": START, "v2": START}, VersionPolicy(specific=(1,)), (), ids(1), id="specific"),
        pytest.param({"v1": START, "v2": START}, VersionPolicy(specific=(1, 9)), (), ids(1), id="specific, one not there"),
        pytest.param({"v1": AVAILABLE, "v2": START}, VersionPolicy(specific=(9,)), (), ids(1), id="none there: what serves"),
        pytest.param({"v1": AVAILABLE, "v2": FAILED}, LATEST, (), ids(1, 2), id="a failed one has the older beside it"),
        pytest.param({"v1": START, "v2": FAILED, "v3": FAILED}, LATEST, (), ids(1, 2, 3), id="two failed ones"),
        pytest.param({"v1": AVAILABLE, "v2": (LOADING, True, True)}, LATEST, (), ids(1, 2), id="it is tried again"),
        pytest.param({"v1": AVAILABLE, "v2": FAILED, "v3": START}, LATEST, (), ids(3), id="a newer one than the failed"),
        pytest.param({"v1": AVAILABLE, "v2": FAILED, "v3": AVAILABLE}, LATEST, (), ids(3), id="and it serves"),
        pytest.param({"v1": AVAILABLE, "v2": AVAILABLE, "v3": START}, LATEST, (1,), ids(1, 3), id="a label keeps its version"),
        pytest.param({"v1": START}, LATEST, (7,), ids(1), id="a label of a version that is not there"),
        pytest.param({"v1": AVAILABLE, "v1_1": START}, LATEST, (), ids((1, 1)), id="new options"),
        pytest.param({"v1": AVAILABLE, "v1_1": FAILED}, LATEST, (), ids(1, (1, 1)), id="new options that fail"),
        pytest.param(
            {"v1": AVAILABLE, "v2": AVAILABLE, "v2_1": FAILED},
            VersionPolicy(all=True),
            (),
            ids(1, 2, (2, 1)),
            id="all, with new options that fail",
        ),
    ],
)
def test_aspired(there, policy, labelled, wanted):
    assert aspired(snapshots(**there), policy, labelled) == wanted


def test_no_version_of_an_unloaded_model_is_wanted():
    assert aspired(snapshots(v1=AVAILABLE, v2=START), VersionPolicy(all=True), (1,), unloaded=True) == ids()


WAITING = (START, False, False)
RETRIED_LATER = (FAILED, True, False)


@pytest.mark.parametrize(
    ("there", "wanted", "availability", "resource"),
    [
        pytest.param({}, ids(), None, None, id="nothing"),
        pytest.param({"v1": START}, ids(1), Load(Id(1)), Load(Id(1)), id="the first"),
        pytest.param({"v1": WAITING}, ids(1), None, None, id="its folder still changes"),
        pytest.param({"v1": START, "v2": START}, ids(1, 2), Load(Id(2)), Load(Id(2)), id="the newest first"),
        pytest.param({"v1": START}, ids(), None, None, id="not wanted"),
        pytest.param({"v1": LOADING}, ids(1), None, None, id="under way"),
        pytest.param({"v1": AVAILABLE}, ids(1), None, None, id="nothing to do"),
        pytest.param({"v1": AVAILABLE, "v2": START}, ids(2), Load(Id(2)), Unload(Id(1)), id="a new one comes"),
        pytest.param({"v1": AVAILABLE, "v2": WARMING}, ids(2), None, Unload(Id(1)), id="it is not ready yet"),
        pytest.param({"v1": AVAILABLE, "v2": AVAILABLE}, ids(2), Unload(Id(1)), Unload(Id(1)), id="it serves"),
        pytest.param({"v1": UNLOADING, "v2": START}, ids(2), Load(Id(2)), None, id="the old one still has its memory"),
        pytest.param({"v1": END, "v2": START}, ids(2), Load(Id(2)), Load(Id(2)), id="the old one is gone"),
        pytest.param({"v1": AVAILABLE, "v2": FAILED}, ids(1, 2), Load(Id(2)), Load(Id(2)), id="again after a failure"),
        pytest.param({"v1": AVAILABLE, "v2": RETRIED_LATER}, ids(1, 2), None, None, id="not yet"),
        pytest.param({"v1": START, "v2": RETRIED_LATER}, ids(1, 2), Load(Id(1)), Load(Id(1)), id="the older in its place"),
        pytest.param({"v1": AVAILABLE, "v2": RETRIED_LATER}, ids(2), None, Unload(Id(1)), id="the only one wanted fails"),
        pytest.param({"v1": AVAILABLE}, ids(), Unload(Id(1)), Unload(Id(1)), id="removed"),
        pytest.param({"v1": AVAILABLE, "v3": AVAILABLE, "v4": START}, ids(3, 4), Load(Id(4)), Unload(Id(1)), id="two wanted"),
        pytest.param({"v1": AVAILABLE, "v1_1": START}, ids((1, 1)), Load(Id(1, 1)), Unload(Id(1)), id="new options"),
    ],
)
def test_next_action(there, wanted, availability, resource):
    assert next_action(snapshots(**there), wanted, "availability") == availability
    assert next_action(snapshots(**there), wanted, "resource") == resource


@pytest.mark.parametrize("transition", ["availability", "resource"])
@pytest.mark.parametrize("policy", [LATEST, VersionPolicy(latest=2), VersionPolicy(all=True), VersionPolicy(specific=(2,))])
def test_actions_end_with_the_wanted_versions_available(policy, transition):
    """From every combination of states of three versions, if every action succeeds at once."""
    for states in [(a, b, c) for a in State for b in State for c in State]:
        now = {Id(version): state for version, state in enumerate(states, 1)}
        for _ in range(20):
            there = [Snapshot(key, state, state is FAILED) for key, state in now.items()]
            wanted = aspired(there, policy)
            action = next_action(there, wanted, transition)
            if action is None:
                busy = {key for key, state in now.items() if state not in {START, AVAILABLE, END, FAILED}}
                if not busy:
                    break
                now |= {key: END if now[key] is UNLOADING else AVAILABLE for key in busy}
                continue
            now[action.id] = AVAILABLE if isinstance(action, Load) else UNLOADING
        else:
            pytest.fail(f"actions do not end from {states}")
        assert all(now[key] in {AVAILABLE, END} for key in wanted)
