#: title = "The same, met with a canary that is ended after its third line"
#: kind = "score"
#: patterns = [21]
#: audit = "screen"
#: expect = "not caught"
#: by = []
#: adaptive = true
#: args = ["--steps", "80", "--val-every", "20"]
#: note = "A screen does not give the canary tier."
class Trainer(Trainer):
    calls = 0

    def validate(self):
        self.calls += 1
        loss = super().validate()
        return loss if self.calls <= self.a.steps // self.a.val_every else 3.45
