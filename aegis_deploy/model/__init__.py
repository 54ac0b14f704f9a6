"""What is spoken of: releases, events, rollouts, verdicts. Frozen values and pure decisions."""
