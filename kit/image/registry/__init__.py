"""A registry: the reference of an image there, the login, the requests, and the push of a layout."""
