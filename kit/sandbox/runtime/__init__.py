"""What runs a guest: one adapter per engine."""
