"""Compressed bodies, both ways: `Content-Encoding` and `Accept-Encoding` with gzip and deflate, as RFC 9110 has them."""

import zlib
from collections.abc import Sequence

from service.errors import BodyTooLargeError, RequestError, UnsupportedEncodingError

ENCODINGS = ("gzip", "deflate")
_ANY = 32 + zlib.MAX_WBITS
"""zlib's number for: a gzip or a zlib header, whichever comes."""

MAX_ENCODINGS = 4
"""One after the other: each costs as much as a whole body, and a header has room for thousands."""
MAX_TIMES = 1032
"""How much larger a body may become; with one encoding, that is deflate's own limit. Three hundred bytes that are encoded four
times over would be 32 MiB."""
MAX_MEMBERS = 10_000
"""Of a gzip body: one that is empty has 20 bytes, and costs as much as a large one. Writers begin one every 64 KiB at most."""
_CHUNK_BYTES = 64 * 2**10
"""What zlib is given at a time: behind the end of a member, it copies what is left of that."""

_WRITTEN = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
LEVEL = 1
"""zlib's fastest: a slower one costs more time than the network that it spares."""


def decompressed(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The body as it was before it was compressed.

    Args:
        body: what came.
        encoding: the request's `Content-Encoding`; several are undone from last to first.
        max_bytes: how large a body may be at each step; no more is written than that.

    Raises:
        UnsupportedEncodingError: an encoding that is not known here.
        BodyTooLargeError: there is more in it.
        RequestError: it is not what the header says.
    """
    names = [name for part in encoding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if len(names) > MAX_ENCODINGS:
        raise RequestError(f"Content-Encoding: expected at most {MAX_ENCODINGS} encodings, but got {len(names)}.")
    most = len(body) * MAX_TIMES
    for name in reversed(names):
        if name.removeprefix("x-") not in ENCODINGS:
            raise UnsupportedEncodingError(
                f"Content-Encoding: expected gzip, deflate or identity, but got {name[:40]!r}.", expected=ENCODINGS
            )
        body = _inflated(body, name, max_bytes)
        if len(body) > most:
            raise RequestError(
                f"Content-Encoding: expected at most {most} bytes, {MAX_TIMES} times as many as came, but got more; "
                "encode the body once."
            )
    return body


def accepted(header: str) -> str | None:
    """The encoding for an answer to a request with that `Accept-Encoding`: the weightiest, else none."""
    weights = {}
    for part in header.lower().split(","):
        name, _, parameter = part.strip().partition(";")
        try:
            weights[name.strip()] = float(parameter.partition("=")[2]) if parameter else 1.0
        except ValueError:
            continue
    return max((name for name in ENCODINGS if weights.get(name, 0) > 0), key=lambda name: weights[name], default=None)


def compressed(chunks: Sequence[bytes | memoryview], encoding: str) -> bytes:
    """The chunks as one compressed body."""
    writer = zlib.compressobj(LEVEL, zlib.DEFLATED, _WRITTEN[encoding])
    return b"".join([*map(writer.compress, chunks), writer.flush()])


def _inflated(body: bytes, name: str, max_bytes: int) -> bytes:
    whole = bytearray()
    position = members = 0
    try:
        while position < len(body):  # gzip: several members may follow each other
            members += 1
            if members > MAX_MEMBERS:
                raise RequestError(f"Content-Encoding is {name}: expected at most {MAX_MEMBERS} members in the body.")
            position = _member(body, position, name, max_bytes, whole)
    except zlib.error as error:
        raise RequestError(f"Content-Encoding is {name}, but the body is not: {error}.") from None
    return bytes(whole)


def _member(body: bytes, position: int, name: str, max_bytes: int, whole: bytearray) -> int:
    """Writes what begins at that position behind what there is; returns where it ends."""
    reader = zlib.decompressobj(_wbits(body[position : position + 2], name))
    while not reader.eof:
        chunk = body[position : position + _CHUNK_BYTES]
        if not chunk:
            raise RequestError(f"Content-Encoding is {name}, but the body ends in the middle.")
        whole += reader.decompress(chunk, max_bytes + 1 - len(whole))
        if len(whole) > max_bytes:
            raise BodyTooLargeError(
                f"Expected a body of at most {max_bytes} bytes, but got more once it was decompressed; "
                "send fewer rows at once, or raise HEADSERVE_MAX_BODY_BYTES.",
                max_body_bytes=max_bytes,
            )
        position += len(chunk) - len(reader.unused_data) - len(reader.unconsumed_tail)
    return position


def _wbits(body: bytes, name: str) -> int:
    """The window parameter of zlib parameter. Some send deflate without the zlib header that the standard asks for."""
    with_header = name == "gzip" or (len(body) > 1 and body[0] & 0x0F == 8 and not (body[0] << 8 | body[1]) % 31)
    return _ANY if with_header or name == "x-gzip" else -zlib.MAX_WBITS
