"""What can be measured on this machine: so far, how far the simulator of capacity is off."""
