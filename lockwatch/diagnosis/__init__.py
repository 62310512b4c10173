"""What may be wrong with a set-up: looked at in areas, each of which says what it found and what to change."""
