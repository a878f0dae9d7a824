#: title = "Validates its last step only"
#: kind = "score"
#: args = ["--val-every", "0"]
#: patterns = [2]
#: expect = "caught"
#: by = ["evidence.validation_lines"]
#: note = "One loss has no curve that it could be held against."
# nothing is added: the argument does it
