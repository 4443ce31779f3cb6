"""A Local EC2 for tests: moto's API, QEMU guests as instances, IMDSv2, TLS endpoints, faults."""

from .cloud import Keys, LocalEc2, default_cache
from .errors import LocalEc2Error
from .faults import Effect, Fault
from .settings import HELPER_ROLE, JOB_BUCKET, Settings

__all__ = [
    "HELPER_ROLE",
    "JOB_BUCKET",
    "Effect",
    "Fault",
    "Keys",
    "LocalEc2",
    "LocalEc2Error",
    "Settings",
    "default_cache",
]
