"""One file per provider, and which account of which provider a message goes by."""
