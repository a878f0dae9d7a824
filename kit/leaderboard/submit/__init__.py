"""Submissions: results laid out for a shared repository, sent there, and checked on arrival. Ranks nobody."""
