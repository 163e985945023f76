"""The admin listener: health, readiness, status and metrics over HTTP."""
