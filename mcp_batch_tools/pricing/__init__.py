"""What batches cost: before they are created, and after they have ended."""
