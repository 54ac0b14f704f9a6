"""What restoring a release means, and carrying it out."""
