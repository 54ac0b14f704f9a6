"""What is wrong with an object of a store that is no service, in a person's words."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from aegis_deploy.backend.buckets.object_store import Bucket
from aegis_deploy.backend.history_files import fault_of
from aegis_deploy.common.errors import AegisError


@dataclass(frozen=True)
class Faults:
    """What to tell of the objects of a bucket.

    Attributes:
        bucket: Where they are.
    """

    bucket: Bucket

    def gone(self, key: str, copy: str, updates: int) -> AegisError:
        """Word that a stack's state is not there, although its history is.

        Args:
            key: Where it should be.
            copy: The newest copy of it that can be read.
            updates: How many updates its history has.
        """
        return AegisError(
            what=f"the stack's state is gone: there is no {self.bucket.place(key)}",
            why=f"its history is there ({updates} updates), and so is a copy of the state",
            next=self._command("put the newest copy in its place", "cp", copy, key) + "\nthen "
            "aegis recover. Do not make the stack anew: it would know nothing of what runs",
        )

    def unwritten(self, key: str, error: OSError) -> AegisError:
        """Word that the stack's tags could not be written."""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return AegisError(
            what="the disk that holds the state is full"
            if full
            else "the stack's tags cannot be written",
            why=f"{self.bucket.place(key)}: {fault_of(error)}",
            next="make room, then: aegis recover" if full else "mend that, then: aegis recover",
        )

    def damaged(self, key: str, error: Exception, copy: str | None = None) -> AegisError:
        """Word that an object cannot be read, and what there is in its place."""
        found = AegisError(what=f"{self.bucket.place(key)} cannot be read", why=fault_of(error))
        if copy is not None:
            found.why += f"; the newest copy that can be read is {self.bucket.place(copy)}"
            found.next = self._command("put it in its place", "cp", copy, key)
            found.next += "\nthen aegis recover"
        return found

    def damaged_tags(self, key: str, error: Exception, copy: str | None) -> AegisError:
        """Word that the stack's tags cannot be read, and what there is in their place."""
        found = self.damaged(key, error)
        if copy is not None:
            found.next = self._command("put its copy in its place", "cp", copy, key)
            return found
        found.why += "\nit says which releases are verified, and there is no copy of it"
        found.next = self._command("move it away", "mv", key, f"{key}.damaged") + (
            "\nthen aegis deploy: it lets the gate judge what runs, and marks it as verified again"
        )
        return found

    def damaged_layout(self, key: str, error: Exception) -> AegisError:
        """Word that the file cannot be read that says how the store is laid out."""
        found, line = self.damaged(key, error), "version: 1"
        place = self.bucket.place(key)
        if self.bucket.shell is None:
            found.next = f"write it anew, with the one line: {line}"
        elif self.bucket.shell:
            found.next = f"write it anew: echo '{line}' | {self.bucket.shell}cp - {place}"
        else:
            found.next = f"write it anew: echo '{line}' > {place}"
        return found

    def _command(self, words: str, command: str, source: str, target: str) -> str:
        source, target = self.bucket.place(source), self.bucket.place(target)
        if self.bucket.shell is None:
            return f"{words}: {source}\nas {target}"
        return f"{words}: {self.bucket.shell}{command} {source} {target}"
