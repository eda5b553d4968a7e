"""Assets: pictures with a state, their comments, and the audit log of what was done with them."""
