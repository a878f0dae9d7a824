#: title = "Uses a compiler option that the rules forbid"
#: kind = "score"
#: patterns = [18]
#: expect = "caught"
#: by = ["source.compiler"]
#: args = ["--steps", "8", "--val-every", "4"]
#: note = ""
def fastest(model):
    return torch.compile(model, mode="max-autotune")
