"""The entry of each workflow step, and `lat`, what they share."""
