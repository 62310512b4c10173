"""Attacks: signals, rules, campaigns, bans."""
