"""What Aegis deploys: one module a concern, put together by ``__main__.py``.

Only :mod:`components.settings` reads the stack's configuration; components get typed arguments.
"""

import gc

# The SDKs' modules are some 130,000 objects that live until the program ends a second later.
# Looking through them for garbage, again and again as they come, took 0.1 s of every preview.
gc.set_threshold(1_000_000)
