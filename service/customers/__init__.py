"""Customers as the API shows them: found by reference, listed, created. Credit and status are the stream head's."""
