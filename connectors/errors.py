"""What can go wrong between bytes and Arrow, and what the caller can do about it.

ConnectorError
├── BadUrlError              fix     the URL names no place that a store can open
├── MissingExtraError        fix     an optional library is not installed
└── StoreError
    ├── BadKeyError          fix     the key cannot name an object in this store
    ├── ObjectMissingError   fix     no object has this key
    ├── ObjectDamagedError   repair  it is not what was written
    ├── StoreDeniedError     fix     the credentials or permissions do not allow the call
    ├── StoreReadOnlyError   fix     the place does not take writes
    ├── StoreFullError       fix     no room is left, or a quota is reached
    ├── StoreForkedError     fix     the client does not survive os.fork()
    ├── UnsafeStoreError     fix     exclusive create is not atomic here
    ├── StoreUnavailableError retry  throttled, unreachable, timed out; nothing was changed
    ├── StoreUnsureError     check   a write may have happened, or may still happen
    └── StoreFaultError      report  an answer that no other kind describes

Code branches on `remedy`; people read the text. Every error passes its fields to
`Exception.__init__`, so that it survives pickling between processes.
"""

from typing import ClassVar, Literal

Remedy = Literal["retry", "check", "fix", "stop", "repair", "report"]


class ConnectorError(Exception):
    """Something between bytes and Arrow failed."""

    remedy: ClassVar[Remedy] = "report"

    @property
    def retryable(self) -> bool:
        """Say whether the same call may be repeated as it is."""
        return self.remedy == "retry"


class BadUrlError(ConnectorError):
    """The URL names no place that a store can open."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot open this location: {self.reason}. url={self.url}"


class MissingExtraError(ConnectorError):
    """An optional library is needed here and is not installed."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, needed_for: str, library: str, extra: str) -> None:
        super().__init__(needed_for, library, extra)
        self.needed_for = needed_for
        self.library = library
        self.extra = extra

    def __str__(self) -> str:
        return (
            f"{self.needed_for} needs the library {self.library}, which is not installed: "
            f"run  pip install 'rayorch[{self.extra}]'"
        )


class StoreError(ConnectorError):
    """A call to a store failed. `key` is empty when the call was not about one object."""

    what: ClassVar[str] = "the store failed"
    advice: ClassVar[str] = ""

    def __init__(self, url: str, key: str, reason: str) -> None:
        super().__init__(url, key, reason)
        self.url = url
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.what}: {self.reason}{advice}. store={self.url}, key={self.key}"


class BadKeyError(StoreError):
    """The key cannot name an object in this store."""

    remedy: ClassVar[Remedy] = "fix"
    what: ClassVar[str] = "bad key"


class ObjectMissingError(StoreError):
    """No object has this key."""

    remedy: ClassVar[Remedy] = "fix"
    what: ClassVar[str] = "no such object"


class ObjectDamagedError(StoreError):
    """The object is not what was written: its checksum says so."""

    remedy: ClassVar[Remedy] = "repair"
    what: ClassVar[str] = "damaged object"
    advice: ClassVar[str] = "`rayorch fsck` says what else is, and what to do"


class StoreDeniedError(StoreError):
    """The credentials or permissions do not allow the call."""

    remedy: ClassVar[Remedy] = "fix"
    what: ClassVar[str] = "access denied"
    advice: ClassVar[str] = "check the permissions and the credentials of this process"


class StoreReadOnlyError(StoreError):
    """The place does not take writes."""

    remedy: ClassVar[Remedy] = "fix"
    what: ClassVar[str] = "the store is read-only"
    advice: ClassVar[str] = "choose another location, or mount this one writable"


class StoreFullError(StoreError):
    """No room is left, or a quota or size limit is reached. The object was not written."""

    remedy: ClassVar[Remedy] = "fix"
    what: ClassVar[str] = "the store is full"
    advice: ClassVar[str] = "free some space or raise the quota, then resume"


class StoreForkedError(StoreError):
    """The client was used before os.fork(), and would hang for ever in the child."""

    remedy: ClassVar[Remedy] = "fix"
    what: ClassVar[str] = "the store's client does not survive a fork"
    advice: ClassVar[str] = "start worker processes with the spawn or forkserver method"


class UnsafeStoreError(StoreError):
    """Exclusive create is not atomic here, so two writers could both believe that they won."""

    remedy: ClassVar[Remedy] = "fix"
    what: ClassVar[str] = "exclusive create is not safe in this store"
    advice: ClassVar[str] = "keep the home on a local disk, s3://, gs:// or az://"


class StoreUnavailableError(StoreError):
    """Throttled, unreachable or timed out, and nothing was changed or all of it may be repeated."""

    remedy: ClassVar[Remedy] = "retry"
    what: ClassVar[str] = "the store does not answer"


class StoreUnsureError(StoreError):
    """A write may have happened, or may still happen: read back before anything else."""

    remedy: ClassVar[Remedy] = "check"
    what: ClassVar[str] = "the outcome of a write is unknown"


class StoreFaultError(StoreError):
    """The store gave an answer that no other kind describes."""

    remedy: ClassVar[Remedy] = "report"
