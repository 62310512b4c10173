"""Benchmarks, run by hand: ``python -m tests.benchmarks checks`` and ``python -m tests.benchmarks requests``.

They print tables and assert nothing: a speed is compared with another speed of the same run, never with a number in a test.
"""
