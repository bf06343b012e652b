"""What a protocol over HTTP is to the server: which paths ask for predictions, how bodies are read and answers written.

`service.inference` answers the paths; a module of `service.codec` reads and writes; one of `service.routes` makes an `Api` of
it and adds the rest of the protocol's paths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from service.errors import HeadserveError
from service.types import InferRequest, InferResponse, ModelSpec

Headers: TypeAlias = Mapping[bytes, bytes]
"""A request's headers, names in small letters."""


class Encoded(NamedTuple):
    """A body in pieces that are sent one after the other, and the headers that describe it, the content type among them."""

    chunks: Sequence[bytes | memoryview]
    headers: Sequence[tuple[bytes, bytes]]


class Codec(Protocol):
    """Reads one request and writes its answer; what the answer must know of the request, it keeps."""

    def decode(self, body: bytes, spec: ModelSpec) -> InferRequest:
        """The request, checked against the model. Raises RequestError."""

    def encode(self, response: InferResponse) -> Encoded:
        """The answer. Raises UnsupportedTypeError."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request for predictions, as far as its path and headers tell."""

    codec: Codec
    model: str
    version: int | None = None
    label: str | None = None


class Api(Protocol):
    """One protocol."""

    prefix: str
    """What all of its paths begin with: `/models`."""

    def call(self, path: str, headers: Headers) -> Call | None:
        """The call that a POST to this path is; None when it is none. The path is percent-decoded. Raises RequestError."""

    def problem(self, error: HeadserveError) -> tuple[int, Encoded]:
        """The status and the body that tell of an error."""
