"""Any bytes are a chunked body, the beginning of one, or refused; and what was read can be written and read again.

``fuzz_chunked.py tests/corpus/chunked`` fuzzes with atheris; ``--replay`` only runs the files, and needs no atheris.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gatewright.errors import ProtocolError
from gatewright.wire.chunked import ChunkedReader, write_chunk, write_end


def read(pieces: list[bytes]) -> tuple[bytes, ChunkedReader]:
    reader, content = ChunkedReader(), b""
    for piece in pieces:
        if reader.done:
            reader.rest += piece
        else:
            content += b"".join(reader.feed(piece))
    return content, reader


def one_input(data: bytes) -> None:
    """The same in one piece and in single octets; ProtocolError is the only exception that is documented."""
    try:
        content, reader = read([data] if data else [])
        again, other = read([data[i : i + 1] for i in range(len(data))])
    except ProtocolError:
        return
    if (content, reader.done, reader.rest, reader.trailers) != (again, other.done, other.rest, other.trailers):
        raise AssertionError("it depends on how the bytes are cut")
    out: list[bytes] = []
    write_chunk(out, content)
    written, last = read([*out, write_end(reader.trailers)])
    if (written, last.done, last.rest, last.trailers) != (content, True, b"", reader.trailers):
        raise AssertionError("what is written is not what was read")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--replay"]:
        for file in sorted(file for folder in sys.argv[2:] for file in Path(folder).rglob("*") if file.is_file()):
            one_input(file.read_bytes())
    else:
        import atheris

        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
