"""How far the simulator was found to be off, where every answer finds it: under the home.

capacity/calibration.json    the newest of `rayorch bench calibrate`
"""

import logging
from typing import Final

import msgspec

from connectors.errors import ObjectMissingError
from rayorch.capacity.asking import Calibrated
from rayorch.home import Home

KEY: Final = "capacity/calibration.json"
VERSION: Final = 1

logger = logging.getLogger(__name__)


def read_calibrated(home: Home) -> Calibrated | None:
    """Return what the newest calibration found; None: there was none. Raises: StoreError."""
    try:
        found = msgspec.json.decode(home.store.get(KEY), type=Calibrated)
    except ObjectMissingError:
        return None
    except msgspec.DecodeError as error:
        logger.warning("the calibration of the simulator cannot be read. reason=%s", error)
        return None
    return found if found.version == VERSION else None


def keep_calibrated(home: Home, found: Calibrated) -> None:
    """Keep what a calibration found. Raises: StoreError."""
    home.store.put(KEY, msgspec.json.format(msgspec.json.encode(found), indent=1))
