"""What lies in the store, and how to remove it: `inventory` reads, `removal` deletes."""
