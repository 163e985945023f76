"""Sans-IO codecs: bytes in, bytes and events out."""
