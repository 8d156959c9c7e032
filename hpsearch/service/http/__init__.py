"""What every route shares: who asks, what they may, how errors and answers look."""
