"""What a backend without a database does over its store of jobs and fires. Pure."""
