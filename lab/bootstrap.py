"""Makes the checkout's `.venv` from the pinned, hashed requirements, unless it is current.

Runs on any Python 3 with nothing installed, so that a wrong Python gets a sentence instead of
a syntax error: no f-strings, nothing newer here.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys

MINIMUM = (3, 11)
EXIT_REFUSED = 3
CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(CHECKOUT, ".venv")
INSTALLER = os.path.join(CHECKOUT, "requirements-bootstrap.txt")
REQUIREMENTS = os.path.join(CHECKOUT, "requirements-dev.txt")


def refuse(what: str, why: str, fix: str) -> None:
    """End with the project's form of error."""
    sys.stderr.write("error: {}\n  why:   {}\n  state: nothing was changed\n".format(what, why))
    sys.stderr.write("  next:  {}\n".format(fix))
    sys.exit(EXIT_REFUSED)


def stamp() -> str:
    """Return the name of the file that marks a complete environment of these requirements.

    The Python counts by its installation: in the lab's shell `python3` is that of `.venv`, which
    must not take the environment it runs from for another Python's and remove it.
    """
    digest = hashlib.sha256(sys.version.encode() + sys.base_prefix.encode())
    for path in (INSTALLER, REQUIREMENTS):
        with open(path, "rb") as file:
            digest.update(file.read())
    return os.path.join(VENV, "complete-" + digest.hexdigest()[:16])


def say(text: str) -> None:
    """Tell the person what happens."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main() -> None:
    """Make the environment."""
    if sys.version_info < MINIMUM:
        wanted, found = ".".join(map(str, MINIMUM)), ".".join(map(str, sys.version_info[:3]))
        refuse(
            "Python {} or newer is needed".format(wanted),
            "{} is Python {}".format(sys.executable, found),
            "install a newer one and name it: make PYTHON=/path/to/python{} ...".format(wanted),
        )
    mark = stamp()
    if os.path.exists(mark):
        return
    # A second `make` waits here until the first has made the environment.
    lock = os.open(CHECKOUT, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if os.path.exists(mark):
        return
    try:
        import ensurepip  # noqa: F401 - Debian ships Python without it
        import venv
    except ImportError as error:
        refuse(
            "this Python cannot make virtual environments",
            "{} has no module {}".format(sys.executable, error.name),
            "apt-get install python3-venv",
        )
    say("python environment: .venv from requirements-dev.txt")
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        venv.create(VENV, with_pip=True)
        python = os.path.join(VENV, "bin", "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.check_call([*pip, "--require-hashes", "-r", INSTALLER])
        uv = [os.path.join(VENV, "bin", "uv"), "pip", "install", "--quiet", "--compile-bytecode"]
        uv += ["--python", python, "--require-hashes", "-r", REQUIREMENTS]
        if subprocess.call(uv) != 0:
            # uv does not read pip's configuration; a mirror named only there needs pip itself.
            say("uv could not install; trying pip")
            subprocess.check_call([*pip, "--require-hashes", "-r", REQUIREMENTS])
        # The command `aegis`, from this checkout; what it needs is installed already.
        subprocess.check_call([*pip, "--no-deps", "--no-build-isolation", "--editable", CHECKOUT])
    except (subprocess.CalledProcessError, OSError) as error:
        shutil.rmtree(VENV, ignore_errors=True)
        refuse(
            "the Python environment could not be made",
            "{} (what it printed above says why)".format(error),
            "mend the cause (network to the package index, disk space) and run the same again",
        )
    with open(mark, "w"):
        pass


if __name__ == "__main__":
    main()
