"""Templates: text in, text out (``docs/templates.md``)."""
