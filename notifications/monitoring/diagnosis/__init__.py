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
from scheduling import isolation


def examine() -> list[Finding]:
    """Look at everything that can be looked at."""
    found = _asked(storage.settings_errors, storage.folder)
    if any(finding.is_error and finding.id != storage.NO_SPACE for finding in found):
        return found  # no process starts on these, so nothing can be asked
    unreachable = _asked(storage.database)
    found += unreachable
    if not unreachable:
        behind = _asked(storage.migrations)
        found += behind
        found += _asked(storage.clocks, locks.waits)
        if not behind:
            found += _asked(*schedules.PROBES, *delivery.PROBES)
    silent = _asked(broker.reachable)
    found += silent
    if not silent:
        found += _asked(broker.durability, broker.workers)
    found += _asked(broker.shared_state_works)
    return found


def _asked(*probes: Probe) -> list[Finding]:
    """Ask each probe; what one raises is a finding, and the others are asked all the same."""
    found: list[Finding] = []
    for probe in probes:
        try:
            found += probe()
        except Exception as error:
            if isolation.concerns_everybody(error):
                raise
            fault = isolation.fault_of(error, probe.__name__)
            found.append(
                Finding(
                    "doctor.probe",
                    f"Something cannot be looked at ({(probe.__doc__ or fault.stage).strip()}): "
                    f"{fault.error} at {fault.place}",
                    unreadable.cure(probe),
                )
            )
    return found


__all__ = ["Finding", "examine"]
