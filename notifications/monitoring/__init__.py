"""What one reads about the system: overview, timelines, metrics of its state, diagnosis."""
