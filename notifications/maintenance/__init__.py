"""What goes on by itself in every scheduler: the sweep, retention and the archive."""
