"""What Aegis deploys: one module a concern, put together by ``__main__.py``.

Only :mod:`components.settings` reads the stack's configuration; components get typed arguments.
"""
