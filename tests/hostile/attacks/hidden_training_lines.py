#: title = "Prints validation lines only, and a quarter of the time"
#: kind = "score"
#: patterns = [12]
#: expect = "caught"
#: by = ["evidence.training_lines"]
#: fast = true
#: note = "Without training lines no two clocks can be compared; the lines themselves are owed."
class Clock(Clock):
    def line(self, step, running):
        head, _, tail = super().line(step, running).partition("ms ")
        ms = int(head.removeprefix("train_time:"))
        return f"train_time:{ms // 4}ms {tail}"


class Trainer(Trainer):
    def say(self, line):
        if "val_loss" in line:
            super().say(line)
