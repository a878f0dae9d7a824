"""Running one guest: what may happen (`spec`), who sees to it (`supervise`), what came of it (`result`)."""
