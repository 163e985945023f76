"""All policies there are: the built-in ones and those of plugins, by the word that configures them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatewright.errors import ConfigError, Problem
from gatewright.plugins.loader import Plugin, installed_plugins, load_plugin
from gatewright.policies import BUILTIN
from gatewright.sdk.policy import Policy

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(slots=True)
class Registry:
    """What a configuration may use.

    Attributes:
        policies: Name → class.
        sources: Where each policy that is not built in comes from: a file, a module or an installed package.
        files: Files to watch: when one changes, the configuration should be loaded again.
        problems: Installed packages that could not be loaded; nothing is wrong until one of them is used.
    """

    policies: dict[str, type[Policy[Any]]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def load_registry(plugins: Sequence[str] = (), base: Path | None = None) -> Registry:
    """Load the built-in policies, those of installed packages (entry points), and ``plugins``.

    Args:
        plugins: As configured: modules (``my_company.gateway``) or files (``./plugins/stamp.py``).
        base: Directory that relative files are relative to; the working directory when not given.

    Raises:
        ConfigError: With a problem for every plugin that cannot be loaded, holds no policy, or whose policy has a name
            that is taken. The problem's ``path`` is the plugin as it was given, ``file`` and ``line`` are the place in
            its own code.
    """
    registry = Registry(policies={policy.name: policy for policy in BUILTIN})
    for plugin in installed_plugins():
        registry.problems += _register(registry, plugin)
    problems: list[Problem] = []
    for spec in plugins:
        plugin = load_plugin(spec, base or Path.cwd())
        registry.files += plugin.files
        for problem in _register(registry, plugin):
            problem.path = spec
            problems.append(problem)
    if problems:
        raise ConfigError(problems)
    return registry


def _register(registry: Registry, plugin: Plugin) -> list[Problem]:
    """Add a plugin's policies; the problems that keep one out."""
    if plugin.problem is not None:
        return [plugin.problem]
    problems = list(_check(registry, plugin))
    if not problems:
        for policy in plugin.policies:
            registry.policies[policy.name] = policy
            registry.sources[policy.name] = plugin.spec
    return problems


def _check(registry: Registry, plugin: Plugin) -> Iterable[Problem]:
    if not plugin.policies:
        hint = "define a class there: class Stamp(Policy[StampConfig])"
        yield Problem("plugin.empty", f"the plugin '{plugin.spec}' defines no policy", plugin.place, hint=hint)
    seen: set[str] = set()
    for policy in plugin.policies:
        name = policy.name
        where = f"{policy.__module__}.{policy.__qualname__}"
        if not _NAME.fullmatch(name):
            message = f"'{name}' cannot be the name of a policy ({where})"
            yield Problem("plugin.name", message, plugin.place, hint="lower case letters, digits and _")
        elif name in seen or registry.policies.get(name, policy) is not policy:
            owner = registry.sources.get(name, "gatewright itself" if name not in seen else plugin.spec)
            message = f"the policy '{name}' of {where} exists already, from {owner}"
            yield Problem("plugin.clash", message, plugin.place, hint="give it another name")
        seen.add(name)
