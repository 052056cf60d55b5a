"""From a file, or a list, of requests to a checked plan of batches. Nothing in here sends anything."""
