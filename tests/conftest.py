"""What all tests share."""

from hypothesis import settings

# The same examples in every run, on machines of any speed: a failure is a fault of the code, not of the day.
settings.register_profile("symgraph", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("symgraph")
