"""Compressed bodies, both ways: `Content-Encoding` and `Accept-Encoding` with gzip and deflate, as RFC 9110 has them."""

import zlib
from collections.abc import Sequence

from service.errors import BodyTooLargeError, RequestError, UnsupportedEncodingError

ENCODINGS = ("gzip", "deflate")
_ANY = 32 + zlib.MAX_WBITS
"""zlib's number for: a gzip or a zlib header, whichever comes."""

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
    for name in reversed([part.strip().lower() for part in encoding.split(",")]):
        if name in ("", "identity"):
            continue
        if name.removeprefix("x-") not in ENCODINGS:
            raise UnsupportedEncodingError(
                f"Content-Encoding: expected gzip, deflate or identity, but got {name[:40]!r}.", expected=ENCODINGS
            )
        body = _inflated(body, name, max_bytes)
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
    try:
        while body:  # gzip: several members may follow each other
            reader = zlib.decompressobj(_wbits(body, name))
            whole += reader.decompress(body, max_bytes + 1 - len(whole))
            if len(whole) > max_bytes:
                raise BodyTooLargeError(
                    f"Expected a body of at most {max_bytes} bytes, but got more once it was decompressed; "
                    "send fewer rows at once, or raise HEADSERVE_MAX_BODY_BYTES.",
                    max_body_bytes=max_bytes,
                )
            if not reader.eof:
                raise RequestError(f"Content-Encoding is {name}, but the body ends in the middle.")
            body = reader.unused_data
    except zlib.error as error:
        raise RequestError(f"Content-Encoding is {name}, but the body is not: {error}.") from None
    return bytes(whole)


def _wbits(body: bytes, name: str) -> int:
    """The window parameter of zlib parameter. Some send deflate without the zlib header that the standard asks for."""
    with_header = name == "gzip" or (len(body) > 1 and body[0] & 0x0F == 8 and not (body[0] << 8 | body[1]) % 31)
    return _ANY if with_header or name == "x-gzip" else -zlib.MAX_WBITS
