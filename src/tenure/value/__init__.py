"""Money: what a contact earns, from which probability on it pays, and whom few contacts should reach."""
