"""Pages for people: one HTML file each, with its plots in it, that asks nothing of any network."""
