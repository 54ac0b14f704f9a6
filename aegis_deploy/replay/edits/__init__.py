"""What is changed in the state before the update that restores a release, each change pure."""
