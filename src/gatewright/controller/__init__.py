"""The control plane of one machine: one process, off the request path."""
