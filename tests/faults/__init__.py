"""What kills, stops and starves a lake: real processes, disks and files. `make test-faults` runs it."""
