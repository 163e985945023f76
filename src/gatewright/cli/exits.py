"""Exit codes, the same for every command. They are part of the interface: docs/reference/cli.md."""

OK = 0
#: Problems were found, or what was asked for failed.
FAILED = 1
#: The command line itself is wrong.
USAGE = 2
#: The gateway cannot start: bad configuration, address in use.
CANNOT_START = 3
