"""Looking a lake over: every invariant by name, what is wrong and where, and mending what the packages can mend."""
