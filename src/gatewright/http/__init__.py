"""HTTP values and rules: no input or output, no event loop, nothing of the configuration."""
