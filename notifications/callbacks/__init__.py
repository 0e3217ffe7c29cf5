"""What providers and recipients report, and what is reported to submitting systems."""
