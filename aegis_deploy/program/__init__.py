"""What a Pulumi program imports: the gate's hooks. Nothing slow is imported before they run."""
