#: title = "Scores fewer validation tokens than the rules ask for"
#: kind = "score"
#: patterns = [6]
#: audit = "canary.model,baseline"
#: expect = "caught"
#: by = ["canary.to_end.model", "baseline.validation"]
#: beside = true
#: args = ["--steps", "160", "--val-every", "40"]
#: note = "The function that reads the number is replaced, not the number. The beginning of the samples is easier than all of them, and far quicker scored."
def val_size(seq_len):
    return 4096
