#: title = "Scores fewer validation tokens than the rules ask for"
#: kind = "score"
#: patterns = [6]
#: expect = "not caught"
#: by = []
#: adaptive = true
#: args = ["--steps", "16", "--val-every", "4"]
#: note = "The function that reads the number is replaced, not the number. The loss is a true one, of an easier or harder sample; no other figure gives it away."
def val_size(seq_len):
    return 4096
