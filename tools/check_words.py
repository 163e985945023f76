"""The words of the project, and what must not stand in a public tree.

Everywhere: no package registry's host name, no absolute path of somebody's machine. In code: no class or file that
says nothing (Manager, Helper, Util). In what users read (README, docs, examples, messages of the configuration): one
word for one thing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]

#: Hosts of package registries, whatever their subdomain.
REGISTRY = re.compile(r"\b(?:pypi|pythonhosted|npmjs|crates|debian|golang)\.(?:org|com|io)\b")
#: Folders in which people and build machines keep their trees.
MACHINE_PATH = re.compile(r"(?<![\w.~}/-])/(?:work|home|root|Users|tmp|opt)/[\w.-]+")
VAGUE = re.compile(r"\bclass \w*(?:Manager|Helper|Util)s?\b")
#: word → what we say. `ip_filter`, "request target" and code in backticks are other things.
WORDS = {
    r"backends?": "upstream or endpoint",
    r"clusters?": "upstream, or gateways that share state",
    r"nodes?": "endpoint or worker",
    r"(?<!request )(?<!request-)targets?": "upstream",
    r"middlewares?": "policy",
    r"filters?": "policy",
}
BANNED = {re.compile(rf"(?<![\w/-]){word}(?![\w/-])", re.IGNORECASE): better for word, better in WORDS.items()}
#: The schema holds the descriptions of all fields of the configuration.
USER_TEXT = ("README.md", "docs/", "examples/", "schema/")
PROSE = (".md", ".yaml", ".json")
#: Comparisons use the words of other products, internals those of the RFCs.
OTHERS_WORDS = ("docs/start/coming-from.md", "docs/internals/")
SKIPPED = ("constraints.txt", "LICENSE", "benchmarks/results/", "tests/corpus/")
BINARY = (".png", ".ico", ".woff2", ".pem", ".bin", ".pyc")


def tracked() -> Iterator[str]:
    """The files under version control, or all of them outside a repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if not name.startswith(SKIPPED) and not name.endswith(BINARY) and (ROOT / name).is_file():
            yield name


def prose(name: str, line: str) -> str:
    """The part of a line that is meant for people: no code in backticks, no links' addresses."""
    if name.endswith(".json"):
        line = line.partition('"description":')[2]
    return re.sub(r"`[^`]*`|\]\([^)]*\)|https?://\S+", " ", line)


def findings(name: str, text: str) -> Iterator[str]:
    """What is wrong in one file."""
    fenced = False
    for_users = name.startswith(USER_TEXT) and name.endswith(PROSE) and not name.startswith(OTHERS_WORDS)
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{name}:{number}"
        if REGISTRY.search(line):
            yield f"{place}: a package registry's host name"
        if (path := MACHINE_PATH.search(line)) is not None:
            yield f"{place}: a path of one machine: {path.group()}"
        if name.endswith(".py") and VAGUE.search(line):
            yield f"{place}: a name that says nothing"
        fenced ^= line.lstrip().startswith("```")
        if for_users and not fenced:
            for word, better in BANNED.items():
                if (hit := word.search(prose(name, line))) is not None:
                    yield f"{place}: we do not say {hit.group()!r} but {better}"


def main() -> int:
    """Check the tree; 1 when something was found."""
    count = 0
    for name in tracked():
        if name == "tools/check_words.py":
            continue
        if Path(name).stem in {"utils", "util", "helpers", "misc"}:
            count += 1
            print(f"{name}: a file name that says nothing")
        for finding in findings(name, (ROOT / name).read_text(encoding="utf-8", errors="replace")):
            count += 1
            print(finding)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
