"""From the words under ``plugins:`` to policy classes.

A plugin is a file (``./plugins/stamp.py``), a module (``my_company.gateway``), or an installed package that names its
policies under the entry point group ``gatewright.policies``. A file or module that has changed since it was loaded is
loaded again as a fresh module; what was compiled from the old one keeps the old classes and goes on working.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from gatewright.errors import Problem
from gatewright.sdk.policy import Policy

#: Entry point group of installed packages.
GROUP = "gatewright.policies"

_Stamp = tuple[tuple[str, int, int], ...]
#: Module name → (what its files looked like, the module). One entry per plugin of the configuration.
_loaded: dict[str, tuple[_Stamp, ModuleType]] = {}
_MOST_LOADED = 1024


@dataclass(slots=True)
class Plugin:
    """What was found under one name. ``problem`` says why there is nothing."""

    spec: str
    place: str = ""
    policies: list[type[Policy[Any]]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    problem: Problem | None = None


def load_plugin(spec: str, base: Path) -> Plugin:
    """Load a file or module. Never raises for what the plugin does wrong: see :attr:`Plugin.problem`."""
    plugin = Plugin(spec)
    is_file = spec.endswith(".py") or "/" in spec
    path = (base / spec).resolve()
    if is_file:
        plugin.place = str(path)
        plugin.files.append(path)
    try:
        module = _load_file(path) if is_file else _load_module(spec)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything, and all of it is its problem
        plugin.problem = _problem(spec, error, plugin.place)
        return plugin
    plugin.place = module.__file__ or spec
    plugin.files = [Path(name) for name, _, _ in _stamp(module.__name__)]
    plugin.policies = list(_policies_of(module))
    return plugin


def installed_plugins() -> Iterator[Plugin]:
    """The policies of installed packages. The name of an entry point must be the name of its policy."""
    for entry in sorted(entry_points(group=GROUP), key=_entry_name):
        plugin = Plugin(f"{entry.value} ({entry.dist.name if entry.dist else 'an installed package'})", entry.value)
        try:
            found = entry.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
            plugin.problem = _problem(plugin.spec, error, "")
        else:
            plugin.problem = _unfit(entry, found, plugin)
            if plugin.problem is None:
                plugin.policies = [found]
        yield plugin


def _entry_name(entry: EntryPoint) -> str:
    return entry.name


def _unfit(entry: EntryPoint, found: object, plugin: Plugin) -> Problem | None:
    if not (isinstance(found, type) and issubclass(found, Policy) and hasattr(found, "name")):
        return Problem("plugin.empty", f"the entry point '{entry.name}' of {plugin.spec} is no policy", plugin.place)
    if found.name != entry.name:
        message = f"the entry point '{entry.name}' of {plugin.spec} must be named '{found.name}', like its policy"
        return Problem("plugin.name", message, plugin.place)
    return None


def _load_file(path: Path) -> ModuleType:
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    name = f"gatewright_plugin_{path.stem}_{digest}"
    known = _unchanged(name)
    if known is not None:
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    old = sys.modules.get(name)
    sys.modules[name] = module  # pydantic looks annotations up there
    try:
        # From the source, not through the loader: its cache of bytecode knows a file's age in whole seconds only.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102 - this is what plugins are
    except BaseException:
        if old is not None:
            sys.modules[name] = old
        else:
            del sys.modules[name]
        raise
    _remember(name, module)
    return module


def _load_module(name: str) -> ModuleType:
    known = _unchanged(name)
    if known is not None:
        return known
    old = {}
    if name in _loaded:  # it has changed: forget it and everything below it
        old = {other: sys.modules.pop(other) for other in list(sys.modules) if _belongs(other, name)}
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except BaseException:
        sys.modules.update(old)
        raise
    _remember(name, module)
    return module


def _belongs(other: str, name: str) -> bool:
    return other == name or other.startswith(f"{name}.")


def _unchanged(name: str) -> ModuleType | None:
    known = _loaded.get(name)
    if known is None or sys.modules.get(name) is not known[1] or _stamp(name) != known[0]:
        return None
    return known[1]


def _remember(name: str, module: ModuleType) -> None:
    if len(_loaded) >= _MOST_LOADED:
        _loaded.clear()
    _loaded[name] = (_stamp(name), module)


def _stamp(name: str) -> _Stamp:
    """What the files of a module and of its submodules look like now."""
    stamps = []
    for other, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) if _belongs(other, name) else None
        if file:
            try:
                status = Path(file).stat()
            except OSError:
                stamps.append((file, 0, 0))
            else:
                stamps.append((file, status.st_mtime_ns, status.st_size))
    return tuple(sorted(stamps))


def _policies_of(module: ModuleType) -> Iterator[type[Policy[Any]]]:
    """The policies defined in the module or below it; not those it only imports from elsewhere."""
    for value in vars(module).values():
        if not (isinstance(value, type) and issubclass(value, Policy)):
            continue
        if _belongs(value.__module__, module.__name__) and hasattr(value, "name"):  # abstract ones have no name
            yield value


def _problem(spec: str, error: BaseException, place: str) -> Problem:
    """What went wrong, at the plugin's own line."""
    file, line, source = place, 0, ""
    if isinstance(error, SyntaxError) and error.filename:
        file, line, source = error.filename, error.lineno or 0, (error.text or "").rstrip()
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == place]
        foreign = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
        for frame in (own or foreign)[-1:]:
            file, line, source = frame.filename, frame.lineno or 0, frame.line or ""
    if isinstance(error, ModuleNotFoundError) and error.name and _belongs(spec, error.name):
        hint = "is it installed in the gateway's environment? files are written like ./plugins/stamp.py"
        return Problem("plugin.missing", f"there is no module '{spec}'", place, hint=hint)
    if isinstance(error, FileNotFoundError) and error.filename == place:
        return Problem("plugin.missing", f"there is no file {place}", place)
    message = f"the plugin '{spec}' cannot be loaded: {type(error).__name__}: {error}"
    return Problem("plugin.failed", message, file, line, source=source)
