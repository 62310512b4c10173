"""Alerts: what operators are told, signed, kept until it has arrived, and sent to no address it must not reach."""
