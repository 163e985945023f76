"""The requests the demo suggests, and with ``--check`` sends itself."""

from __future__ import annotations

import http.client
from dataclasses import dataclass

TIMEOUT = 10.0
#: Fields worth showing; the others are the usual ones.
SHOWN = ("location", "ratelimit", "ratelimit-policy", "www-authenticate", "x-request-id", "content-type")
MOST_LINES = 8


@dataclass(frozen=True, slots=True)
class Try:
    """One request and what shows that the answer is right: its status and a piece of its head or body."""

    what: str
    path: str
    status: int
    shows: str
    headers: tuple[tuple[str, str], ...] = ()

    def curl(self, address: str) -> str:
        """The command that sends it."""
        fields = "".join(f"-H '{name}: {value}' " for name, value in self.headers)
        return f"curl -i {fields}http://{address}{self.path}"


TRIES = (
    Try("routing: one of two versions answers, 9 : 1", "/hello", 200, '"upstream": "hello-v'),
    Try("canary: a header chooses version 2", "/hello", 200, '"upstream": "hello-v2"', (("x-canary", "1"),)),
    Try("api_key: refused without a key", "/orders/42", 401, "api_key.missing"),
    Try("api_key and rate_limit: let in, and told how much is left", "/orders/42", 200, "ratelimit",
        (("x-api-key", "demo-key"),)),
    Try("redirect: the old place leads to the new one", "/old/hello", 308, "location: /hello"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``problem`` is empty when it is what was expected."""

    status: int
    text: str
    problem: str


def send(request: Try, host: str, port: int) -> Answer:
    """Send one request and compare. Network errors are problems, not exceptions."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", request.path, headers=dict(request.headers))
        response = connection.getresponse()
        body = response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, "", f"no answer: {error}")
    finally:
        connection.close()
    fields = [f"{name.lower()}: {value}" for name, value in response.getheaders()]
    everything = "\n".join([*fields, "", body])
    lines = [f"{response.status} {response.reason}", *(f for f in fields if f.startswith(SHOWN))]
    content = body.splitlines()
    lines += content[:MOST_LINES] + (["…"] if len(content) > MOST_LINES else [])
    problem = ""
    if response.status != request.status:
        problem = f"expected status {request.status}"
    elif request.shows not in everything:
        problem = f"expected {request.shows!r} in the answer"
    return Answer(response.status, "\n".join(lines), problem)
