"""The text of ``gatewright new-policy NAME``: a policy, its test, and the configuration that uses it."""

from __future__ import annotations

import re
from pathlib import Path

from gatewright.policies import BUILTIN

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

_POLICY = '''"""Say here what the policy is for; its first line is what people read."""

from __future__ import annotations

from gatewright.sdk import Env, ExchangeView, Outcome, Policy, PolicyConfig, Reply
from gatewright.sdk.types import HeaderName


class {camel}Config(PolicyConfig):
    """What may stand below `{name}:` in the configuration. Unknown keys are refused, with file and line."""

    header: HeaderName = "x-{dashed}"
    """Every option has a description like this one."""
    value: str = "1"
    """The value to require."""


class {camel}(Policy[{camel}Config]):
    """Require a header field on requests, and send it back on responses."""

    __slots__ = ("_header", "_value")
    name, stage, config = "{name}", "authorize", {camel}Config

    def __init__(self, config: {camel}Config, env: Env) -> None:
        # Runs once for each configuration. Prepare here whatever a request will need.
        self._header = config.header.encode()
        self._value = config.value.encode()

    def on_request(self, ex: ExchangeView) -> Outcome:
        """Runs for every request: return None to go on, a Reply to answer, or make it `async def` to wait."""
        if ex.request.headers.get(self._header) != self._value:
            return REFUSED
        return None

    def on_response(self, ex: ExchangeView) -> Outcome:
        """Runs for every response, also for those that the gateway makes itself."""
        ex.response.headers.set(self._header, self._value)
        return None


#: Made once. The reason is the same in the answer, the access log and the metrics.
REFUSED = Reply(403, "{name}.refused", detail="The header field is missing or wrong")
'''

_TEST = '''from pathlib import Path

from gatewright.http.head import HTTP11, RequestHead, ResponseHead
from gatewright.http.headers import Fields, Headers
from gatewright.plugins.registry import load_registry

{camel} = load_registry(["./{name}.py"], Path(__file__).parent).policies["{name}"]


class Exchange:
    """As much of an exchange as the policy needs."""

    def __init__(self, *fields: tuple[bytes, bytes]) -> None:
        headers = Headers(Fields(fields))
        self.request = RequestHead(b"GET", b"/", b"/", None, b"test", b"test", b"http", HTTP11, headers)
        self.response = ResponseHead(200, Headers())


policy = {camel}({camel}.config(), env=None)


def test_lets_the_right_value_pass():
    ex = Exchange((b"x-{dashed}", b"1"))
    assert policy.on_request(ex) is None
    policy.on_response(ex)
    assert ex.response.headers.get(b"x-{dashed}") == b"1"


def test_refuses_everything_else():
    assert policy.on_request(Exchange()).reason == "{name}.refused"
'''

_CONFIG = """# gatewright run {name}.gateway.yaml, then: curl -i -H 'x-{dashed}: 1' http://127.0.0.1:8000/
version: 1

plugins: [./{name}.py]

listeners:
  - name: public
    bind: 127.0.0.1:8000

routes:
  - name: hello
    match: {{paths: ["/*"]}}
    respond: {{status: 200, body: "hello\\n"}}
    policies:
      - {name}: {{value: "1"}}
"""


def write_policy(name: str, directory: Path) -> list[Path]:
    """Write a new policy, its test and a configuration into ``directory``, which is made when it is not there.

    Returns the files, the policy first.

    Raises:
        ValueError: The name cannot be a policy's, or is one of a built-in policy.
        FileExistsError: One of the files is there already; nothing has been written.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"'{name}' cannot be the name of a policy: lower case letters, digits and _")
    if any(policy.name == name for policy in BUILTIN):
        raise ValueError(f"there is a built-in policy '{name}'; choose another name")
    words = {"name": name, "camel": name.title().replace("_", ""), "dashed": name.replace("_", "-")}
    texts = {
        directory / f"{name}.py": _POLICY,
        directory / f"test_{name}.py": _TEST,
        directory / f"{name}.gateway.yaml": _CONFIG,
    }
    for path in texts:
        if path.exists():
            raise FileExistsError(f"{path} is there already")
    directory.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text.format(**words), encoding="utf-8")
    return list(texts)
