"""Stored recipients and what they want, suppressions, and signed links for their choices."""
