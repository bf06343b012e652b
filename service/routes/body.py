"""A request's body as bytes, whatever its content type says, up to a limit."""

from fastapi import Request

from service.errors import BodyTooLargeError


async def read_body(request: Request, max_body_bytes: int) -> bytes:
    """The body. Raises BodyTooLargeError as soon as it is known: by Content-Length, or while it streams in."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_body_bytes:
        raise too_large(max_body_bytes, f"{declared} bytes")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_body_bytes:
            raise too_large(max_body_bytes, "more")
    return bytes(body)


def too_large(max_body_bytes: int, came: str) -> BodyTooLargeError:
    """The error, with what came in words."""
    return BodyTooLargeError(
        f"Expected a body of at most {max_body_bytes} bytes, but got {came}; send fewer rows at once, "
        "or raise HEADSERVE_MAX_BODY_BYTES.",
        max_body_bytes=max_body_bytes,
    )
