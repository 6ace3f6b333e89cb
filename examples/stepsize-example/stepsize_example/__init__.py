"""A plug-in package for stepsize: one component of each kind."""
