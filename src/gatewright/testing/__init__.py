"""The public test kit: rig, origins, raw client."""
