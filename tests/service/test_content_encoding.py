import gzip
import os
import zlib

import pytest

from service.bodies import MAX_MEMBERS, compressed, decompressed, preferred_encoding
from service.errors import BodyTooLargeError, RequestError, UnsupportedEncodingError

BODY = b"0123456789" * 100
LIMIT = len(BODY)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param("identity", BODY, id="identity"),
        pytest.param("gzip", gzip.compress(BODY), id="gzip"),
        pytest.param("GZip", gzip.compress(BODY), id="capitals"),
        pytest.param("x-gzip", gzip.compress(BODY), id="former name"),
        pytest.param("gzip", gzip.compress(BODY[:400]) + gzip.compress(BODY[400:]), id="two members"),
        pytest.param("deflate", zlib.compress(BODY), id="deflate"),
        pytest.param("", BODY, id="empty"),
    ],
)
def test_a_body_is_decompressed(encoding, body):
    assert decompressed(body, encoding, LIMIT) == BODY


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_the_decompressed_size_is_limited(encoding):
    bomb = compressed([bytes(10**7)], encoding)
    with pytest.raises(BodyTooLargeError, match="at most 1000 bytes"):
        decompressed(bomb, encoding, 1000)
    many = gzip.compress(bytes(600)) * 1000
    with pytest.raises(BodyTooLargeError):
        decompressed(many, "gzip", 1000)


def test_a_body_of_many_chunks_is_decompressed():
    body = os.urandom(300_000)
    assert decompressed(gzip.compress(body, 0) + gzip.compress(body), "gzip", 600_000) == body + body


def test_the_number_of_members_is_limited():
    """To decompress 32 MiB of empty members would take more than a quarter of an hour."""
    empty = gzip.compress(b"")
    assert decompressed(empty * MAX_MEMBERS, "gzip", LIMIT) == b""
    with pytest.raises(RequestError, match="at most 10000 members"):
        decompressed(empty * (MAX_MEMBERS + 1), "gzip", LIMIT)


@pytest.mark.parametrize(
    ("encoding", "body", "error", "message"),
    [
        pytest.param("br", BODY, UnsupportedEncodingError, "one of gzip, deflate and identity, but got 'br'", id="unknown"),
        pytest.param("deflate, gzip", gzip.compress(zlib.compress(BODY)), UnsupportedEncodingError, "one of", id="two"),
        pytest.param("gzip, gzip", gzip.compress(gzip.compress(BODY)), UnsupportedEncodingError, "one of", id="twice"),
        pytest.param("gzip", BODY, RequestError, "the body is not", id="not compressed"),
        pytest.param("gzip", gzip.compress(BODY)[:-9], RequestError, "ends in the middle", id="truncated"),
        pytest.param("gzip", gzip.compress(BODY) + b"more", RequestError, "the body is not", id="garbage at the end"),
        pytest.param("deflate", zlib.compress(BODY)[2:-4], RequestError, "the body is not", id="deflate without zlib header"),
        pytest.param("deflate", zlib.compress(BODY)[:-1], RequestError, "ends in the middle", id="deflate truncated"),
    ],
)
def test_an_invalid_body_is_refused(encoding, body, error, message):
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
def test_the_encoding_of_the_response(header, encoding):
    assert preferred_encoding(header) == encoding


def test_chunks_are_compressed_as_one_body():
    assert gzip.decompress(compressed([BODY[:10], memoryview(BODY)[10:]], "gzip")) == BODY
