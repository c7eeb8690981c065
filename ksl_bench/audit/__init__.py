"""The audit of a ticket: what its certificates claim, beside what the models do."""
