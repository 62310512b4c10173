"""Attacks and ordinary days under a virtual clock: how soon the detector sees the ones, how seldom it cries on the others.

`python -m tests.simulation --help`. A scenario is a plain generator of events: see `world.Scenario`.
"""
