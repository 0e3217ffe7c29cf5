"""Tables that concern every room of the house."""

from config.audit.model import AuditEntry

__all__ = ["AuditEntry"]
