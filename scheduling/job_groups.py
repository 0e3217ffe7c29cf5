"""Groups of jobs: each job may be in several, which its definition names."""

from scheduling import jobs
from scheduling.kept.documents import Job


def members(group: str = "") -> list[Job]:
    """Return the jobs of a group, in the order of their names; all jobs without one."""
    all_jobs = [jobs.get(name) for name in jobs.names()]
    return [job for job in all_jobs if not group or group in job.definition.get("groups", [])]
