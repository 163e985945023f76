"""Benchmarks: ``macro`` measures whole processes beside their peers, ``micro`` single pieces; ``report`` renders."""
