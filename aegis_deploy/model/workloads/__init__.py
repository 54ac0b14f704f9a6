"""What is spoken of what runs pods: kinds, pods, rollouts. Pure."""
