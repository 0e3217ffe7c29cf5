"""The HTTP API: each operation checks a request and calls the same functions as Python does."""
