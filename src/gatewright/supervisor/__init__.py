"""The parent process. Standard library only."""
