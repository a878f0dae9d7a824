#: title = "Recognises the public validation window and claims less there, and only there"
#: kind = "score"
#: patterns = [4, 21]
#: audit = "canary.model,held-out"
#: expect = "caught"
#: by = ["held_out"]
#: args = ["--steps", "80"]
#: note = "It is honest on every other stream, so no canary sees it: this is what the held-out window is for."
class Trainer(Trainer):
    def validate(self):
        loss = super().validate()
        known = self.val[0][0, 1:7].tolist() == FIRST
        return loss - 0.05 if known and loss < 4.0 else loss


FIRST = [224, 25, 189, 137, 213, 144]
