"""What everything else stands on: errors, the console, signals, files that are whole, processes."""
