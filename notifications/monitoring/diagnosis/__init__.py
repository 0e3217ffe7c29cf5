"""What is wrong with this system, and how to mend it: one finding per fault.

Each probe looks at one thing and gives findings; it never raises for what it is there to find.
Probes that cannot say anything while something deeper is broken are left out then.
"""

from notifications.monitoring.diagnosis import (
    broker,
    delivery,
    locks,
    schedules,
    storage,
    unreadable,
)
from notifications.monitoring.diagnosis.finding import Finding
from notifications.monitoring.diagnosis.unreadable import Probe
from scheduling import isolation, outages


def examine() -> list[Finding]:
    """Look at everything that can be looked at."""
    findings = _asked(storage.settings_errors, storage.folder)
    if any(finding.is_error and finding.id != storage.NO_SPACE for finding in findings):
        return findings  # no process starts on these, so nothing can be asked
    unreachable = _asked(storage.database)
    findings += unreachable
    if not unreachable:
        behind = _asked(storage.migrations)
        findings += behind
        findings += _asked(storage.clocks, locks.waits)
        if not behind:
            findings += _asked(*schedules.PROBES, *delivery.PROBES)
    silent = _asked(broker.reachable)
    findings += silent
    if not silent:
        findings += _asked(broker.durability, broker.workers)
    findings += _asked(broker.shared_state_works)
    return findings


def _asked(*probes: Probe) -> list[Finding]:
    """Ask each probe; what one raises is a finding, and the others are asked all the same."""
    findings: list[Finding] = []
    for probe in probes:
        try:
            findings += probe()
        except Exception as error:
            outage = outages.of(error)
            if outage is None and isolation.concerns_everybody(error):
                raise
            fault = isolation.fault_of(error, probe.__name__)
            why = (
                f"the {outage.server} cannot do this now: {outage.reason} ({outage.code})."
                if outage
                else f"{fault.error} at {fault.place}"
            )
            findings.append(
                Finding(
                    "doctor.probe",
                    f"A check could not be made ({(probe.__doc__ or fault.stage).strip()}): {why}",
                    unreadable.cure(probe),
                )
            )
    return findings


__all__ = ["Finding", "examine"]
