"""From a configuration to a compiled runtime."""
