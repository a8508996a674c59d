"""The error tree: every failure this package raises on purpose; no handling and no rendering lives here.

::

    ProfilingError                  500 internal
    ├── ConfigurationError          500 bad_configuration   raised at start-up only
    ├── BadRequest                  400 bad_request
    ├── Forbidden                   403 forbidden
    │   └── Unauthorized            401 unauthorized
    ├── MethodNotAllowed            405 method_not_allowed
    ├── Conflict                    409 conflict
    │   ├── AlreadyRunning          409 already_running
    │   ├── NotRunning              409 not_running
    │   └── EngineBusy              409 engine_busy         another tool holds the hook that an engine needs
    ├── TooLarge                    413 too_large
    ├── TooManyRequests             429 too_many_requests
    ├── Unavailable                 501 unavailable         this Python, platform or installation cannot do it
    │   └── MissingExtra            501 missing_extra
    ├── CoordinationFailed          503 coordination_failed
    ├── StorageFailed               500 storage_failed      the output directory cannot be used
    │   └── DiskFull                507 disk_full
    └── DamagedData                 500 damaged_data        a stored file is not what we wrote
"""

from __future__ import annotations

from typing import ClassVar


class ProfilingError(Exception):
    """A failure with a sentence for people (what happened; what to do), an HTTP status and a stable code."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    @property
    def message(self) -> str:
        """The sentence that is shown to people."""
        return str(self)


class ConfigurationError(ProfilingError):
    """The configuration cannot be used; the message lists every mistake at once."""

    code = "bad_configuration"


class BadRequest(ProfilingError):
    """A request asks for something that has no meaning; nothing was started."""

    status = 400
    code = "bad_request"


class Forbidden(ProfilingError):
    """A gate refused the caller."""

    status = 403
    code = "forbidden"


class Unauthorized(Forbidden):
    """The bearer token is missing or wrong."""

    status = 401
    code = "unauthorized"


class MethodNotAllowed(ProfilingError):
    """The endpoint exists, this method on it does not.

    :param allowed: the methods that do exist, for the ``Allow`` header.
    """

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


class Conflict(ProfilingError):
    """The state of the session or of this process does not allow it now."""

    status = 409
    code = "conflict"


class AlreadyRunning(Conflict):
    """A session is running already."""

    code = "already_running"


class NotRunning(Conflict):
    """No session is running."""

    code = "not_running"


class EngineBusy(Conflict):
    """Another tool (a debugger, coverage, another profiler) holds the hook that an engine needs."""

    code = "engine_busy"


class TooLarge(ProfilingError):
    """A request body is over the bound."""

    status = 413
    code = "too_large"


class TooManyRequests(ProfilingError):
    """The rate limit is used up.

    :param retry_after: seconds until the next try may succeed.
    """

    status = 429
    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(ProfilingError):
    """This Python, platform or installation cannot do what was asked."""

    status = 501
    code = "unavailable"


class MissingExtra(Unavailable):
    """An optional package is not installed; the message names the extra to install."""

    code = "missing_extra"

    @classmethod
    def of(cls, package: str, *, extra: str, purpose: str) -> MissingExtra:
        """Build the error for ``package``, which ``purpose`` needs and ``extra`` installs."""
        return cls(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"run: pip install 'flask-profiling-devtools[{extra}]'"
        )


class CoordinationFailed(ProfilingError):
    """The workers could not be told, or the state they share could not be read."""

    status = 503
    code = "coordination_failed"


class StorageFailed(ProfilingError):
    """The output directory cannot be used."""

    code = "storage_failed"


class DiskFull(StorageFailed):
    """There is no room left for what was to be written."""

    status = 507
    code = "disk_full"


class DamagedData(ProfilingError):
    """A stored file is not what this package writes."""

    code = "damaged_data"
