"""Orders, and the notifications about them."""
