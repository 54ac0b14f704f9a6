"""Operations on stacks: deploy behind a gate, roll back exactly, recover after a death.

Knows stacks, updates and checkpoints, and never imports a program: it works for any Pulumi
program on Kubernetes.
"""
