import gzip
import os
import zlib

import pytest

from service.errors import BodyTooLargeError, RequestError, UnsupportedEncodingError
from service.http.content_encoding import MAX_ENCODINGS, MAX_MEMBERS, accepted, compressed, decompressed

BODY = b"0123456789" * 100
LIMIT = len(BODY)


def raw_deflate(body):
    writer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return writer.compress(body) + writer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param("identity", BODY, id="identity"),
        pytest.param("gzip", gzip.compress(BODY), id="gzip"),
        pytest.param("GZip", gzip.compress(BODY), id="capitals"),
        pytest.param("x-gzip", gzip.compress(BODY), id="its former name"),
        pytest.param("gzip", gzip.compress(BODY[:400]) + gzip.compress(BODY[400:]), id="two members"),
        pytest.param("deflate", zlib.compress(BODY), id="deflate"),
        pytest.param("deflate", raw_deflate(BODY), id="deflate without header"),
        pytest.param("deflate, gzip", gzip.compress(zlib.compress(BODY)), id="both"),
    ],
)
def test_decompressed(encoding, body):
    assert decompressed(body, encoding, LIMIT) == BODY


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_no_more_is_written_than_the_limit(encoding):
    bomb = compressed([bytes(10**7)], encoding)
    with pytest.raises(BodyTooLargeError, match="at most 1000 bytes"):
        decompressed(bomb, encoding, 1000)
    many = gzip.compress(bytes(600)) * 1000
    with pytest.raises(BodyTooLargeError):
        decompressed(many, "gzip", 1000)


def test_a_body_of_many_chunks():
    body = os.urandom(300_000)
    assert decompressed(gzip.compress(body, 0) + gzip.compress(body), "gzip", 600_000) == body + body


def test_members_are_bounded_in_number():
    """32 MiB of empty ones would keep a processor busy for a quarter of an hour and more."""
    empty = gzip.compress(b"")
    assert decompressed(empty * MAX_MEMBERS, "gzip", LIMIT) == b""
    with pytest.raises(RequestError, match="at most 10000 members"):
        decompressed(empty * (MAX_MEMBERS + 1), "gzip", LIMIT)


def test_encodings_are_bounded_in_number():
    """A header has room for thousands, each of which costs as much as a body of the largest size."""
    body = BODY
    for _ in range(MAX_ENCODINGS + 1):
        body = gzip.compress(body)
    with pytest.raises(RequestError, match="at most 4 encodings, but got 5"):
        decompressed(body, ", ".join(["gzip"] * (MAX_ENCODINGS + 1)), 10 * LIMIT)
    inner = gzip.decompress(body)
    assert decompressed(inner, ", ".join(["gzip", "identity"] * MAX_ENCODINGS), 10 * LIMIT) == BODY


def test_encodings_of_encodings_make_no_more_than_one_does():
    """Some hundred bytes would be the largest body."""
    once = gzip.compress(bytes(2**20))
    assert decompressed(once, "gzip", 2**20) == bytes(2**20)
    with pytest.raises(RequestError, match="1032 times as many as came"):
        decompressed(gzip.compress(once), "gzip, gzip", 2**20)


@pytest.mark.parametrize(
    ("encoding", "body", "error", "message"),
    [
        pytest.param("br", BODY, UnsupportedEncodingError, "expected gzip, deflate or identity, but got 'br'", id="unknown"),
        pytest.param("gzip", BODY, RequestError, "the body is not", id="not compressed"),
        pytest.param("gzip", gzip.compress(BODY)[:-9], RequestError, "ends in the middle", id="cut"),
        pytest.param("gzip", gzip.compress(BODY) + b"more", RequestError, "the body is not", id="garbage behind"),
        pytest.param("deflate", zlib.compress(BODY)[:-1], RequestError, "ends in the middle", id="deflate cut"),
    ],
)
def test_what_cannot_be_decompressed(encoding, body, error, message):
    with pytest.raises(error, match=message):
        decompressed(body, encoding, LIMIT)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("gzip;q=0.2, deflate;q=0.5", "deflate"),
        ("gzip;q=0", None),
        ("br", None),
        ("gzip;q=high", None),
    ],
)
def test_what_the_client_takes(header, encoding):
    assert accepted(header) == encoding


def test_chunks_are_compressed_as_one():
    assert gzip.decompress(compressed([BODY[:10], memoryview(BODY)[10:]], "gzip")) == BODY
