"""Stress programs, run by hand: ``python -m tests.stress NAME [options]``. They start servers, print what they counted, and end
with 1 when a promise was broken.
"""
