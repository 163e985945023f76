"""Any octets are a target or a ProtocolError, and a normal path stays as it is.

Run: ``python fuzz/fuzz_target.py tests/corpus/target`` (needs the package ``atheris``).
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from gatewright.errors import ProtocolError
    from gatewright.http.fields import connection_tokens, parse_content_length, parse_qualities, split_list
    from gatewright.http.target import normalise_path, parse_authority, split_target


def test_one_input(data: bytes) -> None:
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
    for parse in (parse_authority, split_list, parse_qualities):
        try:
            parse(data)
        except ProtocolError:
            pass
    for parse_all in (parse_content_length, connection_tokens):
        try:
            parse_all([data])
        except ProtocolError:
            pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
