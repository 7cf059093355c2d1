"""What is true, whoever believes otherwise: hosts, the storage target, VMs."""
