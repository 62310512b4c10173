"""Attacks: what is counted, what is made of it, and what is done about it."""
