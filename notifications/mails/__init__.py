"""What mails have beside subject and body: kept once, read, and deleted with the last row."""
