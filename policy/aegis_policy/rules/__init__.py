"""The rules, one a file."""

from __future__ import annotations

from . import (
    data_profile,
    disruption_budget,
    grace_period,
    image_by_digest,
    namespace_of_stack,
    no_latest_tag,
    no_privilege,
    no_wildcard_rbac,
    probes,
    production_spread,
    resource_limits,
    rolling_update,
    secrets_are_secret,
    staging_is_half,
    waived,
)

RULES = (
    rolling_update.RULE,
    image_by_digest.RULE,
    no_latest_tag.RULE,
    resource_limits.RULE,
    probes.RULE,
    grace_period.RULE,
    disruption_budget.RULE,
    no_privilege.RULE,
    namespace_of_stack.RULE,
    staging_is_half.RULE,
    production_spread.RULE,
    data_profile.RULE,
    secrets_are_secret.RULE,
    no_wildcard_rbac.RULE,
    waived.RULE,
)
"""Every rule there is, in the order they are told."""
