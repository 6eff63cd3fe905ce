"""A placement problem in, a plan out: no Ray, no I/O, no clock."""
