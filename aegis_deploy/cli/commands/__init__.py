"""The commands of `aegis`, one module each: parse, call one function, show what it returned.

A module here holds the command's function, named as the command, and imports at its top nothing
that is slow to import: no `pulumi`, `kubernetes`, `httpx`, `pydantic` or `rich`. What it calls it
imports when it runs, so that `aegis --help` answers at once. :mod:`cli.main` binds them.
"""
