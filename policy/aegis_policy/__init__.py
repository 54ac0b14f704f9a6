"""The rules a release of aegis keeps to, and the pack that lets Pulumi's engine enforce them.

The rules are pure functions over resources; :mod:`.crossguard` alone knows Pulumi's policy SDK.
"""
