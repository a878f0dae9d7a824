#: title = "Scores fewer validation tokens than the rules ask for"
#: kind = "score"
#: patterns = [6]
#: audit = "baseline"
#: expect = "flagged"
#: by = ["baseline.validation"]
#: note = "The function that reads the number is replaced, not the number. The loss is a true one, of a small sample."
def val_size(seq_len):
    return 4096
