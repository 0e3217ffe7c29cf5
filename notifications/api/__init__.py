"""The HTTP API: a door for whatever is not Python, never a second way of doing anything."""
