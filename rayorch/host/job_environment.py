"""What a process finds in its environment when a Ray Job started it.

Ray hands the job's runtime environment to every actor that the driver starts, and to those that
they start. A control actor and its runners outlive the job and serve others: they keep the packages
that were installed for it. Its working directory they must not keep: functions travel by value, and
a module that a later run imports would be found there as it was for the first one.
"""

import hashlib
import json
from collections.abc import MutableMapping
from typing import Any, Final

JOB_CONFIG: Final = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Where Ray puts it, as JSON."""
_LEFT_OUT: Final = ("working_dir", "excludes")
_PACKAGES: Final = ("pip", "uv", "conda")


def keep_packages_alone(environ: MutableMapping[str, str]) -> str:
    """Take a job's working directory from what actors inherit; return what packages they have.

    That is a fingerprint, and nothing where the job asked for none, or where there is no job.
    """
    text = environ.get(JOB_CONFIG)
    if not text:
        return ""
    config: dict[str, Any] = json.loads(text)
    given: dict[str, Any] = config.get("runtime_env") or {}
    kept = {name: value for name, value in given.items() if name not in _LEFT_OUT}
    environ[JOB_CONFIG] = json.dumps({**config, "runtime_env": kept})
    packages = {name: kept[name] for name in _PACKAGES if kept.get(name)}
    if not packages:
        return ""
    content = json.dumps(packages, sort_keys=True)
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
