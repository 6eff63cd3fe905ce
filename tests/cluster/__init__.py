"""Tests on a real Ray. It reads its settings when it is imported, which all of these modules do."""

from rayorch.host import ray_cluster

ray_cluster.set_environment()
