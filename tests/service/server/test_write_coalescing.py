import asyncio

import pytest

from service.server.write_coalescing import CoalescingTransport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Socket:
    """The wrapped transport."""

    def __init__(self):
        self.writes = []
        self.calls = []
        self.has_eof = True

    def write(self, data):
        self.writes.append(bytes(data))

    def writelines(self, parts):
        self.writes.append(b"".join(parts))

    def close(self):
        self.calls.append("close")

    def can_write_eof(self):
        return self.has_eof

    def write_eof(self):
        self.calls.append("write_eof")

    def is_closing(self):
        return "close" in self.calls

    def resume_reading(self):
        pass

    def get_extra_info(self, name):
        return f"the {name}"


@pytest.fixture
def socket():
    return Socket()


@pytest.fixture
async def transport(socket):
    return CoalescingTransport(socket, asyncio.get_running_loop(), on_close=lambda: socket.calls.append("on_close"))


async def test_head_and_body_are_one_write(socket, transport):
    transport.write(HEAD)
    assert socket.writes == []
    transport.write(memoryview(b"ok"))
    assert socket.writes == [HEAD + b"ok"]
    await asyncio.sleep(0)
    assert socket.writes == [HEAD + b"ok"]
    assert transport.written_bytes == len(HEAD + b"ok")


async def test_a_head_without_a_body_is_written_at_the_end_of_the_turn(socket, transport):
    transport.write(HEAD)
    await asyncio.sleep(0)
    assert socket.writes == [HEAD]


@pytest.mark.parametrize(("has_eof", "call"), [(True, "write_eof"), (False, "close")])
async def test_a_held_head_is_written_before_the_end(socket, transport, has_eof, call):
    socket.has_eof = has_eof
    transport.write(HEAD)
    transport.end()
    transport.write(b"the response of an application that continues")
    assert (socket.writes, socket.calls) == ([HEAD], [call])
    assert transport.written_bytes == len(HEAD)


async def test_a_close_is_left_to_the_protocol(socket, transport):
    transport.close()
    assert socket.calls == ["on_close"]
    assert not transport.has_ended


async def test_other_calls_reach_the_transport(socket, transport):
    transport.write(b"more of a body")
    assert socket.writes == [b"more of a body"]
    assert transport.get_extra_info("peername") == "the peername"
