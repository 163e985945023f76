"""Any octets are a target or a ProtocolError, and a normal path stays as it is.

``fuzz_target.py tests/corpus/target`` fuzzes with atheris; ``--replay`` only runs the files, and needs no atheris.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gatewright.errors import ProtocolError
from gatewright.http.fields import parse_cookies, split_list
from gatewright.http.target import normalise_path, parse_authority, split_target


def one_input(data: bytes) -> None:
    """Everything but ProtocolError is a find."""
    for method in (b"GET", b"OPTIONS"):
        try:
            path, _, authority, _ = split_target(method, data)
            if path != b"*" and normalise_path(path) != path:
                raise AssertionError(path)
            if authority:
                parse_authority(authority)
        except ProtocolError:
            pass
    try:
        parse_authority(data)
    except ProtocolError:
        pass
    split_list(data)
    parse_cookies([data])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--replay"]:
        for file in sorted(file for folder in sys.argv[2:] for file in Path(folder).rglob("*") if file.is_file()):
            one_input(file.read_bytes())
    else:
        import atheris

        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
