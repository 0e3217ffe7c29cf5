"""Delivers claimed notifications: claim, render, assign accounts, send, record the outcome."""
