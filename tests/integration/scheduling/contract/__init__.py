"""The contract of a backend: each test is a line of the design document, on each of the three."""
