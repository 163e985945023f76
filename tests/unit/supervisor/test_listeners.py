from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewright.supervisor.listeners import ADMIN, BindError, Inherited, Listeners

ANY = "127.0.0.1:0"


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    made = Listeners()
    yield made
    made.close(unlink=True)


def port(listeners: Listeners, name: str, bind: str = ANY) -> int:
    return int(listeners.places[name, bind].address.rpartition(":")[2])


def connect(number: int) -> None:
    socket.create_connection(("127.0.0.1", number), 2).close()


def test_every_slot_has_a_socket_on_the_same_port(listeners: Listeners) -> None:
    (place,) = listeners.open([("public", ANY)], 3)
    assert len(place.sockets) == 3
    assert {sock.getsockname() for sock in place.sockets} == {("127.0.0.1", port(listeners, "public"))}
    connect(port(listeners, "public"))


def test_two_listeners_on_any_port_are_two(listeners: Listeners) -> None:
    listeners.open([("a", ANY), ("b", ANY)], 1)
    assert port(listeners, "a") != port(listeners, "b")


def test_opening_again_adds_sockets_for_new_slots_only(listeners: Listeners) -> None:
    (place,) = listeners.open([("public", ANY)], 1)
    first = place.of(0)
    assert listeners.open([("public", ANY)], 2) == []
    assert place.of(0) is first
    assert len(place.sockets) == 2


def test_settling_closes_what_is_not_wanted(listeners: Listeners) -> None:
    listeners.open([("a", ANY), ("b", ANY)], 2)
    gone_port = port(listeners, "b")
    (gone,) = listeners.settle([("a", ANY)], 1)
    assert gone.name == "b"
    assert len(listeners.places["a", ANY].sockets) == 1
    with pytest.raises(ConnectionRefusedError):
        connect(gone_port)


def test_a_port_that_somebody_listens_on_is_refused_even_when_he_shares_ports(listeners: Listeners) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(BindError, match=f"listener public cannot bind {bind}: .*another process listens"):
            listeners.open([("new", ANY), ("public", bind)], 2)
    assert listeners.places == {}, "nothing of a refused layout stays"


def test_a_refused_layout_leaves_the_sockets_there_were(listeners: Listeners) -> None:
    (place,) = listeners.open([("a", ANY)], 1)
    with pytest.raises(BindError):
        listeners.open([("a", ANY), ("bad", "192.0.2.1:1")], 3)
    assert len(place.sockets) == 1
    connect(port(listeners, "a"))


def test_a_renamed_listener_goes_on_with_its_queue(listeners: Listeners) -> None:
    listeners.open([("x", ANY)], 1)
    bind = f"127.0.0.1:{port(listeners, 'x')}"
    listeners.settle([], 1)
    listeners.open([("old", bind)], 1)
    with socket.create_connection(("127.0.0.1", int(bind.rpartition(":")[2])), 2) as client:
        listeners.open([("new", bind)], 1)
        listeners.settle([("new", bind)], 1)
        accepted, peer = listeners.places["new", bind].of(0).accept()
        assert peer == client.getsockname()
        accepted.close()


def test_ipv6(listeners: Listeners) -> None:
    try:
        (place,) = listeners.open([("six", "[::1]:0")], 2)
    except BindError:
        pytest.skip("no IPv6 here")
    assert place.address.startswith("[::1]:")
    socket.create_connection(("::1", int(place.address.rpartition(":")[2])), 2).close()


@pytest.mark.parametrize("bind", ["nonsense", "example.com:80", "127.0.0.1:http", "::1:80"])
def test_what_is_not_an_address_is_refused_without_a_look_up(listeners: Listeners, bind: str) -> None:
    with pytest.raises(BindError, match="not an address of the form"):
        listeners.open([("public", bind)], 1)


def test_a_unix_socket_is_shared_by_all_slots_and_removed_at_the_end(listeners: Listeners, tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    (place,) = listeners.open([("local", f"unix:{path}")], 3)
    assert place.of(0) is place.of(2)
    assert place.address == f"unix:{path}"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listeners.close(unlink=True)
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced_a_living_one_is_not(listeners: Listeners, tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(BindError, match="another process listens"):
            listeners.open([("local", f"unix:{path}")], 1)
    listeners.open([("local", f"unix:{path}")], 1)


def test_a_file_that_is_no_socket_is_never_removed(listeners: Listeners, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(BindError, match="not a socket"):
        listeners.open([("local", f"unix:{path}")], 1)
    assert path.read_text() == "data"


def test_handed_over_unix_sockets_are_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    listeners = Listeners()
    listeners.open([("local", f"unix:{path}")], 1)
    listeners.close(unlink=False)
    assert path.exists()


def test_inherited_sockets_are_used_and_the_rest_is_closed(listeners: Listeners) -> None:
    listeners.open([("public", ANY), ("gone", ANY)], 2)
    inherited = [
        Inherited(place.name, place.bind, slot, os.dup(sock.fileno()))
        for place in listeners.places.values()
        for slot, sock in enumerate(place.sockets)
    ]
    heir = Listeners(inherited)
    (place,) = heir.open([("public", ANY)], 2)
    assert place.address == listeners.places["public", ANY].address
    heir.forget_inherited()
    for item in inherited[2:]:
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.fstat(item.fd)
    heir.close(unlink=False)


def test_the_admin_address_has_one_socket(listeners: Listeners) -> None:
    (place,) = listeners.open([(ADMIN, ANY)], 4)
    assert len(place.sockets) == 1
    with pytest.raises(BindError, match="the admin listener cannot bind"):
        listeners.open([(ADMIN, "192.0.2.1:1")], 1)


def test_an_inherited_listener_may_have_been_renamed(listeners: Listeners) -> None:
    listeners.open([("x", ANY)], 1)
    bind = listeners.places["x", ANY].address
    heir = Listeners([Inherited("old", bind, 0, os.dup(listeners.places["x", ANY].of(0).fileno()))])
    (place,) = heir.open([("new", bind)], 2)
    assert [sock.getsockname() for sock in place.sockets] == [listeners.places["x", ANY].of(0).getsockname()] * 2
    heir.close(unlink=False)
