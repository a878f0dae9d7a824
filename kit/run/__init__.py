"""Running one guest: what may happen (`spec`), who keeps it to that (`supervise`), what came of it (`result`)."""
