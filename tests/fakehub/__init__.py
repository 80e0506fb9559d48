"""A model hub on this machine: the requests of the real client, answered from memory, with faults to order."""
