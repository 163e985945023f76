"""Policies of the configuration: checked, merged with the global ones and put in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

import msgspec
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from gatewright.config.document import Document, suggestion
from gatewright.config.messages import report
from gatewright.config.route import UNREADABLE, PolicyItem, Route
from gatewright.config.tree import Path
from gatewright.errors import GatewrightError
from gatewright.plugins.registry import Registry
from gatewright.policies import BUILTIN
from gatewright.sdk.policy import STAGES, InvalidPolicy, Policy, PolicyConfig
from gatewright.snapshot import model
from gatewright.snapshot.checking import CheckEnv, check_expression
from gatewright.snapshot.model import PolicySpec
from gatewright.snapshot.services import spec_of
from gatewright.snapshot.upstreams import Upstreams

Listed = Sequence[tuple[Path, PolicyItem]]

_BUILTIN_ORDER: Final = {policy.name: index for index, policy in enumerate(BUILTIN)}
_STAGE_ORDER: Final = {stage: index for index, stage in enumerate(STAGES)}
MOST_REMEMBERED: Final = 10_000


@dataclass(slots=True)
class _Checked:
    """A policy that was looked at: what the snapshot says of it, None when it is wrong or off."""

    spec: PolicySpec | None
    name: str


class Policies:
    """Checks every policy once per distinct configuration, and makes each route's list.

    ``upstreams`` makes the upstreams for services that policies ask.
    ``files`` takes note of the files that policies name (lists of addresses), for whoever watches for changes.
    """

    def __init__(self, document: Document, registry: Registry, files: list[FilePath], upstreams: Upstreams) -> None:
        self._document = document
        self._files = files
        self._registry = registry.policies
        self._unloaded = [problem.message for problem in registry.problems]
        self._env = CheckEnv()
        self._upstreams = upstreams
        #: By their names: the services that policies ask, as upstreams.
        self.services: dict[str, model.Upstream] = {}
        #: What was found good, and its settings as the workers get them.
        self._good: dict[bytes, dict[str, Any]] = {}
        self._global: list[_Checked] = []

    def set_global(self, items: Listed) -> None:
        """The policies of every route."""
        self._global = [self._check(item, path, "") for path, item in items if self._allowed_globally(item, path)]

    def for_all(self) -> tuple[PolicySpec, ...]:
        """The global policies, in the order in which their request hooks run."""
        return self._in_stage_order(self._global)

    def of(self, route: Route, path: Path) -> tuple[PolicySpec, ...]:
        """The policies of a route, in the order in which their request hooks run."""
        own = [
            self._check(item, (*path, "policies", index), route.name)
            for index, item in enumerate(route.policies)
            if item is not UNREADABLE
        ]
        if not own and route.policy_order == "by_stage":
            return self._in_stage_order(self._global)
        replaced = {checked.name for checked in own}
        merged = [checked for checked in self._global if checked.name not in replaced] + own
        if route.policy_order == "as_written":
            return tuple(checked.spec for checked in merged if checked.spec is not None)
        return self._in_stage_order(merged)

    def _in_stage_order(self, items: Sequence[_Checked]) -> tuple[PolicySpec, ...]:
        specs = [checked.spec for checked in items if checked.spec is not None]
        return tuple(sorted(specs, key=self._place))

    def _place(self, spec: PolicySpec) -> tuple[int, int, str]:
        stage = self._registry[spec.type].stage
        return _STAGE_ORDER[stage], _BUILTIN_ORDER.get(spec.type, len(_BUILTIN_ORDER)), spec.type

    # --- checks ---------------------------------------------------------------------------------------------------

    def _allowed_globally(self, item: PolicyItem, path: Path) -> bool:
        if item is UNREADABLE:
            return False
        if item.config is None:
            message = "'off' leaves out a policy of every route, and this is the list of those"
            self._document.problem("policy.value", message, (*path, item.type), hint="take the entry away")
            return False
        return True

    def _check(self, item: PolicyItem, path: Path, scope: str) -> _Checked:
        policy = self._registry.get(item.type)
        if policy is None:
            self._unknown(item.type, path)
            return _Checked(None, item.type)
        if item.config is None:
            return _Checked(None, item.type)
        base = self._document.base(path)
        key = msgspec.json.encode((item.type, item.config, item.when, str(base)))
        settings = self._good.get(key)
        if settings is None:
            settings = self._settings(policy, item, (*path, item.type), base)
            if settings is None:
                return _Checked(None, item.type)
            if len(self._good) < MOST_REMEMBERED:
                self._good[key] = settings
        spec = PolicySpec(item.type, settings, item.when or "", scope)
        return _Checked(spec, item.type)

    def _unknown(self, name: str, path: Path) -> None:
        known = sorted(self._registry)
        hint = suggestion(name, known) or f"policies are {', '.join(known)}"
        self._document.problem(
            "policy.unknown", f"unknown policy '{name}'", (*path, name), key=True, hint=hint, related=self._unloaded
        )

    def _settings(
        self, policy: type[Policy[Any]], item: PolicyItem, path: Path, base: FilePath
    ) -> dict[str, Any] | None:
        """The settings as the workers get them, with the content of the files they name; None when they are wrong."""
        when_is_good = self._check_when(item.when, (*path, "when"))
        context = {"base": base, "files": self._files}
        try:
            config = policy.config.model_validate(item.config or {}, context=context)
            settings = config.model_dump(mode="json", exclude_unset=True)
            policy.config.model_validate(settings)  # as the workers will
        except ValidationError as error:
            report(self._document, error, policy.config, path, "policy")
            return None
        except Exception as error:  # noqa: BLE001 - a plugin's validators may raise anything, and it must have a place
            self._failed(policy, error, path)
            return None
        good = self._asks(policy, config, item, path) and self._builds(policy, config, path)
        return settings if good and when_is_good else None

    def _check_when(self, when: object, path: Path) -> bool:
        if when is None:
            return True
        if not isinstance(when, str):
            self._document.problem(
                "policy.type", "'when' must be an expression, as text", path, hint="put it in quotes"
            )
            return False
        return not when or check_expression(self._document, when, path)

    def _asks(self, policy: type[Policy[Any]], config: PolicyConfig, item: PolicyItem, path: Path) -> bool:
        """Take note of the services that the policy asks. False, with a problem reported, when there is none such."""
        try:
            specs = [spec_of(service) for service in policy.services(config)]
        except Exception as error:  # noqa: BLE001 - a plugin's method may raise anything, and it must have a place
            self._failed(policy, error, path)
            return False
        for spec in specs:
            try:
                service = self._upstreams.service(spec)
            except (ValueError, PydanticCustomError) as error:
                written = next((key for key, value in (item.config or {}).items() if value == spec.url), None)
                place = (*path, written) if written is not None else path
                message, hint = str(error), ""
                if isinstance(error, PydanticCustomError):
                    message, hint = error.message(), str((error.context or {}).get("hint", ""))
                self._document.problem("policy.value", message, place, key=written is None, hint=hint)
                return False
            self.services.setdefault(service.name, service)
        return True

    def _builds(self, policy: type[Policy[Any]], config: PolicyConfig, path: Path) -> bool:
        """Whether the policy accepts its configuration. What it compiles, it compiles here once, without I/O."""
        try:
            policy(config, self._env)
        except InvalidPolicy as error:
            place = (*path, *_parts(error.path))
            self._document.problem("policy.value", str(error), place)
        except (ValueError, GatewrightError) as error:
            self._document.problem("policy.value", str(error), path, key=True)
        except Exception as error:  # noqa: BLE001 - a plugin's constructor may raise anything, and it must have a place
            self._failed(policy, error, path)
        else:
            return True
        return False

    def _failed(self, policy: type[Policy[Any]], error: Exception, path: Path) -> None:
        message = f"the policy '{policy.name}' failed: {type(error).__name__}: {error}"
        self._document.problem("policy.failed", message, path, key=True)


def _parts(path: str) -> Path:
    """``limits[2].by`` as a path."""
    parts = path.replace("[", ".").replace("]", "").split(".")
    return tuple(int(part) if part.isdigit() else part for part in parts if part)
