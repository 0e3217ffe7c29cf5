"""Who must not be written to any more, and the links by which people say so."""
