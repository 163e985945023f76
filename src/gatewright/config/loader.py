"""Reads a configuration: files, environment, models; with everything that is wrong."""

from __future__ import annotations

from collections.abc import Mapping as Environ
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from gatewright.config.base import Model, check_name
from gatewright.config.consumer import Consumer
from gatewright.config.document import Document
from gatewright.config.environment import apply_environment
from gatewright.config.gateway import Gateway
from gatewright.config.interpolate import Interpolator
from gatewright.config.listener import Listener
from gatewright.config.merge import merge
from gatewright.config.messages import report
from gatewright.config.route import UNREADABLE, Policies, PolicyItem, Route
from gatewright.config.tree import Mapping, Path, parse, problem_at
from gatewright.config.upstream import Upstream
from gatewright.errors import ConfigError, Problem

SUFFIXES: Final = (".yaml", ".yml", ".json")
MOST_FILES: Final = 10_000

M = TypeVar("M", bound=BaseModel)


@dataclass(slots=True)
class Loaded:
    """A configuration as it was read.

    What could not be read is left out of the lists; its name is still in ``names``, so that nothing complains about a
    missing upstream that only has a wrong key. ``settings`` is the rest: its lists are empty.

    Attributes:
        document: Data, places and problems.
        settings: Everything but the lists below.
        listeners, upstreams, consumers, routes, policies: Each with its path in the document.
        names: Per kind (``upstreams``, ``listeners``) every name that is written anywhere.
        files: Every file that was read.
    """

    document: Document
    settings: Gateway
    listeners: list[tuple[Path, Listener]]
    upstreams: dict[str, Upstream]
    consumers: list[tuple[Path, Consumer]]
    routes: list[tuple[Path, Route]]
    policies: list[tuple[Path, PolicyItem]]
    names: dict[str, set[str]]
    files: list[FilePath] = field(default_factory=list)


class _Policies(Model):
    policies: Policies = ()


def load(paths: Sequence[FilePath], environ: Environ[str, str]) -> Loaded:
    """Read and validate. Raises ConfigError when there is nothing to work on; other problems are in the document."""
    problems: list[Problem] = []
    documents, files = read(paths, problems)
    if not documents:
        if not any(problem.severity == "error" for problem in problems):
            problems.append(Problem("config.empty", "the configuration is empty", file=str(files[0]) if files else ""))
        raise ConfigError(problems)
    root = apply_environment(merge(documents, problems), environ, problems)
    interpolator = Interpolator(environ)
    document = Document(root, interpolator)
    for problem in problems:
        document.add(problem)
    loaded = _validate(document)
    loaded.files = [*files, *interpolator.files]
    return loaded


def read(paths: Sequence[FilePath], problems: list[Problem]) -> tuple[list[Mapping], list[FilePath]]:
    """The trees of all files, in the order in which they are merged, and the files themselves."""
    documents: list[Mapping] = []
    files: list[FilePath] = []
    for path in paths:
        files += _files(path, problems)
    for file in files:
        try:
            node, found = parse(str(file), file.read_bytes())
        except ConfigError as error:
            problems += error.problems
            continue
        except OSError as error:
            message = f"cannot be read: {(error.strerror or str(error)).lower()}"
            problems.append(Problem("config.file", message, file=str(file)))
            continue
        problems += found
        if isinstance(node, Mapping):
            documents.append(node)
        elif node is not None and not _is_blank(node):
            problems.append(problem_at(node, "config.type", "a configuration is a mapping (key: value)"))
    return documents, files


def _is_blank(node: Any) -> bool:
    return getattr(node, "text", None) == ""


def _files(path: FilePath, problems: list[Problem]) -> list[FilePath]:
    """The file itself, or those of a directory, by name; hidden ones and other suffixes are left out."""
    if "\0" in str(path):
        problems.append(Problem("config.file", "a path may not hold a zero byte", file=str(path).replace("\0", "?")))
        return []
    if not path.is_dir():
        return [path]
    found = sorted(
        entry
        for entry in path.iterdir()
        if entry.suffix in SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    )
    if not found:
        problems.append(Problem("config.file", f"the directory holds no {', '.join(SUFFIXES)} file", file=str(path)))
    elif len(found) > MOST_FILES:
        problems.append(Problem("config.limits", f"the directory holds more than {MOST_FILES} files", file=str(path)))
    return found[:MOST_FILES]


def _validate(document: Document) -> Loaded:
    """Validate each part by itself, so that one mistake hides no other."""
    data = document.data
    rest = {key: value for key, value in data.items() if value is not None}
    listeners = _listed(document, rest.pop("listeners", []), "listeners", Listener)
    consumers = _listed(document, rest.pop("consumers", []), "consumers", Consumer)
    routes = _listed(document, rest.pop("routes", []), "routes", Route)
    written = rest.pop("upstreams", {})
    upstreams: dict[str, Upstream] = {}
    if isinstance(written, dict):
        for name, value in written.items():
            _check_key(document, name, ("upstreams", name))
            upstream = _model(document, {} if value is None else value, ("upstreams", name), Upstream)
            if upstream is not None:
                upstreams[name] = upstream
    else:
        rest["upstreams"] = written  # says what is wrong with it
    policies = _policies(document, rest.pop("policies", []))
    settings = _model(document, rest, (), Gateway)
    return Loaded(
        document,
        settings if settings is not None else Gateway(),
        listeners,
        upstreams,
        consumers,
        routes,
        policies,
        {
            "upstreams": {str(name) for name in written} if isinstance(written, dict) else set(),
            "listeners": _names(data.get("listeners")),
        },
    )


def _check_key(document: Document, name: str, path: Path) -> None:
    try:
        check_name(name)
    except PydanticCustomError as error:
        context = error.context or {}
        document.problem("config.value", context["message"], path, key=True, hint=context["hint"])


def _names(value: object) -> set[str]:
    if not isinstance(value, list):
        return set()
    return {str(item["name"]) for item in value if isinstance(item, dict) and "name" in item}


def _listed(document: Document, value: object, key: str, model: type[M]) -> list[tuple[Path, M]]:
    if not isinstance(value, list):
        _model(document, {key: value}, (), Gateway)
        return []
    found = []
    for index, item in enumerate(value):
        path: Path = (key, index)
        parsed = _model(document, item, path, model)
        if parsed is not None:
            found.append((path, parsed))
    return found


def _policies(document: Document, value: object) -> list[tuple[Path, PolicyItem]]:
    parsed = _model(document, {"policies": value}, (), _Policies)
    if parsed is None or not isinstance(value, list):
        return []
    return [(("policies", index), item) for index, item in enumerate(parsed.policies)]


def _model(document: Document, value: Any, path: Path, model: type[M]) -> M | None:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        report(document, error, model, path)
        return _without_faults(value, error, model, path)


def _without_faults(value: Any, error: ValidationError, model: type[M], path: Path) -> M | None:
    """What is left when everything faulty is taken away, so that the rest can be checked too; None if too little."""
    if not isinstance(value, dict):
        return None
    faulty = {details["loc"][0] for details in error.errors(include_url=False, include_input=False) if details["loc"]}
    remains = {key: item for key, item in value.items() if key not in faulty}
    if "policies" in faulty and isinstance(value["policies"], list):
        wrong = {details["loc"][1] for details in error.errors(include_url=False) if details["loc"][0] == "policies"}
        remains["policies"] = [UNREADABLE if at in wrong else item for at, item in enumerate(value["policies"])]
    if "name" in faulty:
        remains["name"] = f"_{path[-1]}"  # anything that nobody else is called
    try:
        return model.model_validate(remains)
    except ValidationError:
        return None
