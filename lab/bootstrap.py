"""Makes the checkout's `.venv` from the pinned, hashed requirements, unless it is current.

With the argument `policy` it makes the policy pack's own as well, `policy/.venv`; with `scan` that
of checkov, `policy/.checkov`.

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
POLICY = os.path.join(CHECKOUT, "policy")
OTHERS = {
    "policy": (os.path.join(POLICY, ".venv"), os.path.join(POLICY, "requirements.txt")),
    "scan": (os.path.join(POLICY, ".checkov"), os.path.join(POLICY, "requirements-checkov.txt")),
}
INSTALLER = os.path.join(CHECKOUT, "requirements-bootstrap.txt")
REQUIREMENTS = os.path.join(CHECKOUT, "requirements-dev.txt")
PACKAGES = ("app", "components", "lab", "aegis_deploy")


def refuse(what: str, why: str, fix: str) -> None:
    """End with the project's form of error."""
    sys.stderr.write("error: {}\n  why:   {}\n  state: nothing was changed\n".format(what, why))
    sys.stderr.write("  next:  {}\n".format(fix))
    sys.exit(EXIT_REFUSED)


def stamp(directory: str, *pinned: str) -> str:
    """Return the name of the file that marks a complete environment of these requirements.

    The Python counts by its installation: in the lab's shell `python3` is that of `.venv`, which
    must not take the environment it runs from for another Python's and remove it.
    """
    digest = hashlib.sha256(sys.version.encode() + sys.base_prefix.encode())
    for path in pinned:
        with open(path, "rb") as file:
            digest.update(file.read())
    return os.path.join(directory, "complete-" + digest.hexdigest()[:16])


def say(text: str) -> None:
    """Tell the person what happens."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def install(directory: str, requirements: str, *, bare: bool) -> None:
    """Make a virtual environment and install into it.

    Args:
        directory: Where it is made.
        requirements: What is installed, with hashes.
        bare: Whether that is all: no installer of its own, no command `aegis`.
    """
    import venv

    venv.create(directory, with_pip=True)
    python = os.path.join(directory, "bin", "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not bare:
        subprocess.check_call([*pip, "--require-hashes", "-r", INSTALLER])
    uv = [os.path.join(VENV, "bin", "uv"), "pip", "install", "--quiet", "--compile-bytecode"]
    uv += ["--python", python, "--require-hashes", "-r", requirements]
    if subprocess.call(uv) != 0:
        # uv does not read pip's configuration; a mirror named only there needs pip itself.
        say("uv could not install; trying pip")
        subprocess.check_call([*pip, "--require-hashes", "-r", requirements])
    if not bare:
        # The command `aegis`, from this checkout; what it needs is installed already.
        subprocess.check_call([*pip, "--no-deps", "--no-build-isolation", "--editable", CHECKOUT])
        # Where Python may not write bytecode, as in many images, every start compiled it all anew.
        packages = [os.path.join(CHECKOUT, name) for name in PACKAGES]
        subprocess.check_call([python, "-m", "compileall", "-q", "-j", "0", *packages])


def ensure(directory: str, requirements: str, *pinned: str, bare: bool) -> None:
    """Make an environment unless it is current; a second `make` waits until the first has made it.

    Args:
        directory: Where it is.
        requirements: What is installed in it.
        pinned: The files that say what it holds; another content is another environment.
        bare: As for :func:`install`.
    """
    mark = stamp(directory, *pinned)
    if os.path.exists(mark):
        return
    lock = os.open(CHECKOUT, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if os.path.exists(mark):
        os.close(lock)
        return
    try:
        import ensurepip  # noqa: F401 - Debian ships Python without it
        import venv  # noqa: F401
    except ImportError as error:
        refuse(
            "this Python cannot make virtual environments",
            "{} has no module {}".format(sys.executable, error.name),
            "apt-get install python3-venv",
        )
    place, source = (os.path.relpath(path, CHECKOUT) for path in (directory, requirements))
    say("python environment: {} from {}".format(place, source))
    shutil.rmtree(directory, ignore_errors=True)
    try:
        install(directory, requirements, bare=bare)
    except (subprocess.CalledProcessError, OSError) as error:
        shutil.rmtree(directory, ignore_errors=True)
        refuse(
            "the Python environment {} could not be made".format(place),
            "{} (what it printed above says why)".format(error),
            "mend the cause (network to the package index, disk space) and run the same again",
        )
    with open(mark, "w"):
        pass
    os.close(lock)


def main() -> None:
    """Make the environments."""
    if sys.version_info < MINIMUM:
        wanted, found = ".".join(map(str, MINIMUM)), ".".join(map(str, sys.version_info[:3]))
        refuse(
            "Python {} or newer is needed".format(wanted),
            "{} is Python {}".format(sys.executable, found),
            "install a newer one and name it: make PYTHON=/path/to/python{} ...".format(wanted),
        )
    ensure(VENV, REQUIREMENTS, INSTALLER, REQUIREMENTS, bare=False)
    for name in sys.argv[1:]:
        directory, requirements = OTHERS[name]
        ensure(directory, requirements, requirements, bare=True)


if __name__ == "__main__":
    main()
