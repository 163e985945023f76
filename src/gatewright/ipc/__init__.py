"""Messages between the processes of one gateway."""
