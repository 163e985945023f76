"""Any bytes are heads or refusals: request lines, status lines, sections of fields, alone and one after the other.

``fuzz_h1_head.py tests/corpus/h1`` fuzzes with atheris; ``--replay`` only runs the files, and needs no atheris.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gatewright.errors import ProtocolError
from gatewright.testing.corpus import decode
from gatewright.wire.h1 import RequestFields, ResponseFields, parse_status_line, read_request_line
from gatewright.wire.sections import Sections

KNOWN = Sections(RequestFields), Sections(ResponseFields)


def one_input(data: bytes) -> None:
    """ProtocolError is the only exception that is documented; what is known of the last input changes nothing."""
    data = decode(b"".join(line for line in data.split(b"\n") if not line.startswith(b"#"))) if b"\\r" in data else data
    line, _, rest = data.partition(b"\r\n")
    section = rest.partition(b"\r\n\r\n")[0]
    for read in (read_request_line, parse_status_line):
        outcome(read, line)
    for kind, known in zip((RequestFields, ResponseFields), KNOWN, strict=True):
        alone, after = outcome(kind, section, 128), outcome(known.read, section, 128)
        facts = [
            str(each) if isinstance(each, ProtocolError) else (each.pairs, each.framing) for each in (alone, after)
        ]
        if facts[0] != facts[1]:
            raise AssertionError(section)


def outcome(read, *arguments):  # type: ignore[no-untyped-def]
    try:
        return read(*arguments)
    except ProtocolError as error:
        return error


if __name__ == "__main__":
    if sys.argv[1:2] == ["--replay"]:
        for file in sorted(file for folder in sys.argv[2:] for file in Path(folder).rglob("*") if file.is_file()):
            one_input(file.read_bytes())
    else:
        import atheris

        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
