"""Transports: protocol classes that translate bytes to calls on the exchange and back."""
