"""Benchmarks, each taken side by side with its floor in one run: ``make bench``, ``ONLY=name``.

A benchmark is a file with a ``Benchmark``, listed in ``bench.catalog``.
"""
