"""What an inspection costs here, stage by stage, and how far from the machine's limits that is."""
