"""The macro benchmark: the gateway and its peers as whole processes, under real load, in one run."""
