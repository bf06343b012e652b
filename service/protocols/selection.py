"""Selects the outputs of a request by heads and prediction keys, for every codec."""

from collections import Counter
from collections.abc import Iterable, Sequence

from service.errors import InvalidRequestError, UnknownHeadError, UnknownKeyError
from service.messages import cut, did_you_mean, listed
from service.types import HeadSpec, ModelSpec, Output

ALL_HEADS = "*"


def select(spec: ModelSpec, heads: Sequence[str] | None, keys: Sequence[str] | None) -> tuple[Output, ...]:
    """Return the `(head, key)` pairs to compute, heads in the requested order. Raises InvalidRequestError.

    Without `heads`, the default head is selected; `"*"` selects all. Without `keys`, every key is selected. With `"*"`, heads
    that have none of the keys are left out; a head that was named, or is the default, must have one.
    """
    if heads == ALL_HEADS and keys is None:
        return spec.outputs
    chosen = spec.heads if heads == ALL_HEADS else _named(spec, (spec.default_head,) if heads is None else heads)
    if keys is None:
        return tuple((head.name, key) for head in chosen for key in head.key_names)
    _check_list("keys", keys)
    _check_keys(chosen, keys)
    for head in chosen if heads != ALL_HEADS else ():
        if not set(keys) & set(head.key_names):
            reason = f"Head {head.name!r} has none of the keys {listed(keys)}; it has {listed(head.key_names)}."
            raise UnknownKeyError(reason, head=head.name, expected=head.key_names)
    return tuple((head.name, key) for head in chosen for key in head.key_names if key in keys)


def _named(spec: ModelSpec, names: Sequence[str]) -> tuple[HeadSpec, ...]:
    _check_list("heads", names)
    by_name = {head.name: head for head in spec.heads}
    for name in names:
        if name not in by_name:
            reason = f"Model {spec.name!r} has no head {cut(name)!r}; it has {listed(by_name)}.{did_you_mean(name, by_name)}"
            raise UnknownHeadError(reason, head=cut(name), expected=list(by_name))
    return tuple(by_name[name] for name in names)


def _check_list(member: str, names: Sequence[str]) -> None:
    if not names:
        raise InvalidRequestError(f"{member!r} is an empty list; leave it out for the default, or name one.")
    check_unique(member, names)


def check_unique(member: str, names: Iterable[str]) -> None:
    """Raise InvalidRequestError if a name is repeated in a list that is not empty."""
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise InvalidRequestError(f"{member!r} lists {cut(name)!r} {times} times; list it once.")


def _check_keys(heads: tuple[HeadSpec, ...], keys: Sequence[str]) -> None:
    known = list(dict.fromkeys(key for head in heads for key in head.key_names))
    for key in keys:
        if key not in known:
            reason = f"No selected head ({listed(head.name for head in heads)}) has a key {cut(key)!r}"
            hint = f"the keys are {listed(known)}.{did_you_mean(key, known)}"
            raise UnknownKeyError(f"{reason}; {hint}", key=cut(key), expected=known)
