import socket

import pytest

from auricle.errors import InvalidOption
from auricle.server.app import listen


def test_answers_are_not_held_back_by_nagles_algorithm() -> None:
    # asyncio sets TCP_NODELAY only on sockets that name their protocol.
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
        assert listener.getsockname()[1] > 0


def test_a_port_in_use_is_refused_with_its_address() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(InvalidOption, match=f"cannot listen on 127.0.0.1:{port}"):
            listen("127.0.0.1", port)


def test_a_host_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidOption, match=r"cannot listen on 256\.0\.0\.1"):
        listen("256.0.0.1", 0)
