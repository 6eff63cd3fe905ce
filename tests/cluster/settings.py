"""What Ray reads when it is imported, which all modules of this package do after this one."""

from rayorch.host import ray_cluster

ray_cluster.set_environment()
