"""The policy pack's start: the engine runs this directory."""

from aegis_policy.crossguard import serve

if __name__ == "__main__":
    serve()
