"""Finding and registering policies that users wrote."""
