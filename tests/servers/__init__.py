"""Real servers for tests and benchmarks: Postgres, Redis and SMTP, on free loopback ports.

Each runs in a temporary folder, and ends with the run that started it, even after kill -9.
"""
