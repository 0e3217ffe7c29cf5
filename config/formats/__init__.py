"""How Django shows dates and times, by language."""
