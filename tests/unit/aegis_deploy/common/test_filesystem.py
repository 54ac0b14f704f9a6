"""Which file system a directory is on."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis_deploy.common.filesystem import is_own, kind

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:5 / /proc rw - proc proc rw
40 22 0:44 / /home rw - nfs4 server:/home rw,local_lock=none
41 40 8:2 / /home/local rw - xfs /dev/sdb rw
42 22 0:45 / /mnt/two\040words rw master:7 - virtiofs share rw
43 22 0:46 / /over rw - tmpfs tmpfs rw
44 22 0:47 / /over rw - cifs //server/share rw
a line that is none
"""


@pytest.mark.parametrize(
    ("path", "name", "own"),
    [
        ("/var/lib", "ext4", True),
        ("/", "ext4", True),
        ("/home/ann/state", "nfs4", False),
        ("/home/local/state", "xfs", True),
        ("/home/locally", "nfs4", False),
        ("/mnt/two words/state", "virtiofs", False),
        ("/over", "cifs", False),
    ],
)
def test_the_nearest_and_last_mount_above_a_path_says_it(
    tmp_path: Path, path: str, name: str, own: bool
) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    assert kind(Path(path), tmp_path / "mounts") == name
    assert is_own(Path(path), tmp_path / "mounts") is own


def test_where_nobody_says_it_may_be_shared(tmp_path: Path) -> None:
    assert kind(tmp_path, tmp_path / "none") == ""
    assert not is_own(tmp_path, tmp_path / "none")


def test_a_link_leads_to_where_it_points(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text(
        f"1 1 8:1 / / rw - ext4 a rw\n2 1 0:9 / {tmp_path}/there rw - nfs b rw\n"
    )
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert kind(tmp_path / "link" / "state", tmp_path / "mounts") == "nfs"
