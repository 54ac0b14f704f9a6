"""Pods that keep a release from coming or from going back, and replacing exactly those."""
