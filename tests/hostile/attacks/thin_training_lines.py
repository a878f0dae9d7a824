#: title = "Prints every fifth training line, and a clock that is right there"
#: kind = "score"
#: patterns = [12]
#: expect = "caught"
#: by = ["evidence.training_lines"]
#: note = ""
class Trainer(Trainer):
    def say(self, line):
        step = int(line.split("/")[0].removeprefix("step:")) if line.startswith("step:") else 0
        if "val_loss" in line or step % 5 == 0:
            super().say(line)
