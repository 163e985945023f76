"""Decisions of the data plane: plain synchronous code, no event loop, no sockets, no clock of its own."""
