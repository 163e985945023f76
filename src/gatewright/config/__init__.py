"""What the user writes: models, loader and checks."""
