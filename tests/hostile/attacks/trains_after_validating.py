#: title = "Trains on between a validation's line and the start of its clock"
#: kind = "score"
#: patterns = [11]
#: expect = "caught"
#: by = ["trace.pace"]
#: note = "The host's clock may run on alone before a validation's line, not after it."
class Trainer(Trainer):
    def say(self, line):
        super().say(line)
        if "val_loss" in line and "step:0/" not in line and "/100 val" in line:
            for _ in range(20):
                self.train(0)
