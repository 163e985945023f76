"""Let requests in, or keep them out, by the client's address.

The address is the one behind trusted proxies (`trusted_proxies` of the listener). A request is refused when its address
is on the deny list, or when there is an allow list and it is not on it. Lists may also come from files with one
address or range a line; they are read with the configuration.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from pydantic import ValidationInfo, model_validator

from gatewright.sdk import Env, ExchangeView, InvalidPolicy, Outcome, Policy, PolicyConfig, Reply
from gatewright.sdk.files import read_lines
from gatewright.sdk.types import Cidr

_MOST_VERDICTS = 4096


class IpFilterConfig(PolicyConfig):
    """Configuration of `ip_filter`."""

    allow: tuple[Cidr, ...] = ()
    """Addresses and ranges that are let in; empty lets everybody in that is not denied."""
    deny: tuple[Cidr, ...] = ()
    """Addresses and ranges that are refused, even when they are also allowed."""
    allow_files: tuple[str, ...] = ()
    """Files with more of `allow`, one a line, `#` begins a comment. Relative to the configuration file."""
    deny_files: tuple[str, ...] = ()
    """Files with more of `deny`."""

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, data: Any, info: ValidationInfo) -> Any:
        """Put the files' lines into the lists: what is validated, sent and compiled is complete."""
        if not isinstance(data, dict):
            return data
        for field in ("allow", "deny"):
            files = data.get(f"{field}_files")
            if files and isinstance(files, list | tuple):
                lines = [line for name in files for line in read_lines(str(name), info)]
                data = {**data, field: [*(data.get(field) or ()), *lines], f"{field}_files": ()}
        return data


class IpFilter(Policy[IpFilterConfig]):
    """Let requests in, or keep them out, by the client's address."""

    __slots__ = ("_allow", "_deny", "_verdicts")
    name, stage, config, status = "ip_filter", "admission", IpFilterConfig, "stable"

    def __init__(self, config: IpFilterConfig, env: Env) -> None:
        if not config.allow and not config.deny:
            raise InvalidPolicy("allow or deny must name at least one address")
        self._allow = NetworkSet(config.allow) if config.allow else None
        self._deny = NetworkSet(config.deny)
        #: Verdicts by address, forgotten together when there are many: a look-up costs about 3 µs, this 30 ns.
        self._verdicts: dict[str, bool] = {}

    def on_request(self, ex: ExchangeView) -> Outcome:
        """Refuse those who are not let in."""
        verdict = self._verdicts.get(ex.client_addr)
        if verdict is None:
            verdict = self._judge(ex.client_addr)
        return None if verdict else DENIED

    def _judge(self, address: str) -> bool:
        if len(self._verdicts) >= _MOST_VERDICTS:
            self._verdicts.clear()
        verdict = address not in self._deny and (self._allow is None or address in self._allow)
        self._verdicts[address] = verdict
        return verdict


class NetworkSet:
    """A set of address ranges; a look-up costs one hash per prefix length that occurs, whatever their number."""

    __slots__ = ("_four", "_six")

    def __init__(self, networks: tuple[str, ...]) -> None:
        sets: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
        for text in networks:
            network = ip_network(text)
            shift = network.max_prefixlen - network.prefixlen
            sets[network.version].setdefault(shift, set()).add(int(network.network_address) >> shift)
        self._four = tuple((shift, frozenset(prefixes)) for shift, prefixes in sets[4].items())
        self._six = tuple((shift, frozenset(prefixes)) for shift, prefixes in sets[6].items())

    def __contains__(self, address: str) -> bool:
        """Whether the literal ``address`` lies in one of the ranges. What is no address lies in none."""
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        parsed = mapped or parsed
        number = int(parsed)
        for shift, prefixes in self._four if parsed.version == 4 else self._six:
            if number >> shift in prefixes:
                return True
        return False


DENIED = Reply(403, "ip_filter.denied", detail="The address is not let in")
