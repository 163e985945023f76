"""``gatewright demo``: two sample upstreams and a gateway in front of them."""
