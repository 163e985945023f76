"""A data-plane process."""
