"""The audit log: what people, API keys and commands changed, and what they were shown."""
