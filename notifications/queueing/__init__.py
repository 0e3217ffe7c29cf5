"""What is due, what of it is on the broker, and which queue gets a worker's slots."""
