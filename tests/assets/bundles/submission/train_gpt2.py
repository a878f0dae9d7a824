"A toy submission."
