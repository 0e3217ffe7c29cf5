"""What an operator orders: batches, holds, replays, tests of accounts and templates, API keys."""
