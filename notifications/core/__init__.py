"""Vocabulary and decisions: pure functions and values, without the database."""
