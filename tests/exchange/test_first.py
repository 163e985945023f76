from gatewright.testing.rig import Rig, route, upstream

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def test_forwards_and_relays(rig: Rig) -> None:
    rig.apply(route("all", to="a"), upstream("a"))
    client = rig.client()
    client.send(b"GET /p?q=1 HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nConnection: x-b\r\nX-B: 2\r\n\r\n")
    origin = rig.origin("a").accept()
    assert origin.received == (
        b"GET /p?q=1 HTTP/1.1\r\nhost: x\r\nX-A: 1\r\n"
        b"x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: x\r\n"
        b"forwarded: for=127.0.0.1;host=x;proto=http\r\nvia: 1.1 gatewright\r\n\r\n"
    )
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\ndate: ")
    assert client.received.endswith(b"\r\n\r\nok")
    assert client.transport.writes == 1
    assert [each.status for each in rig.records] == [200]
