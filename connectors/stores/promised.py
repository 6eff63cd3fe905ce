"""What the object stores promise, and on what it was tested."""

from typing import Final

from connectors.store import Promises
from connectors.stores.servers import GS_SCHEMES, S3_SCHEMES

_S3_NOTE: Final = (
    "parts of an upload that a dead writer began go with its run, where the keys may list and end "
    "uploads (s3:ListBucketMultipartUploads, s3:AbortMultipartUpload); else a lifecycle rule is to "
    "remove them. Tested on SeaweedFS, not on Amazon's servers"
)
_GS_NOTE: Final = (
    "tested on a server of our own that does what Google documents, not on Google's servers. "
    "Uploads that a dead writer began stay until a lifecycle rule (AbortIncompleteMultipartUpload) "
    "removes them"
)
_AZURE_NOTE: Final = (
    "tested on Azurite, not on Azure's servers. Blocks that a dead writer left go after a week"
)


def promised(scheme: str) -> Promises:
    """Return what an object store promises, and on which servers that was seen."""
    note = _S3_NOTE if scheme in S3_SCHEMES else _GS_NOTE if scheme in GS_SCHEMES else _AZURE_NOTE
    return Promises(exclusive_create=True, read_after_write=True, durable=True, note=note)
